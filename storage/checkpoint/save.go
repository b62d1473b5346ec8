package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"

	"pupil/storage"
	"pupil/storage/safetensors"
)

// ErrConflict says that another process has saved another state of the same step meanwhile. Test for it with errors.Is.
var ErrConflict = errors.New("another process has saved another state of this step")

// Save stores a checkpoint: the parts, by name, and at the end the manifest. m.Version and m.Parts are set here. When
// it returns nil, Latest gives this checkpoint; when it does not, or the process dies meanwhile, what was there before.
//
// A step that has a checkpoint already is replaced. When that one has the same parts, as when a job was resumed and came by
// again, it stays valid throughout; when it has others, it ends just before the new one begins. Of two processes that save
// different states of a step at the same time one gets ErrConflict, and the checkpoint is the other's.
func Save(ctx context.Context, b storage.Bucket, m Manifest, parts map[string]*safetensors.File) error {
	d, err := NewDraft(m, parts)
	if err != nil {
		return err
	}
	old, err := d.Begin(ctx, b)
	if err != nil {
		return err
	}
	if err := d.Write(ctx, b, 0, 1); err != nil {
		return err
	}
	return d.Commit(ctx, b, old)
}

// Draft is a checkpoint that is encoded and has its hashes, and is not stored yet. Processes that hold the same state make the
// same Draft, and so can share the writing of its parts.
type Draft struct {
	manifest Manifest
	encoded  []byte
	parts    [][]byte // as the manifest lists them
}

// NewDraft encodes a checkpoint.
func NewDraft(m Manifest, parts map[string]*safetensors.File) (*Draft, error) {
	d, err := newDraft(m, parts)
	if err != nil {
		return nil, fmt.Errorf("save checkpoint of step %d: %w", m.Step, err)
	}
	return d, nil
}

func newDraft(m Manifest, parts map[string]*safetensors.File) (*Draft, error) {
	if m.Step < 0 {
		return nil, errors.New("the step is negative")
	}
	if len(m.Meta) > 0 && !json.Valid(m.Meta) {
		return nil, errors.New("meta is not valid JSON")
	}
	m.Metrics = maps.Clone(m.Metrics)
	maps.DeleteFunc(m.Metrics, func(_ string, v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
	d := &Draft{}
	m.Version, m.Parts = version, []Part{}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if err := checkPart(name); err != nil {
			return nil, err
		}
		data, err := parts[name].Encode()
		if err != nil {
			return nil, fmt.Errorf("part %s: %w", name, err)
		}
		d.parts = append(d.parts, data)
		m.Parts = append(m.Parts, Part{name, int64(len(data)), digest(data)})
	}
	d.manifest = m
	var err error
	d.encoded, err = m.encode()
	return d, err
}

// Bytes is the size of all parts.
func (d *Draft) Bytes() int64 {
	var n int64
	for _, p := range d.parts {
		n += int64(len(p))
	}
	return n
}

// Before is what there was under a Draft's step when it began.
type Before struct {
	there bool
	same  bool // with the same parts
}

// Begin looks at what there is of the step. The process that will call Commit calls it before any part is written.
func (d *Draft) Begin(ctx context.Context, b storage.Bucket) (Before, error) {
	old, err := readManifest(ctx, b, d.manifest.Step)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return Before{}, nil
	case err == nil:
		return Before{true, d.agrees(old)}, nil
	case errors.Is(err, ErrDamaged):
		return Before{there: true}, nil
	}
	return Before{}, d.wrap(err)
}

// agrees tells whether a manifest stands for the same objects.
func (d *Draft) agrees(old *Manifest) bool {
	return old.Version == d.manifest.Version && slices.Equal(old.Parts, d.manifest.Parts)
}

// Write stores the share of one of several processes, counted from 0: some of the parts, in parallel.
func (d *Draft) Write(ctx context.Context, b storage.Bucket, process, processes int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, p := range d.manifest.Parts {
		if i%processes == process {
			g.Go(func() error { return storage.WriteAll(ctx, b, d.manifest.partKey(p), d.parts[i]) })
		}
	}
	return d.wrap(g.Wait())
}

// Missing returns how many parts are not stored yet, by their names and sizes.
func (d *Draft) Missing(ctx context.Context, b storage.Bucket) (int, error) {
	objects, err := b.List(ctx, folder(d.manifest.Step))
	if err != nil {
		return 0, d.wrap(err)
	}
	have := make(map[string]int64, len(objects))
	for _, o := range objects {
		have[o.Key] = o.Size
	}
	missing := 0
	for _, p := range d.manifest.Parts {
		if size, ok := have[d.manifest.partKey(p)]; !ok || size != p.Size {
			missing++
		}
	}
	return missing, nil
}

// Commit stores the manifest, when all parts are stored. before is what Begin has returned.
func (d *Draft) Commit(ctx context.Context, b storage.Bucket, before Before) error {
	return d.wrap(d.commit(ctx, b, before))
}

func (d *Draft) commit(ctx context.Context, b storage.Bucket, before Before) error {
	key := manifestKey(d.manifest.Step)
	if before.same {
		return storage.WriteAll(ctx, b, key, d.encoded)
	}
	if before.there {
		if err := b.Delete(ctx, key); err != nil {
			return err
		}
	}
	for {
		err := storage.Create(ctx, b, key, d.encoded)
		if !errors.Is(err, storage.ErrExists) {
			return err
		}
		other, readErr := readManifest(ctx, b, d.manifest.Step)
		switch {
		case errors.Is(readErr, storage.ErrNotFound):
			// A third process has just removed it, to put its own there: whoever comes first has the step.
		case readErr == nil && d.agrees(other):
			return nil
		case readErr != nil && !errors.Is(readErr, ErrDamaged):
			return readErr
		default:
			return fmt.Errorf("%w: %w", ErrConflict, err)
		}
	}
}

func (d *Draft) wrap(err error) error {
	if err != nil {
		return fmt.Errorf("save checkpoint of step %d: %w", d.manifest.Step, err)
	}
	return nil
}
