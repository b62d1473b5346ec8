package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pupil/storage"
)

// Info is what List tells of the files of a step.
type Info struct {
	Step     int
	Manifest *Manifest // nil: there is none, or it is damaged
	Fault    string    // why there is none that could be loaded, as far as names and sizes show; "" for none
	Finished bool      // there is a manifest, good or not
	Bytes    int64     // of all files
	Modified time.Time // of the file that was written last
}

// List returns what there is of each step, newest first. It reads the manifests, and no part.
func List(ctx context.Context, b storage.Bucket) ([]Info, error) {
	steps, err := list(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	out := make([]Info, 0, len(steps))
	for _, s := range steps {
		i := Info{Step: s.step, Modified: s.modified(), Fault: "the save did not finish"}
		for _, f := range s.files {
			i.Bytes += f.Size
		}
		if _, i.Finished = s.files[manifestName]; i.Finished {
			m, err := readManifest(ctx, b, s.step)
			if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, storage.ErrNotFound) {
				return nil, fmt.Errorf("list checkpoints: %w", err)
			}
			if i.Manifest = m; err != nil {
				i.Fault = err.Error()
			} else {
				i.Fault = s.lacks(m)
			}
		}
		out = append(out, i)
	}
	return out, nil
}

// saved is what the bucket lists of a step.
type saved struct {
	step  int
	files map[string]storage.Object // by name in the step's folder
}

// modified is the time of the newest file.
func (s saved) modified() time.Time {
	var newest time.Time
	for _, f := range s.files {
		if f.Modified.After(newest) {
			newest = f.Modified
		}
	}
	return newest
}

// lacks says which part of a manifest is not there with its size, or "".
func (s saved) lacks(m *Manifest) string {
	for _, p := range m.Parts {
		name := m.partKey(p)[len(folder(m.Step)):]
		if f, ok := s.files[name]; !ok || f.Size != p.Size {
			return fmt.Sprintf("%s is not there with its %d bytes", name, p.Size)
		}
	}
	return ""
}

// list returns the steps that have files, newest first.
func list(ctx context.Context, b storage.Bucket) ([]saved, error) {
	objects, err := b.List(ctx, Folder+"/")
	if err != nil {
		return nil, err
	}
	files := map[int]map[string]storage.Object{}
	for _, o := range objects {
		step, name, ok := splitKey(o.Key)
		if !ok {
			continue // not ours
		}
		if files[step] == nil {
			files[step] = map[string]storage.Object{}
		}
		files[step][name] = o
	}
	out := make([]saved, 0, len(files))
	for step := range files {
		out = append(out, saved{step, files[step]})
	}
	slices.SortFunc(out, func(a, b saved) int { return cmp.Compare(b.step, a.step) })
	return out, nil
}

// Export copies a checkpoint into another bucket: each part, verified, as NAME.safetensors, and the manifest.
func Export(ctx context.Context, b storage.Bucket, step int, to storage.Bucket) error {
	m, err := readManifest(ctx, b, step)
	if err == nil {
		err = m.each(ctx, func(ctx context.Context, i int) error {
			data, err := m.readPart(ctx, b, m.Parts[i])
			if err != nil {
				return err
			}
			return storage.WriteAll(ctx, to, m.Parts[i].Name+partSuffix, data)
		})
	}
	var manifest []byte
	if err == nil {
		manifest, err = m.encode()
	}
	if err == nil {
		err = storage.WriteAll(ctx, to, manifestName, manifest)
	}
	if err != nil {
		return fmt.Errorf("export checkpoint of step %d: %w", step, err)
	}
	return nil
}
