package nn_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"pupil/internal/kernel"
	"pupil/storage/dir"
	"pupil/worker/nn"
)

// trained is the network of the examples, with weights that training has left.
func trained(t testing.TB) (*nn.Network, *nn.State) {
	t.Helper()
	b, err := dir.New("../../deploy/examples/fashion-teacher")
	if err != nil {
		t.Fatal(err)
	}
	n, s, _, _, err := nn.LoadFolder(context.Background(), b)
	if err != nil {
		t.Fatal(err)
	}
	return n, s
}

// pictures are smooth images: shapes of random size and place.
func pictures(n, size, channels int) []float32 {
	grain := noise(n * 6)
	x := make([]float32, n*size*size*channels)
	for i := range x {
		p := grain[i/(size*size*channels)*6:]
		v, h := float64(i/channels/size%size)/float64(size), float64(i/channels%size)/float64(size)
		x[i] = float32(math.Sin(7*float64(p[0])*v+float64(p[1])) * math.Cos(9*float64(p[2])*h+float64(p[3])*v+float64(p[4])))
	}
	return x
}

func infer(t testing.TB, f *nn.Frozen, c nn.InferenceConfig, images []float32) *nn.Inference {
	t.Helper()
	i, err := f.NewInference(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	for range 2 { // the second run has dirty buffers
		if _, _, err := i.Run(images); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

func freeze(t testing.TB, n *nn.Network, s *nn.State, c nn.FreezeConfig) *nn.Frozen {
	t.Helper()
	f, err := n.Freeze(s, c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// eachKernel runs a test with all implementations that the CPU has.
func eachKernel(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	best := kernel.Name()
	t.Cleanup(func() {
		if err := kernel.Select(best); err != nil {
			t.Error(err)
		}
	})
	for _, name := range slices.Compact([]string{"generic", best}) {
		if err := kernel.Select(name); err != nil {
			t.Fatal(err)
		}
		t.Run(name, f)
	}
}

// Winograd's algorithm changes what trained networks give by rounding only.
func TestWinogradOfTrainedWeights(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		n, s := trained(t)
		const batch = 5
		images := pictures(batch, n.Config().Size, n.Config().Channels)
		c := nn.InferenceConfig{Batch: batch, Also: []nn.Output{nn.FeatureMap}}
		fast := infer(t, freeze(t, n, s, nn.FreezeConfig{}), c, images)
		direct := infer(t, freeze(t, n, s, nn.FreezeConfig{Direct: true}), c, images)
		for _, o := range []nn.Output{nn.Pooled, nn.Logits, nn.FeatureMap} {
			var errors, squares float64
			for i, want := range direct.Output(o) {
				d := float64(fast.Output(o)[i]) - float64(want)
				errors += d * d
				squares += float64(want) * float64(want)
			}
			relative := math.Sqrt(errors / squares)
			t.Logf("%s: %.1e", o, relative)
			// The promise is 1e-3; rounding leaves far less, and none at all would mean that nothing was chosen.
			if !(relative < 2e-5) || relative == 0 {
				t.Errorf("%s: relative error %.2g", o, relative)
			}
		}
	})
}

// The same of trained filters of stride 2, which Freeze computes directly: there are too few of them.
func TestWinogradOfTrainedStrides(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		n, s := trained(t)
		strided := 0
		for _, p := range n.Params() {
			var stage int
			if _, err := fmt.Sscanf(p.Name, "layer%d.0.conv1.weight", &stage); err != nil || stage < 2 {
				continue
			}
			strided++
			c, k := 16<<(stage-2), 16<<(stage-1)
			g := kernel.Conv{N: 5, H: 56 >> (stage - 1), W: 56 >> (stage - 1), C: c, K: k, R: 3, S: 3, Stride: 2, Pad: 1}
			w, x := s.Params[p.Offset:][:9*c*k], noise(g.N*g.H*g.W*c)
			for i, v := range x {
				x[i] = max(v, 0) // as behind a ReLU
			}
			oh, ow := g.Out()
			var ws kernel.Workspace
			fast, direct := make([]float32, g.N*oh*ow*k), make([]float32, g.N*oh*ow*k)
			kernel.ConvForwardPacked(g, x, kernel.PackWinograd(g, w), kernel.Epilogue{}, fast, &ws)
			kernel.ConvForwardPacked(g, x, kernel.PackConv(g, w), kernel.Epilogue{}, direct, &ws)
			var errors, squares float64
			for i, want := range direct {
				d := float64(fast[i]) - float64(want)
				errors += d * d
				squares += float64(want) * float64(want)
			}
			relative := math.Sqrt(errors / squares)
			t.Logf("%s: %.1e", p.Name, relative)
			if !(relative < 1e-5) || relative == 0 {
				t.Errorf("%s: relative error %.2g", p.Name, relative)
			}
		}
		if strided != 3 {
			t.Errorf("%d convolutions of stride 2 in the trained network, not 3", strided)
		}
	})
}

// What an image gives depends neither on the images beside it nor on threads.
func TestInferenceOfAnImageIsItsOwn(t *testing.T) {
	for _, c := range []nn.Config{
		{Architecture: "resnet10_cifar", Width: 0.25, Outputs: 3, Size: 28, Channels: 1},
		{Architecture: "resnet50", Width: 0.25, Outputs: 3, Size: 32, Channels: 3, Projection: 5},
		{Architecture: "mobilenet_v2_cifar", Width: 0.25, Outputs: 3, Size: 28, Channels: 1},
		{Architecture: "mobilenet_v3_small", Width: 0.5, Outputs: 3, Size: 40, Channels: 3},
	} {
		n := mustNew(t, c)
		s := n.NewState()
		n.Init(s, 3)
		f := freeze(t, n, s, nn.FreezeConfig{})
		const batch = 7
		images := pictures(batch, c.Size, c.Channels)
		also := []nn.Output{nn.FeatureMap}
		want := infer(t, f, nn.InferenceConfig{Batch: batch, Also: also}, images)
		for _, threads := range []int{2, 3, 9} {
			got := infer(t, f, nn.InferenceConfig{Batch: batch, Threads: threads, Also: also}, images)
			for _, o := range []nn.Output{nn.Pooled, nn.Logits, nn.Projection, nn.FeatureMap} {
				if !slices.Equal(got.Output(o), want.Output(o)) {
					t.Errorf("%s: %s has other bits with %d threads", c.Architecture, o, threads)
				}
			}
		}
		one := len(images) / batch
		for i := range batch {
			got := infer(t, f, nn.InferenceConfig{Batch: 1}, images[i*one:][:one])
			if w := n.Features(); !slices.Equal(got.Output(nn.Pooled), want.Output(nn.Pooled)[i*w:][:w]) {
				t.Errorf("%s: image %d has other bits alone", c.Architecture, i)
			}
		}
	}
}

// A frozen network does not see later changes of the state, and its size is what was said.
func TestFrozenIsACopy(t *testing.T) {
	n, s := trained(t)
	images := pictures(2, n.Config().Size, n.Config().Channels)
	for _, direct := range []bool{false, true} {
		f := freeze(t, n, s, nn.FreezeConfig{Direct: direct})
		want := slices.Clone(infer(t, f, nn.InferenceConfig{Batch: 2}, images).Output(nn.Logits))
		kept := slices.Clone(s.Params)
		clear(s.Params)
		if got := infer(t, f, nn.InferenceConfig{Batch: 2}, images).Output(nn.Logits); !slices.Equal(got, want) {
			t.Error("the logits have changed with the state")
		}
		copy(s.Params, kept)
		if f.Network() != n {
			t.Error("another network")
		}
	}
	if d, w := n.FrozenBytes(nn.FreezeConfig{Direct: true}), n.FrozenBytes(nn.FreezeConfig{}); d < 4*int64(len(s.Params))*9/10 || w < 2*d {
		t.Errorf("%d parameters take %d bytes, with Winograd %d", len(s.Params), d, w)
	}
	for want, c := range map[string]nn.InferenceConfig{"batch is 0": {}, "threads is -1": {Batch: 1, Threads: -1}} {
		if _, err := freeze(t, n, s, nn.FreezeConfig{}).NewInference(c); err == nil {
			t.Errorf("no error where %s", want)
		}
	}
}

// Weights are prepared once and shared.
func ExampleNetwork_Freeze() {
	n, err := nn.New(nn.Config{Architecture: "resnet10_cifar", Width: 0.125, Outputs: 2, Size: 28, Channels: 1})
	if err != nil {
		panic(err)
	}
	s := n.NewState()
	n.Init(s, 1)
	frozen, err := n.Freeze(s, nn.FreezeConfig{}) // once, for all lanes
	if err != nil {
		panic(err)
	}
	inference, err := frozen.NewInference(nn.InferenceConfig{Batch: 4, Threads: 2})
	if err != nil {
		panic(err)
	}
	defer inference.Close()
	pooled, logits, err := inference.Run(make([]float32, 4*28*28))
	fmt.Println(len(pooled), len(logits), err)
	// Output: 256 8 <nil>
}
