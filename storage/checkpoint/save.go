package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"pupil/storage"
	"pupil/storage/safetensors"
)

// Save stores a checkpoint: the parts, by name, and at the end the manifest. m.Version and m.Parts are set here. When
// it returns nil, Latest gives this checkpoint; when it does not, or the process dies meanwhile, what was there before.
//
// A step that has a checkpoint already is replaced. When that one has the same parts, as when a job was resumed and
// came by again, it stays valid throughout; when it has others, it ends with the beginning of Save.
func Save(ctx context.Context, b storage.Bucket, m Manifest, parts map[string]*safetensors.File) error {
	if err := save(ctx, b, m, parts); err != nil {
		return fmt.Errorf("save checkpoint of step %d: %w", m.Step, err)
	}
	return nil
}

func save(ctx context.Context, b storage.Bucket, m Manifest, parts map[string]*safetensors.File) error {
	if m.Step < 0 {
		return errors.New("the step is negative")
	}
	if len(m.Meta) > 0 && !json.Valid(m.Meta) {
		return errors.New("meta is not valid JSON")
	}
	m.Version, m.Parts = version, []Part{}
	data := make(map[string][]byte, len(parts))
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if err := checkPart(name); err != nil {
			return err
		}
		encoded, err := parts[name].Encode()
		if err != nil {
			return fmt.Errorf("part %s: %w", name, err)
		}
		data[name] = encoded
		m.Parts = append(m.Parts, Part{name, int64(len(encoded)), digest(encoded)})
	}
	manifest, err := m.encode()
	if err != nil {
		return err
	}
	if err := retire(ctx, b, m); err != nil {
		return err
	}
	for _, p := range m.Parts {
		if err := storage.WriteAll(ctx, b, partKey(m.Step, p.Name), data[p.Name]); err != nil {
			return err
		}
	}
	return storage.WriteAll(ctx, b, manifestKey(m.Step), manifest)
}

// retire deletes the manifest of a checkpoint of the same step whose parts are not those that will be written: parts
// of two checkpoints must never stand under one manifest.
func retire(ctx context.Context, b storage.Bucket, m Manifest) error {
	old, err := readManifest(ctx, b, m.Step)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil
	case err == nil && slices.Equal(old.Parts, m.Parts):
		return nil
	case err != nil && !errors.Is(err, ErrDamaged):
		return err
	}
	return b.Delete(ctx, manifestKey(m.Step))
}

// Retain deletes all checkpoints but the newest keep, the manifest of each first, and what unfinished saves before the
// newest checkpoint left behind. The newest counts only when it is whole, every hash checked, so that one whole
// checkpoint always stays; older ones count when the manifest is good and the parts have the right sizes. A damaged one
// between those that stay is left for inspection. When none counts, nothing is deleted.
func Retain(ctx context.Context, b storage.Bucket, keep int) error {
	if keep < 1 {
		return fmt.Errorf("retain checkpoints: keep is %d, want 1 or more", keep)
	}
	if err := retain(ctx, b, keep); err != nil {
		return fmt.Errorf("retain checkpoints: %w", err)
	}
	return nil
}

func retain(ctx context.Context, b storage.Bucket, keep int) error {
	saved, err := list(ctx, b)
	if err != nil {
		return err
	}
	kept := 0
	for _, s := range saved { // newest first
		if _, finished := s.files[manifestName]; kept >= keep || kept > 0 && !finished {
			if err := s.remove(ctx, b); err != nil {
				return err
			}
			continue
		}
		good, err := s.complete(ctx, b, kept == 0)
		if err != nil {
			return err
		}
		if good {
			kept++
		}
	}
	return nil
}

// complete tells whether a saved step has a good manifest and parts of the right sizes, and, when hashes is set,
// whether the parts have the right hashes.
func (s saved) complete(ctx context.Context, b storage.Bucket, hashes bool) (bool, error) {
	read := readManifest
	if hashes {
		read = verify
	}
	m, err := read(ctx, b, s.step)
	if errors.Is(err, ErrDamaged) || errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, p := range m.Parts {
		if size, ok := s.files[p.Name+partSuffix]; !ok || size != p.Size {
			return false, nil
		}
	}
	return true, nil
}

// remove deletes the files of a step, the manifest first.
func (s saved) remove(ctx context.Context, b storage.Bucket) error {
	if _, ok := s.files[manifestName]; ok {
		if err := b.Delete(ctx, manifestKey(s.step)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if name == manifestName {
			continue
		}
		if err := b.Delete(ctx, folder(s.step)+name); err != nil {
			return err
		}
	}
	return nil
}
