package export_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"pupil/internal/random"
	"pupil/worker/export"
	"pupil/worker/nn"
)

// network has random weights and running statistics.
func network(t testing.TB, architecture string, outputs int) (*nn.Network, *nn.State, nn.ModelConfig) {
	t.Helper()
	c := nn.ModelConfig{
		Config:    nn.Config{Architecture: architecture, Width: 0.25, Outputs: outputs, Size: 32, Channels: 3},
		Normalize: &nn.Normalize{Mean: []float64{0.5, 0.4, 0.3}, Std: []float64{0.1, 0.2, 0.3}},
	}
	n, err := nn.New(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	s := n.NewState()
	n.Init(s, 1)
	r := random.New(random.PurposeTest, 1)
	for _, b := range n.Buffers() {
		for i := range s.Buffers[b.Offset:][:b.Len] {
			s.Buffers[b.Offset+i] = float32(r.Uniform(0.5, 1.5))
		}
	}
	return n, s, c
}

// fields are those of a protobuf message, by number.
func fields(t testing.TB, m []byte) map[protowire.Number][][]byte {
	t.Helper()
	out := map[protowire.Number][][]byte{}
	for len(m) > 0 {
		number, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		m = m[n:]
		size := protowire.ConsumeFieldValue(number, kind, m)
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		value := m[:size]
		if kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(m)
		}
		out[number] = append(out[number], value)
		m = m[size:]
	}
	return out
}

func text(list [][]byte) string { return string(bytes.Join(list, []byte(","))) }

func varint(b []byte) int {
	v, _ := protowire.ConsumeVarint(b)
	return int(v)
}

// Everything that a node reads is there before it, tensors have as many values as their shapes say, and outputs are made.
func TestONNXHoldsTogether(t *testing.T) {
	for _, architecture := range []string{"mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "resnet10_cifar", "resnet50"} {
		for _, fold := range []bool{true, false} {
			n, s, model := network(t, architecture, 5)
			data, err := export.ONNX(n, s, export.Config{Model: model, Student: "digest", Fold: fold, Own: true})
			if err != nil {
				t.Fatal(err)
			}
			file := fields(t, data)
			opset := fields(t, file[8][0])
			if varint(file[1][0]) != 8 || varint(opset[2][0]) < 17 {
				t.Errorf("IR version %d, opset %d", varint(file[1][0]), varint(opset[2][0]))
			}
			g := fields(t, file[7][0])
			there := map[string]bool{}
			for _, raw := range g[5] {
				tensor := fields(t, raw)
				size := 4
				for _, d := range tensor[1] {
					size *= varint(d)
				}
				if len(tensor[9][0]) != size || there[text(tensor[8])] {
					t.Errorf("%s: tensor %s has %d bytes, want %d", architecture, text(tensor[8]), len(tensor[9][0]), size)
				}
				there[text(tensor[8])] = true
			}
			there[text(fields(t, g[11][0])[1])] = true
			norms := 0
			for _, raw := range g[1] {
				node := fields(t, raw)
				for _, in := range node[1] {
					if !there[string(in)] {
						t.Fatalf("%s: node %s reads %s, which is not there", architecture, text(node[3]), in)
					}
				}
				if there[text(node[2])] {
					t.Fatalf("%s: node %s makes %s again", architecture, text(node[3]), text(node[2]))
				}
				there[text(node[2])] = true
				if text(node[4]) == "BatchNormalization" {
					norms++
				}
			}
			if (norms == 0) != fold {
				t.Errorf("%s: %d batch norms, folded %v", architecture, norms, fold)
			}
			var outputs []string
			for _, raw := range g[12] {
				outputs = append(outputs, text(fields(t, raw)[1]))
				if !there[outputs[len(outputs)-1]] {
					t.Errorf("%s: nobody makes %s", architecture, outputs[len(outputs)-1])
				}
			}
			if !slices.Equal(outputs, []string{"features", "logits", "probabilities"}) {
				t.Errorf("outputs %v", outputs)
			}
		}
	}
}

