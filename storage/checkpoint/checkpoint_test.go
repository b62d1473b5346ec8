package checkpoint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/storage/dir"
	"pupil/storage/mem"
	"pupil/storage/safetensors"
)

// buckets runs a test on a fresh bucket of each kind.
func buckets(t *testing.T, test func(t *testing.T, open func() storage.Bucket)) {
	t.Run("mem", func(t *testing.T) { test(t, func() storage.Bucket { return mem.New() }) })
	t.Run("dir", func(t *testing.T) {
		test(t, func() storage.Bucket {
			b, err := dir.New(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			return b
		})
	})
}

// state makes the parts of a checkpoint whose values tell which it is.
func state(value float32) map[string]*safetensors.File {
	return map[string]*safetensors.File{
		"params":    {Tensors: []safetensors.Tensor{safetensors.FromFloat32("w", []int{3}, []float32{value, 2, 3})}},
		"optimizer": {Tensors: []safetensors.Tensor{safetensors.FromFloat64("m", []int{2}, []float64{float64(value), 5})}},
		"buffers":   {},
	}
}

func manifest(step int) checkpoint.Manifest {
	return checkpoint.Manifest{
		Step: step, Job: "job", Dataset: "data", Teacher: "teacher", Kernel: "generic", CodeVersion: "v0",
		Meta: json.RawMessage(fmt.Sprintf(`{"step": %d, "text": "<a & b>"}`, step)),
	}
}

func save(t *testing.T, b storage.Bucket, step int, value float32) {
	t.Helper()
	if err := checkpoint.Save(t.Context(), b, manifest(step), state(value)); err != nil {
		t.Fatal(err)
	}
}

// check loads a step and compares it with what save stored.
func check(t *testing.T, b storage.Bucket, step int, value float32) {
	t.Helper()
	m, parts, err := checkpoint.Load(t.Context(), b, step)
	if err != nil {
		t.Fatal(err)
	}
	if m.Step != step || m.Job != "job" || m.Dataset != "data" || m.Teacher != "teacher" || m.Kernel != "generic" ||
		m.CodeVersion != "v0" || len(m.Parts) != 3 {
		t.Errorf("manifest %+v", m)
	}
	var meta struct {
		Step int
		Text string
	}
	if err := json.Unmarshal(m.Meta, &meta); err != nil || meta.Step != step || meta.Text != "<a & b>" {
		t.Errorf("meta %s (%v)", m.Meta, err)
	}
	want := state(value)
	if len(parts) != len(want) {
		t.Errorf("%d parts, want %d", len(parts), len(want))
	}
	for name, f := range want {
		if parts[name] == nil || !parts[name].Equal(f) {
			t.Errorf("part %s = %v, want %v", name, parts[name], f)
		}
	}
}

func keys(t *testing.T, b storage.Bucket) []string {
	t.Helper()
	objects, err := b.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, o := range objects {
		out = append(out, strings.TrimPrefix(o.Key, "checkpoints/"))
	}
	return out
}

func TestSaveAndLoad(t *testing.T) {
	buckets(t, func(t *testing.T, open func() storage.Bucket) {
		b := open()
		for _, step := range []int{0, 100, 123_456_789} {
			save(t, b, step, float32(step))
		}
		for _, step := range []int{0, 100, 123_456_789} {
			check(t, b, step, float32(step))
		}
		m, passed, err := checkpoint.Latest(t.Context(), b)
		if err != nil || m.Step != 123_456_789 || len(passed) != 0 {
			t.Errorf("Latest = %+v, %v, %v", m, passed, err)
		}
		if _, _, err := checkpoint.Load(t.Context(), b, 7); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Load of a step that was not saved = %v, want ErrNotFound", err)
		}
		want := []string{
			"00000100/buffers-9bbcbf73561f6bc5.safetensors", "00000100/manifest.json",
			"00000100/optimizer-720594f9ecf95b92.safetensors", "00000100/params-6f94581a1d7bf7f6.safetensors",
		}
		if got := keys(t, b)[4:8]; !slices.Equal(got, want) {
			t.Errorf("objects %q, want %q", got, want)
		}
	})
}

