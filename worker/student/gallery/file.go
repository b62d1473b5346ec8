package gallery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"pupil/storage"
	"pupil/storage/safetensors"
)

const (
	kind     = "pupil gallery"
	maxBytes = 4 << 30
)

// Encode is the gallery's file, the same bytes for the same gallery.
func (g *Gallery) Encode() ([]byte, error) {
	meta := map[string]string{"kind": kind, "student": g.Student}
	for key, v := range map[string]any{"identities": g.Identities, "images": g.Images, "threshold": g.Threshold} {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		meta[key] = string(text)
	}
	features := safetensors.FromFloat32("features", []int{g.Len(), g.Width}, g.Values)
	meta["sha256"] = digest(meta, features.Data)
	return (&safetensors.File{Metadata: meta, Tensors: []safetensors.Tensor{features}}).Encode()
}

// digest is the SHA-256 over all that a gallery says.
func digest(meta map[string]string, features []byte) string {
	h := sha256.New()
	for _, key := range []string{"student", "identities", "images", "threshold"} {
		fmt.Fprintf(h, "%s %d\n%s\n", key, len(meta[key]), meta[key])
	}
	h.Write(features)
	return hex.EncodeToString(h.Sum(nil))
}

// Decode reads a gallery's file. What is not one, or damaged, is ErrGallery.
func Decode(data []byte) (*Gallery, error) {
	f, err := safetensors.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGallery, err)
	}
	if f.Metadata["kind"] != kind {
		return nil, fmt.Errorf("%w: the file is none; worker enroll makes it", ErrGallery)
	}
	features, ok := f.Lookup("features")
	if !ok || len(features.Shape) != 2 {
		return nil, fmt.Errorf("%w: it has no tensor features [entries, width]", ErrGallery)
	}
	if got := digest(f.Metadata, features.Data); got != f.Metadata["sha256"] {
		return nil, fmt.Errorf("%w: it is damaged: its SHA-256 is %.12s..., it says %.12s...; take a copy, or enroll anew", ErrGallery,
			got, f.Metadata["sha256"])
	}
	g := &Gallery{Student: f.Metadata["student"], Width: features.Shape[1]}
	for key, to := range map[string]any{"identities": &g.Identities, "images": &g.Images, "threshold": &g.Threshold} {
		if err := json.Unmarshal([]byte(f.Metadata[key]), to); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrGallery, key, err)
		}
	}
	if g.Values, err = features.Float32(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGallery, err)
	}
	return g, g.check(features.Shape[0])
}

func (g *Gallery) check(entries int) error {
	if g.Width < 1 || len(g.Identities) != entries || len(g.Images) != entries || len(g.Values) != entries*g.Width {
		return fmt.Errorf("%w: it has %d identities, %d images and %d entries of %d features", ErrGallery, len(g.Identities),
			len(g.Images), entries, g.Width)
	}
	for i := range entries {
		if l := length(g.row(i)); !(math.Abs(l-1) < 1e-3) {
			return fmt.Errorf("%w: entry %d (%s) has the length %v, not 1", ErrGallery, i, g.Identities[i], l)
		}
	}
	if t := g.Threshold; t != nil && !(t.Cosine >= -1.01 && t.Cosine <= 1.01) {
		return fmt.Errorf("%w: its threshold is %v", ErrGallery, t.Cosine)
	}
	return nil
}

// Load reads a gallery, and checks that a student's digest made it. A missing one gives storage.ErrNotFound.
func Load(ctx context.Context, b storage.Bucket, key, student string) (*Gallery, error) {
	data, err := storage.ReadAll(ctx, b, key, maxBytes)
	if err != nil {
		return nil, err
	}
	g, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", b.URL(), key, err)
	}
	if g.Student != student {
		return nil, fmt.Errorf("%w: %s/%s was made with another student (SHA-256 %.12s..., this one has %.12s...); enroll anew",
			ErrGallery, b.URL(), key, g.Student, student)
	}
	return g, nil
}

// ErrLocked says that somebody else is writing the gallery. Test for it with errors.Is.
var ErrLocked = errors.New("the gallery is being written by somebody else")

// Update reads a gallery, or makes an empty one where there is none, lets change work on it, and writes it whole. Meanwhile
// it holds a lock, the object key + ".lock", so that of several writers none loses what another has written. who names
// the holder, unlike all others.
func Update(ctx context.Context, b storage.Bucket, key, student string, width int, who string, change func(*Gallery) error) (err error) {
	lock := key + ".lock"
	if err := storage.Create(ctx, b, lock, []byte(who)); err != nil {
		// A lock that vanishes while it is looked at was somebody's, too.
		if !errors.Is(err, storage.ErrExists) && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		holder, _ := storage.ReadAll(ctx, b, lock, 1<<10)
		return fmt.Errorf("%w (%q); try again, or remove %s/%s when that has died", ErrLocked, holder, b.URL(), lock)
	}
	defer func() { err = errors.Join(err, b.Delete(context.WithoutCancel(ctx), lock)) }()
	g, err := Load(ctx, b, key, student)
	if errors.Is(err, storage.ErrNotFound) {
		g, err = New(student, width), nil
	}
	if err != nil {
		return err
	}
	if err := change(g); err != nil {
		return err
	}
	data, err := g.Encode()
	if err != nil {
		return err
	}
	return storage.WriteAll(ctx, b, key, data)
}
