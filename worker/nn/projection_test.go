package nn_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pupil/storage"
	"pupil/storage/mem"
	"pupil/storage/safetensors"
	"pupil/worker/nn"
)

// tinyProjected is tiny with a projection.
var tinyProjected = nn.Config{
	Architecture: tiny.Architecture, Width: tiny.Width, Outputs: tiny.Outputs, Size: tiny.Size, Channels: tiny.Channels,
	Projection: 96,
}

func TestProjectionIsTheLastLayer(t *testing.T) {
	for name, n := range projected(t) {
		params := n.Params()
		last := params[len(params)-2:]
		if last[0].Name != "projection.weight" || !slices.Equal(last[0].Shape, []int{5, n.Features()}) ||
			last[0].Kind != nn.Weight {
			t.Errorf("%s: %+v", name, last[0])
		}
		if last[1].Name != "projection.bias" || !slices.Equal(last[1].Shape, []int{5}) || last[1].Kind != nn.Bias {
			t.Errorf("%s: %+v", name, last[1])
		}
		s := n.NewState()
		if end := last[1].Offset + last[1].Len; end != len(s.Params) {
			t.Errorf("%s: the projection ends at %d of %d", name, end, len(s.Params))
		}
		tensors := n.Export(s).Tensors
		names := []string{tensors[len(tensors)-2].Name, tensors[len(tensors)-1].Name}
		if !slices.Equal(names, []string{"projection.weight", "projection.bias"}) {
			t.Errorf("%s: the file ends with %v", name, names)
		}
	}
}

// torch.nn.Linear draws weights and biases uniformly within 1/sqrt(features).
func TestProjectionInitIsTorchs(t *testing.T) {
	n := mustNew(t, tinyProjected)
	s := n.NewState()
	n.Init(s, 3)
	bound := 1 / math.Sqrt(float64(n.Features()))
	params := n.Params()
	for _, p := range params[len(params)-2:] {
		sum, square, most := 0.0, 0.0, 0.0
		for _, v := range s.Params[p.Offset:][:p.Len] {
			sum += float64(v)
			square += float64(v) * float64(v)
			most = max(most, math.Abs(float64(v)))
		}
		count := float64(p.Len)
		deviation := bound / math.Sqrt(3)
		if most > bound || most < 0.9*bound || math.Abs(sum/count) > 5*deviation/math.Sqrt(count) ||
			math.Abs(math.Sqrt(square/count)/deviation-1) > 5/math.Sqrt(count) {
			t.Errorf("%s: mean %v, deviation %v, largest %v; want 0, %v, %v",
				p.Name, sum/count, math.Sqrt(square/count), most, deviation, bound)
		}
	}
}