func TestSameStateSameBytes(t *testing.T) {
	read := func() (all []byte) {
		b := mem.New()
		save(t, b, 5, 1)
		for _, key := range keys(t, b) {
			data, err := storage.ReadAll(t.Context(), b, "checkpoints/"+key, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, data...)
		}
		return all
	}
	if !bytes.Equal(read(), read()) {
		t.Error("the same state was stored as other bytes")
	}
}

func TestNone(t *testing.T) {
	b := mem.New()
	if _, _, err := checkpoint.Latest(t.Context(), b); !errors.Is(err, checkpoint.ErrNone) {
		t.Errorf("Latest of an empty run = %v, want ErrNone", err)
	}
	for _, key := range []string{
		"checkpoints/00000007/params.safetensors", "checkpoints/7/manifest.json", "checkpoints/-0000001/manifest.json",
		"checkpoints/other", "checkpoints/x/manifest.json", "student/model.safetensors",
	} {
		if err := storage.WriteAll(t.Context(), b, key, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	_, passed, err := checkpoint.Latest(t.Context(), b)
	if !errors.Is(err, checkpoint.ErrNone) || len(passed) != 1 || passed[0].Step != 7 ||
		!strings.Contains(passed[0].Reason, "did not finish") {
		t.Errorf("Latest without a finished save = %v, %v, want ErrNone and step 7 passed over", passed, err)
	}
}

func TestLatestFallsBack(t *testing.T) {
	b := mem.New()
	for step := 1; step <= 4; step++ {
		save(t, b, step, float32(step))
	}
	damage(t, b, "checkpoints/00000004/params.safetensors", func(data []byte) []byte { data[len(data)-1]++; return data })
	damage(t, b, "checkpoints/00000003/optimizer.safetensors", func(data []byte) []byte { return data[:len(data)-1] })
	if err := b.Delete(t.Context(), object(t, b, "checkpoints/00000002/params.safetensors")); err != nil {
		t.Fatal(err)
	}
	m, passed, err := checkpoint.Latest(t.Context(), b)
	if err != nil || m.Step != 1 {
		t.Fatalf("Latest = %+v, %v; want step 1", m, err)
	}
	wants := []string{
		".safetensors has SHA-256", ".safetensors does not have the", "00000002/params-",
	}
	for i, want := range wants {
		if i >= len(passed) || passed[i].Step != 4-i || !strings.Contains(passed[i].Reason, want) {
			t.Errorf("fallbacks %+v: number %d should say %q", passed, i, want)
		}
	}
	damage(t, b, "checkpoints/00000001/manifest.json", func([]byte) []byte { return nil })
	_, passed, err = checkpoint.Latest(t.Context(), b)
	if !errors.Is(err, checkpoint.ErrDamaged) || errors.Is(err, checkpoint.ErrNone) || len(passed) != 4 {
		t.Errorf("Latest when all are damaged = %v, %v; want ErrDamaged", passed, err)
	}
}

// object returns the key of a part, given without its hash, or of another file.
func object(t *testing.T, b storage.Bucket, key string) string {
	t.Helper()
	part, is := strings.CutSuffix(key, ".safetensors")
	if !is {
		return key
	}
	objects, err := b.List(t.Context(), part+"-")
	if err != nil || len(objects) != 1 {
		t.Fatalf("%d objects are called %s, %v", len(objects), key, err)
	}
	return objects[0].Key
}

func damage(t *testing.T, b storage.Bucket, key string, change func([]byte) []byte) {
	t.Helper()
	key = object(t, b, key)
	data, err := storage.ReadAll(t.Context(), b, key, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.WriteAll(t.Context(), b, key, change(bytes.Clone(data))); err != nil {
		t.Fatal(err)
	}
}

// TestEveryByteCounts changes each byte of each file, and cuts each file everywhere: all of it must be refused.
func TestEveryByteCounts(t *testing.T) {
	b := mem.New()
	save(t, b, 1, 1)
	for _, key := range keys(t, b) {
		key = "checkpoints/" + key
		whole, err := storage.ReadAll(t.Context(), b, key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		refused := func(what string, data []byte) {
			if err := storage.WriteAll(t.Context(), b, key, data); err != nil {
				t.Fatal(err)
			}
			if _, _, err := checkpoint.Load(t.Context(), b, 1); !errors.Is(err, checkpoint.ErrDamaged) {
				t.Errorf("%s %s: Load = %v, want ErrDamaged", key, what, err)
			}
			if _, _, err := checkpoint.Latest(t.Context(), b); !errors.Is(err, checkpoint.ErrDamaged) {
				t.Errorf("%s %s: Latest = %v, want ErrDamaged", key, what, err)
			}
		}
		for i := range whole {
			for _, flip := range []byte{0x01, 0x20, 0xff} { // 0x20 changes the case of a letter
				changed := bytes.Clone(whole)
				changed[i] ^= flip
				refused(fmt.Sprintf("with byte %d flipped by %#x", i, flip), changed)
			}
			refused(fmt.Sprintf("cut to %d bytes", i), whole[:i])
		}
		refused("with a byte more", append(bytes.Clone(whole), '\n'))
		if err := storage.WriteAll(t.Context(), b, key, whole); err != nil {
			t.Fatal(err)
		}
	}
	check(t, b, 1, 1)
}

func TestManifestOfAnotherStep(t *testing.T) {
	b := mem.New()
	save(t, b, 1, 1)
	for _, key := range keys(t, b) {
		data, err := storage.ReadAll(t.Context(), b, "checkpoints/"+key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		copied := "checkpoints/00000002" + strings.TrimPrefix(key, "00000001")
		if err := storage.WriteAll(t.Context(), b, copied, data); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := checkpoint.Load(t.Context(), b, 2); !errors.Is(err, checkpoint.ErrDamaged) {
		t.Errorf("Load of a copy under another step = %v, want ErrDamaged", err)
	}
}

func TestSaveRefuses(t *testing.T) {
	broken := safetensors.FromFloat32("w", []int{2}, []float32{1})
	bad := manifest(1)
	bad.Meta = json.RawMessage("{")
	for name, tt := range map[string]struct {
		m     checkpoint.Manifest
		parts map[string]*safetensors.File
	}{
		"negative step":  {manifest(-1), state(1)},
		"meta":           {bad, state(1)},
		"part with path": {manifest(1), map[string]*safetensors.File{"a/b": {}}},
		"part no name":   {manifest(1), map[string]*safetensors.File{"": {}}},
		"part dots":      {manifest(1), map[string]*safetensors.File{"..": {}}},
		"bad tensor":     {manifest(1), map[string]*safetensors.File{"a": {Tensors: []safetensors.Tensor{broken}}}},
	} {
		b := mem.New()
		if err := checkpoint.Save(t.Context(), b, tt.m, tt.parts); err == nil {
			t.Errorf("%s: Save gave no error", name)
		}
		if got := keys(t, b); len(got) != 0 {
			t.Errorf("%s: a refused Save stored %q", name, got)
		}
	}
}

func TestWithoutMetaAndParts(t *testing.T) {
	b := mem.New()
	if err := checkpoint.Save(t.Context(), b, checkpoint.Manifest{Step: 3}, nil); err != nil {
		t.Fatal(err)
	}
	m, parts, err := checkpoint.Load(t.Context(), b, 3)
	if err != nil || m.Step != 3 || m.Meta != nil || len(parts) != 0 {
		t.Errorf("Load = %+v, %v, %v", m, parts, err)
	}
}

// FuzzManifest lets Latest read any manifest: it is refused, or is one that Save could have written.
func FuzzManifest(f *testing.F) {
	b := mem.New()
	if err := checkpoint.Save(f.Context(), b, manifest(1), nil); err != nil {
		f.Fatal(err)
	}
	data, err := storage.ReadAll(f.Context(), b, "checkpoints/00000001/manifest.json", 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"sha256":"","manifest":{}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx := context.Background()
		b := mem.New()
		if err := storage.WriteAll(ctx, b, "checkpoints/00000001/manifest.json", data); err != nil {
			t.Fatal(err)
		}
		m, _, err := checkpoint.Latest(ctx, b)
		if err != nil {
			if !errors.Is(err, checkpoint.ErrDamaged) {
				t.Errorf("Latest = %v, want ErrDamaged", err)
			}
			return
		}
		if m.Step != 1 || m.Version < 1 || m.Version > 2 || len(m.Parts) != 0 {
			t.Errorf("Latest = %+v from %q", m, data)
		}
	})
}
