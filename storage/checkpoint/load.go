package checkpoint

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"pupil/storage"
	"pupil/storage/safetensors"
)

// ErrNone says that a run has no checkpoint: no save ever finished. Test for it with errors.Is.
var ErrNone = errors.New("no checkpoint")

// ErrDamaged says that a checkpoint is not what was saved. Test for it with errors.Is.
var ErrDamaged = errors.New("checkpoint is damaged")

// Fallback tells why a checkpoint was passed over.
type Fallback struct {
	Step   int
	Reason string // a sentence that names the file
}

// Latest returns the manifest of the newest whole checkpoint: every part was read, and has its size and hash. Newer
// ones that are not whole come back with the reason, newest first; an unfinished save is one. ErrNone says that no save
// has finished yet, ErrDamaged that there are checkpoints but none is whole. An error of the bucket other than a
// missing object is returned as it is: a store that is out of reach for a moment must not cost progress.
func Latest(ctx context.Context, b storage.Bucket) (*Manifest, []Fallback, error) {
	steps, err := list(ctx, b)
	if err != nil {
		return nil, nil, fmt.Errorf("find latest checkpoint: %w", err)
	}
	var passed []Fallback
	finished := 0
	for _, s := range steps {
		if _, ok := s.files[manifestName]; !ok {
			reason := "the save did not finish: there is no " + b.URL() + "/" + manifestKey(s.step)
			passed = append(passed, Fallback{s.step, reason})
			continue
		}
		finished++
		m, err := verify(ctx, b, s.step)
		switch {
		case err == nil:
			return m, passed, nil
		case !errors.Is(err, ErrDamaged) && !errors.Is(err, storage.ErrNotFound):
			return nil, passed, fmt.Errorf("find latest checkpoint: step %d: %w", s.step, err)
		}
		passed = append(passed, Fallback{s.step, err.Error()})
	}
	if finished == 0 {
		return nil, passed, fmt.Errorf("%w in %s/%s", ErrNone, b.URL(), Folder)
	}
	return nil, passed, fmt.Errorf("%w: none of the %d in %s/%s is whole; the newest: %s; copy them again from where "+
		"they are whole, or move that folder away to begin again",
		ErrDamaged, finished, b.URL(), Folder, newestReason(steps, passed))
}

// newestReason is why the newest finished checkpoint was refused.
func newestReason(steps []saved, passed []Fallback) string {
	for i, s := range steps {
		if _, ok := s.files[manifestName]; ok {
			return passed[i].Reason
		}
	}
	return ""
}

// Load returns a checkpoint, with every part verified. A step without a finished checkpoint gives storage.ErrNotFound,
// content that is not what was saved ErrDamaged.
func Load(ctx context.Context, b storage.Bucket, step int) (*Manifest, map[string]*safetensors.File, error) {
	m, err := readManifest(ctx, b, step)
	if err != nil {
		return nil, nil, fmt.Errorf("load checkpoint of step %d: %w", step, err)
	}
	parts := make(map[string]*safetensors.File, len(m.Parts))
	for _, p := range m.Parts {
		if parts[p.Name], err = loadPart(ctx, b, step, p); err != nil {
			return nil, nil, fmt.Errorf("load checkpoint of step %d: %w", step, err)
		}
	}
	return m, parts, nil
}

func loadPart(ctx context.Context, b storage.Bucket, step int, p Part) (*safetensors.File, error) {
	key := partKey(step, p.Name)
	data, err := storage.ReadSized(ctx, b, key, p.Size)
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrSize) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	if digest(data) != p.SHA256 {
		return nil, wrongHash(b, key, digest(data), p)
	}
	f, err := safetensors.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s/%s: %w", ErrDamaged, b.URL(), key, err)
	}
	return f, nil
}

// verify reads a whole checkpoint without keeping it.
func verify(ctx context.Context, b storage.Bucket, step int) (*Manifest, error) {
	m, err := readManifest(ctx, b, step)
	if err != nil {
		return nil, err
	}
	for _, p := range m.Parts {
		if err := verifyPart(ctx, b, step, p); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func verifyPart(ctx context.Context, b storage.Bucket, step int, p Part) (err error) {
	key := partKey(step, p.Name)
	r, err := b.Get(ctx, key, 0, -1)
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(r, p.Size+1))
	if err != nil {
		return fmt.Errorf("read %s/%s: %w", b.URL(), key, err)
	}
	if n != p.Size {
		return fmt.Errorf("%w: %s/%s does not have the %d bytes that its manifest says", ErrDamaged, b.URL(), key, p.Size)
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != p.SHA256 {
		return wrongHash(b, key, sum, p)
	}
	return nil
}

func wrongHash(b storage.Bucket, key, sum string, p Part) error {
	return fmt.Errorf("%w: %s/%s has SHA-256 %s, its manifest says %s", ErrDamaged, b.URL(), key, sum, p.SHA256)
}

// readManifest returns the manifest of a step: storage.ErrNotFound when there is none, ErrDamaged when it is not good.
func readManifest(ctx context.Context, b storage.Bucket, step int) (*Manifest, error) {
	key := manifestKey(step)
	data, err := storage.ReadAll(ctx, b, key, maxManifest)
	if errors.Is(err, storage.ErrSize) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(data, step)
	if err != nil {
		return nil, fmt.Errorf("%w: %s/%s: %w", ErrDamaged, b.URL(), key, err)
	}
	return m, nil
}

// saved is what the bucket lists of a step.
type saved struct {
	step  int
	files map[string]int64 // sizes by name
}

// list returns the steps that have files, newest first.
func list(ctx context.Context, b storage.Bucket) ([]saved, error) {
	objects, err := b.List(ctx, Folder+"/")
	if err != nil {
		return nil, err
	}
	files := map[int]map[string]int64{}
	for _, o := range objects {
		step, name, ok := splitKey(o.Key)
		if !ok {
			continue // not ours
		}
		if files[step] == nil {
			files[step] = map[string]int64{}
		}
		files[step][name] = o.Size
	}
	out := make([]saved, 0, len(files))
	for step := range files {
		out = append(out, saved{step, files[step]})
	}
	slices.SortFunc(out, func(a, b saved) int { return cmp.Compare(b.step, a.step) })
	return out, nil
}