func TestMetadata(t *testing.T) {
	n, s, model := network(t, "resnet18", 2)
	model.Classes, model.Resize = []string{"a", "b"}, 40
	model.Provenance = &nn.Provenance{Job: "j", Dataset: "d", Teacher: "t", Step: 7, Seed: 3, Kernel: "avx2", CodeVersion: "v"}
	data, err := export.ONNX(n, s, export.Config{Model: model, Student: "digest", Own: true, Version: "v"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, raw := range fields(t, data)[14] {
		entry := fields(t, raw)
		got[text(entry[1])] = text(entry[2])
	}
	for key, want := range map[string]string{
		"pupil.student": "digest", "image.mean": "[0.5,0.4,0.3]", "image.std": "[0.1,0.2,0.3]", "image.size": "32",
		"image.resize": "40", "image.channels": "3", "classes": `["a","b"]`, "image.layout": "NCHW",
		"pupil.provenance": `{"job":"j","dataset":"d","teacher":"t","step":7,"seed":3,"average":false,"kernel":"avx2","code_version":"v"}`,
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	again, err := export.ONNX(n, s, export.Config{Model: model, Student: "digest", Own: true, Version: "v"})
	if err != nil || !bytes.Equal(again, data) {
		t.Error("the same student gives another file")
	}
}

func TestSafetensors(t *testing.T) {
	n, s, model := network(t, "mobilenet_v3_small", 3)
	plain, err := export.Safetensors(n, s, export.Config{Model: model, Student: "digest"})
	if err != nil {
		t.Fatal(err)
	}
	state := n.NewState()
	if err := n.Import(state, plain); err != nil || !slices.Equal(state.Params, s.Params) || !slices.Equal(state.Buffers, s.Buffers) {
		t.Errorf("it does not come back: %v", err)
	}
	if plain.Metadata["pupil.student"] != "digest" {
		t.Errorf("metadata %v", plain.Metadata)
	}

	head := &export.Head{Classes: []string{"x", "y"}, Weights: make([]float32, 2*n.Features()), Bias: make([]float32, 2)}
	folded, err := export.Safetensors(n, s, export.Config{Model: model, Fold: true, Head: head})
	if err != nil {
		t.Fatal(err)
	}
	weight, _ := folded.Lookup("features.0.0.weight")
	got, err := weight.Float32()
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string) []float32 {
		tensor, ok := plain.Lookup(name)
		if !ok {
			t.Fatalf("no %s", name)
		}
		v, err := tensor.Float32()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	w, gamma, variance := value("features.0.0.weight"), value("features.0.1.weight"), value("features.0.1.running_var")
	for i, v := range w {
		k := i / (len(w) / len(gamma))
		want := float64(v) * float64(gamma[k]) / math.Sqrt(float64(variance[k])+1e-3)
		if math.Abs(float64(got[i])-want) > 1e-6 {
			t.Fatalf("folded weight %d is %v, want %v", i, got[i], want)
		}
	}
	for _, name := range []string{"head.weight", "features.0.0.bias", "classifier.3.bias"} {
		if _, ok := folded.Lookup(name); !ok {
			t.Errorf("no %s", name)
		}
	}
	if _, ok := folded.Lookup("features.0.1.weight"); ok {
		t.Error("a batch norm is left")
	}
}

func TestRefuses(t *testing.T) {
	n, s, model := network(t, "resnet18", 0)
	for want, c := range map[string]export.Config{
		"no classifier of its own": {Model: model, Own: true},
		"one classifier":           {Model: model, Own: true, Head: &export.Head{}},
		"a head of 1 classes":      {Model: model, Head: &export.Head{Classes: []string{"a"}, Bias: []float32{1}, Weights: []float32{1}}},
	} {
		if _, err := export.ONNX(n, s, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if _, err := export.Safetensors(n, s, c); err == nil {
			t.Errorf("safetensors: %q was accepted", want)
		}
	}
}

func ExampleONNX() {
	c := nn.ModelConfig{Config: nn.Config{Architecture: "mobilenet_v2", Width: 1, Size: 224, Channels: 3}}
	n, err := nn.New(c.Config)
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := export.ONNX(n, n.NewState(), export.Config{Model: c, Fold: true})
	fmt.Println(len(data) > binary.MaxVarintLen64, err)
	// Output: true <nil>
}
