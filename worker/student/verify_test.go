package student_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pupil/coordinator/wire"
	"pupil/storage"
	"pupil/storage/mem"
	"pupil/storage/safetensors"
	"pupil/worker/nn"
	"pupil/worker/student"
)

// finished is the folder of a run with a student that says what made it, and its digest.
func finished(t *testing.T) (run storage.Bucket, digest string) {
	t.Helper()
	m := small(t, "resnet10_cifar", 3)
	run = mem.New()
	folder := storage.Prefix(run, wire.StudentFolder)
	prior := &safetensors.File{Tensors: []safetensors.Tensor{safetensors.FromFloat64("m", []int{2}, []float64{1, 2})}}
	digest, err := safetensors.Digest(m.Network.Export(m.State), prior)
	if err != nil {
		t.Fatal(err)
	}
	c := m.Config
	c.Provenance = &nn.Provenance{Job: "j", Dataset: "d", Step: 7, Kernel: "avx2", CodeVersion: "v", Weights: digest}
	config, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	provenance, err := json.Marshal(c.Provenance)
	if err != nil {
		t.Fatal(err)
	}
	metadata := map[string]string{wire.ConfigMetadata: string(config), wire.ProvenanceMetadata: string(provenance)}
	if err := nn.SaveFolder(t.Context(), folder, m.Network, m.State, c, metadata); err != nil {
		t.Fatal(err)
	}
	if err := safetensors.Put(t.Context(), folder, nn.PriorFile, prior); err != nil {
		t.Fatal(err)
	}
	write(t, run, wire.SummaryName, fmt.Sprintf(`{"weights_sha256": %q}`, digest))
	return run, digest
}

func write(t *testing.T, b storage.Bucket, key, text string) {
	t.Helper()
	if err := storage.WriteAll(t.Context(), b, key, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// edit changes a file of tensors.
func edit(t *testing.T, b storage.Bucket, key string, change func(*safetensors.File)) {
	t.Helper()
	f, err := safetensors.Get(t.Context(), b, key)
	if err != nil {
		t.Fatal(err)
	}
	change(f)
	if err := safetensors.Put(t.Context(), b, key, f); err != nil {
		t.Fatal(err)
	}
}

// replace changes a text within a file.
func replace(t *testing.T, b storage.Bucket, key, old, by string) {
	t.Helper()
	data, err := storage.ReadAll(t.Context(), b, key, 1<<20)
	if err != nil || !strings.Contains(string(data), old) {
		t.Fatalf("%s: %q, %v", key, data, err)
	}
	write(t, b, key, strings.ReplaceAll(string(data), old, by))
}

func TestVerify(t *testing.T) {
	const model, config = nn.WeightsFile, nn.ConfigFile
	own := "the metadata of " + model
	type change = func(t *testing.T, run, folder storage.Bucket, digest string)
	for name, x := range map[string]struct {
		change change
		agreed []string
		fault  string // "": none
	}{
		"as a run leaves it": {nil, []string{config, own, wire.SummaryName}, ""},
		"without a summary, in training": {func(t *testing.T, run, _ storage.Bucket, _ string) {
			if err := run.Delete(t.Context(), wire.SummaryName); err != nil {
				t.Fatal(err)
			}
		}, []string{config, own}, ""},
		"of an older version": {func(t *testing.T, _, folder storage.Bucket, digest string) {
			edit(t, folder, model, func(f *safetensors.File) { f.Metadata = nil })
			replace(t, folder, config, ",\n    \"weights_sha256\": \""+digest+"\"", "")
		}, []string{wire.SummaryName}, ""},
		"of an older version, with another summary": {func(t *testing.T, run, folder storage.Bucket, digest string) {
			edit(t, folder, model, func(f *safetensors.File) { f.Metadata = nil })
			replace(t, folder, config, ",\n    \"weights_sha256\": \""+digest+"\"", "")
			replace(t, run, wire.SummaryName, digest, strings.Repeat("0", 64))
		}, []string{}, "summary.json says 0000"},
		"with other metadata of no concern": {func(t *testing.T, _, folder storage.Bucket, _ string) {
			edit(t, folder, model, func(f *safetensors.File) { f.Metadata["note"] = "mine" })
		}, []string{config, own, wire.SummaryName}, ""},
		"a bit of a weight has flipped": {func(t *testing.T, _, folder storage.Bucket, _ string) {
			edit(t, folder, model, func(f *safetensors.File) { f.Tensors[3].Data[5] ^= 1 })
		}, []string{}, "config.json says"},
		"a bit of the prior has flipped": {func(t *testing.T, _, folder storage.Bucket, _ string) {
			edit(t, folder, nn.PriorFile, func(f *safetensors.File) { f.Tensors[0].Data[0] ^= 1 })
		}, []string{}, "config.json says"},
		"the prior is gone": {func(t *testing.T, _, folder storage.Bucket, _ string) {
			if err := folder.Delete(t.Context(), nn.PriorFile); err != nil {
				t.Fatal(err)
			}
		}, []string{}, "config.json says"},
		"another seed in config.json": {func(t *testing.T, _, folder storage.Bucket, _ string) {
			replace(t, folder, config, `"seed": 0`, `"seed": 1`)
		}, []string{config, own, wire.SummaryName}, "hold another config.json"},
		"another step in the metadata": {func(t *testing.T, _, folder storage.Bucket, _ string) {
			edit(t, folder, model, func(f *safetensors.File) {
				f.Metadata[wire.ProvenanceMetadata] = strings.Replace(f.Metadata[wire.ProvenanceMetadata], `"step":7`, `"step":8`, 1)
			})
		}, []string{config, own, wire.SummaryName}, "name another provenance"},
		"metadata that are no JSON": {func(t *testing.T, _, folder storage.Bucket, _ string) {
			edit(t, folder, model, func(f *safetensors.File) { f.Metadata[wire.ProvenanceMetadata] = "{" })
		}, []string{config, wire.SummaryName}, "pupil.provenance in the metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			run, digest := finished(t)
			folder := storage.Prefix(run, wire.StudentFolder)
			if x.change != nil {
				x.change(t, run, folder, digest)
			}
			v, err := student.Verify(t.Context(), folder, run)
			if x.fault == "" && (err != nil || v.Weights != digest) || x.fault != "" && (!errors.Is(err, student.ErrAltered) || !strings.Contains(err.Error(), x.fault)) {
				t.Fatalf("%+v, %v; want the fault %q", v, err, x.fault)
			}
			if got, want := fmt.Sprint(v.Agreed), fmt.Sprint(x.agreed); got != want {
				t.Errorf("%s agree, want %s", got, want)
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	for name, x := range map[string]struct {
		key, text string
		is        error
	}{
		"weights cut off":            {wire.StudentFolder + "/" + nn.WeightsFile, "12345678", student.ErrModel},
		"a prior that is none":       {wire.StudentFolder + "/" + nn.PriorFile, "12345678", student.ErrModel},
		"config.json of no network":  {wire.StudentFolder + "/" + nn.ConfigFile, "{}", student.ErrModel},
		"a summary that is not JSON": {wire.SummaryName, "{", nil},
	} {
		run, _ := finished(t)
		write(t, run, x.key, x.text)
		if v, err := student.Verify(t.Context(), storage.Prefix(run, wire.StudentFolder), run); err == nil || x.is != nil && !errors.Is(err, x.is) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	if _, err := student.Verify(t.Context(), mem.New(), nil); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("an empty folder: %v", err)
	}
}
