package nn_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"pupil/storage/safetensors"
	"pupil/worker/nn"
)

func TestImportAndExportAreInverse(t *testing.T) {
	for i, network := range references {
		r := loadReference(t, i)
		exported := r.network.Export(r.state)
		if !exported.Equal(r.file) {
			t.Errorf("%s: the exported file is not the imported one", network.name)
		}
		again := r.network.NewState()
		if err := r.network.Import(again, exported); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(again.Params, r.state.Params) || !slices.Equal(again.Buffers, r.state.Buffers) {
			t.Errorf("%s: the state changed on its way", network.name)
		}
	}
}

func TestImportKeepsTheCountOfBatches(t *testing.T) {
	r := loadReference(t, 0)
	r.state.Batches = 1234
	again := r.network.NewState()
	if err := r.network.Import(again, r.network.Export(r.state)); err != nil {
		t.Fatal(err)
	}
	if again.Batches != 1234 {
		t.Errorf("%d batches, want 1234", again.Batches)
	}
}

func TestImportTakesPrefixesOff(t *testing.T) {
	for _, prefix := range []string{"module.", "backbone.", "model.", "module.model.", "model.module.backbone."} {
		r := loadReference(t, 0)
		f := &safetensors.File{}
		for _, x := range r.file.Tensors {
			if !strings.HasSuffix(x.Name, "num_batches_tracked") { // optional
				x.Name = prefix + x.Name
				f.Tensors = append(f.Tensors, x)
			}
		}
		s := r.network.NewState()
		if err := r.network.Import(s, f); err != nil {
			t.Errorf("%s: %v", prefix, err)
		}
		if !slices.Equal(s.Params, r.state.Params) {
			t.Errorf("%s: other parameters", prefix)
		}
	}
}

func TestImportErrorListsEverything(t *testing.T) {
	r := loadReference(t, 0)
	f := &safetensors.File{}
	for _, x := range r.file.Tensors {
		switch x.Name {
		case "conv1.weight", "layer1.0.bn1.running_var":
			continue
		case "fc.weight":
			x = safetensors.FromFloat32(x.Name, []int{10, 64}, make([]float32, 640))
		case "fc.bias":
			x = safetensors.FromInt64(x.Name, []int{7}, make([]int64, 7))
		case "bn1.weight":
			twin := x
			twin.Name = "module.bn1.weight"
			f.Tensors = append(f.Tensors, twin)
		}
		f.Tensors = append(f.Tensors, x)
	}
	f.Tensors = append(f.Tensors, safetensors.FromFloat32("head.weight", []int{1}, []float32{1}))
	s := r.network.NewState()
	before := slices.Clone(s.Params)
	err := r.network.Import(s, f)
	if !errors.Is(err, nn.ErrWeights) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"2 missing: conv1.weight [8 3 7 7], layer1.0.bn1.running_var [8]",
		"1 extra: head.weight [1]",
		"1 of another shape: fc.weight is [10 64] and must be [7 64]",
		"1 twice: bn1.weight",
		`1 unreadable: tensor "fc.bias": elements are I64`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if !slices.Equal(s.Params, before) {
		t.Error("a failed import changed the state")
	}
}

func TestExportIsDeterministic(t *testing.T) {
	r := loadReference(t, 3)
	a, err := r.network.Export(r.state).Encode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.network.Export(r.state).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("two exports differ")
	}
}
