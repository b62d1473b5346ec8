package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

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

// String says that the checkpoint is not used, and why.
func (f Fallback) String() string {
	return fmt.Sprintf("checkpoint of step %d is not used: %s", f.Step, f.Reason)
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

// parallel is how many parts are read or written at the same time.
const parallel = 4

// Load returns a checkpoint, with every part verified. A step without a finished checkpoint gives storage.ErrNotFound,
// content that is not what was saved ErrDamaged.
func Load(ctx context.Context, b storage.Bucket, step int) (*Manifest, map[string]*safetensors.File, error) {
	m, err := readManifest(ctx, b, step)
	if err != nil {
		return nil, nil, fmt.Errorf("load checkpoint of step %d: %w", step, err)
	}
	files := make([]*safetensors.File, len(m.Parts))
	err = m.each(ctx, func(ctx context.Context, i int) (err error) {
		files[i], err = m.loadPart(ctx, b, m.Parts[i])
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("load checkpoint of step %d: %w", step, err)
	}
	parts := make(map[string]*safetensors.File, len(files))
	for i, p := range m.Parts {
		parts[p.Name] = files[i]
	}
	return m, parts, nil
}

// each calls do for every part, some at the same time, and returns the error of the first part in order that has one.
func (m *Manifest) each(ctx context.Context, do func(ctx context.Context, i int) error) error {
	errs := make([]error, len(m.Parts))
	var g errgroup.Group
	g.SetLimit(parallel)
	for i := range m.Parts {
		g.Go(func() error {
			errs[i] = do(ctx, i)
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *Manifest) loadPart(ctx context.Context, b storage.Bucket, p Part) (*safetensors.File, error) {
	data, err := m.readPart(ctx, b, p)
	if err != nil {
		return nil, err
	}
	f, err := safetensors.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s/%s: %w", ErrDamaged, b.URL(), m.partKey(p), err)
	}
	return f, nil
}

// readPart returns the bytes of a part that has its size and hash.
func (m *Manifest) readPart(ctx context.Context, b storage.Bucket, p Part) ([]byte, error) {
	key := m.partKey(p)
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
	return data, nil
}

// Verify reads a whole checkpoint without keeping it, and returns its manifest. Errors are those of Load.
func Verify(ctx context.Context, b storage.Bucket, step int) (*Manifest, error) {
	m, err := verify(ctx, b, step)
	if err != nil {
		return nil, fmt.Errorf("verify checkpoint of step %d: %w", step, err)
	}
	return m, nil
}

func verify(ctx context.Context, b storage.Bucket, step int) (*Manifest, error) {
	m, err := readManifest(ctx, b, step)
	if err != nil {
		return nil, err
	}
	return m, m.each(ctx, func(ctx context.Context, i int) error { return m.verifyPart(ctx, b, m.Parts[i]) })
}

func (m *Manifest) verifyPart(ctx context.Context, b storage.Bucket, p Part) (err error) {
	key := m.partKey(p)
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