// The projection is pooled W' + b with the exported W [P, features], the same in an inference and in training.
func TestInferenceGivesTheProjection(t *testing.T) {
	for name, n := range projected(t) {
		s := n.NewState()
		n.Init(s, 2)
		inference, err := n.NewInference(s, 2)
		if err != nil {
			t.Fatal(err)
		}
		pooled, logits, err := inference.Run(noise(2 * 16 * 16))
		if err != nil {
			t.Fatal(err)
		}
		if &inference.Output(nn.Pooled)[0] != &pooled[0] || &inference.Output(nn.Logits)[0] != &logits[0] {
			t.Errorf("%s: Output and Run give different buffers", name)
		}
		checkProjection(t, name, n.Export(s), pooled, inference.Output(nn.Projection))

		training := newSteps(t, n, s, 2, []nn.Output{nn.Projection, nn.Pooled}, meanSquare)
		training.run(t, noise(2*16*16))
		checkProjection(t, name, n.Export(s), training.features[1], training.features[0])

		inference.Close()
		if inference.Output(nn.Projection) != nil {
			t.Errorf("%s: a closed graph has outputs", name)
		}
	}
	without := mustNew(t, nn.Config{Architecture: "resnet10", Width: 0.125, Size: 8, Channels: 1})
	inference, err := without.NewInference(without.NewState(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer inference.Close()
	if _, _, err := inference.Run(noise(8 * 8)); err != nil {
		t.Fatal(err)
	}
	for _, o := range []nn.Output{nn.Logits, nn.Projection, nn.Output(9)} {
		if v := inference.Output(o); v != nil {
			t.Errorf("%s has %d values in a network without it", o, len(v))
		}
	}
}

func checkProjection(t *testing.T, name string, f *safetensors.File, pooled, got []float32) {
	t.Helper()
	weight, bias := tensorOf(t, f, "projection.weight"), tensorOf(t, f, "projection.bias")
	c := len(weight) / len(bias)
	want := make([]float32, len(pooled)/c*len(bias))
	for i := range want {
		row, out := i/len(bias), i%len(bias)
		sum := float64(bias[out])
		for j, w := range weight[out*c:][:c] {
			sum += float64(w) * float64(pooled[row*c+j])
		}
		want[i] = float32(sum)
	}
	if e := relativeError(t, name, got, want); !(e < 1e-5) {
		t.Errorf("%s: the projection is off by %.2g", name, e)
	}
}

func tensorOf(t *testing.T, f *safetensors.File, name string) []float32 {
	t.Helper()
	x, ok := f.Lookup(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	v, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestProjectionRoundTrip(t *testing.T) {
	ctx := context.Background()
	n := mustNew(t, tinyProjected)
	s := n.NewState()
	n.Init(s, 5)
	again := n.NewState()
	if err := n.Import(again, n.Export(s)); err != nil || !slices.Equal(again.Params, s.Params) {
		t.Errorf("import of an export: %v", err)
	}
	b := mem.New()
	config := nn.ModelConfig{Config: tinyProjected}
	if err := nn.SaveFolder(ctx, b, n, s, config, nil); err != nil {
		t.Fatal(err)
	}
	network, loaded, got, _, err := nn.LoadFolder(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, config) || network.Width(nn.Projection) != 96 || !slices.Equal(loaded.Params, s.Params) {
		t.Errorf("config %+v, a projection of width %d", got, network.Width(nn.Projection))
	}
	started := n.NewState()
	n.Init(started, 6)
	if err := n.ImportFolder(ctx, started, b); err != nil || !slices.Equal(started.Params, s.Params) {
		t.Errorf("ImportFolder: %v", err)
	}
	// A network without a projection is described as before there were any.
	text, err := nn.ModelConfig{Config: tiny}.Encode()
	if err != nil || bytes.Contains(text, []byte("projection")) {
		t.Errorf("%s %v", text, err)
	}
}

// A student with a projection starts with torchvision's weights, which have none. Its own stays as it is. But a file
// with half of it, and a whole model or a checkpoint without it, are broken.
func TestImportWithoutTheProjection(t *testing.T) {
	ctx := context.Background()
	plain, n := mustNew(t, tiny), mustNew(t, tinyProjected)
	weights := plain.NewState()
	plain.Init(weights, 1)
	weights.Batches = 12
	start := n.NewState()
	n.Init(start, 2)
	own := slices.Clone(start.Params[len(weights.Params):])
	b := mem.New()
	if err := safetensors.Put(ctx, b, nn.WeightsFile, plain.Export(weights)); err != nil {
		t.Fatal(err)
	}
	if err := n.ImportFolder(ctx, start, b); err != nil {
		t.Fatal(err)
	}
	if got := start.Params[:len(weights.Params)]; !slices.Equal(got, weights.Params) || start.Batches != 12 {
		t.Error("the weights are not the file's")
	}
	if !slices.Equal(start.Params[len(weights.Params):], own) {
		t.Error("the projection did not stay as initialised")
	}

	missing := "2 missing: projection.bias [96], projection.weight [96 "
	if err := n.Import(n.NewState(), plain.Export(weights)); !errors.Is(err, nn.ErrWeights) ||
		!strings.Contains(err.Error(), missing) {
		t.Errorf("a checkpoint without it: got %v", err)
	}
	text, err := nn.ModelConfig{Config: tinyProjected}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.WriteAll(ctx, b, nn.ConfigFile, text); err != nil {
		t.Fatal(err)
	}
	if _, _, _, _, err := nn.LoadFolder(ctx, b); !errors.Is(err, nn.ErrWeights) ||
		!strings.Contains(err.Error(), missing) {
		t.Errorf("a model without it: got %v", err)
	}
}

func TestBrokenProjections(t *testing.T) {
	ctx := context.Background()
	n := mustNew(t, tinyProjected)
	s := n.NewState()
	n.Init(s, 1)
	for want, change := range map[string]func(f *safetensors.File){
		"1 missing: projection.bias": func(f *safetensors.File) {
			f.Tensors = f.Tensors[:len(f.Tensors)-1]
		},
		"1 missing: projection.weight": func(f *safetensors.File) {
			f.Tensors = slices.Delete(f.Tensors, len(f.Tensors)-2, len(f.Tensors)-1)
			f.Tensors[len(f.Tensors)-1].Name = "module.projection.bias"
		},
		"1 of another shape: projection.bias is [1] and must be [96]": func(f *safetensors.File) {
			f.Tensors[len(f.Tensors)-1] = safetensors.FromFloat32("projection.bias", []int{1}, []float32{1})
		},
		"1 missing: features.0.0.weight": func(f *safetensors.File) { // the projection is not needed, the rest is
			f.Tensors = f.Tensors[1 : len(f.Tensors)-2]
		},
	} {
		f := n.Export(s)
		change(f)
		b := mem.New()
		if err := safetensors.Put(ctx, b, nn.WeightsFile, f); err != nil {
			t.Fatal(err)
		}
		into := n.NewState()
		n.Init(into, 2)
		before := slices.Clone(into.Params)
		if err := n.ImportFolder(ctx, into, b); !errors.Is(err, nn.ErrWeights) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
		if !slices.Equal(into.Params, before) {
			t.Errorf("%s: a failed import changed the state", want)
		}
	}
}

// A student without a classifier starts from a file that has one, and one with a classifier from a file without: the head
// that only one of them has does not count.
func TestStartFromOtherHeads(t *testing.T) {
	ctx := context.Background()
	for _, architecture := range []string{"mobilenet_v2", "mobilenet_v3_small", "resnet10"} {
		c := nn.Config{Architecture: architecture, Width: 0.125, Size: 32, Channels: 1}
		if architecture == "mobilenet_v3_small" {
			c.Width = 0.25
		}
		headless := mustNew(t, c)
		c.Outputs = 7
		whole := mustNew(t, c)
		for _, x := range []struct{ from, to *nn.Network }{{whole, headless}, {headless, whole}} {
			file, into := x.from.NewState(), x.to.NewState()
			x.from.Init(file, 1)
			x.to.Init(into, 2)
			own := slices.Clone(into.Params)
			b := mem.New()
			if err := safetensors.Put(ctx, b, nn.WeightsFile, x.from.Export(file)); err != nil {
				t.Fatal(err)
			}
			if err := x.to.ImportFolder(ctx, into, b); err != nil {
				t.Fatalf("%s: %v", architecture, err)
			}
			body := min(len(file.Params), len(into.Params))
			if !slices.Equal(into.Params[:body], file.Params[:body]) || !slices.Equal(into.Params[body:], own[body:]) {
				t.Errorf("%s: the body is not the file's, or the head did not stay", architecture)
			}
		}
	}
}
