package nn_test

import (
	"math"
	"slices"
	"testing"

	"pupil/worker/nn"
)

// Parameters and multiply-adds (in thousands of millions) of torchvision's networks at 224 x 224, as torchvision's page
// of models gives them (_ops of its weights' metadata).
func TestLayersAddUpToTorchvisions(t *testing.T) {
	for _, want := range []struct {
		name       string
		parameters int
		gigaMACs   float64
	}{
		{"resnet18", 11_689_512, 1.814},
		{"resnet34", 21_797_672, 3.664},
		{"resnet50", 25_557_032, 4.089},
		{"resnet101", 44_549_160, 7.801},
		{"mobilenet_v2", 3_504_872, 0.301},
		{"mobilenet_v3_small", 2_542_856, 0.057},
		{"mobilenet_v3_large", 5_483_032, 0.217},
	} {
		n := mustNew(t, nn.Config{Architecture: want.name, Width: 1, Outputs: 1000, Size: 224, Channels: 3})
		parameters, macs := 0, int64(0)
		for _, l := range n.Layers() {
			parameters += l.Parameters
			macs += l.MultiplyAdds
			if l.Name == "" || l.Kind == "" {
				t.Errorf("%s: a layer without a name: %+v", want.name, l)
			}
		}
		if parameters != want.parameters {
			t.Errorf("%s: %d parameters, want %d", want.name, parameters, want.parameters)
		}
		if got := float64(macs) / 1e9; math.Abs(got-want.gigaMACs) > 0.0006 {
			t.Errorf("%s: %.4f thousand million multiply-adds, want %.3f", want.name, got, want.gigaMACs)
		}
	}
}

func TestLayersNameTorchvisionsModules(t *testing.T) {
	for _, test := range []struct {
		architecture string
		want         []nn.Layer
	}{
		{"resnet50", []nn.Layer{
			{
				Name: "conv1", Kind: "convolution", Kernel: 7, Stride: 2, Activation: "ReLU",
				Shape: [3]int{32, 32, 64}, Parameters: 7*7*3*64 + 128, MultiplyAdds: 7 * 7 * 3 * 64 * 32 * 32, Bytes: 4 << 16,
			},
			{Name: "maxpool", Kind: "max pool", Kernel: 3, Stride: 2, Shape: [3]int{16, 16, 64}, Bytes: 4 << 14},
			{Name: "layer1.0", Kind: "add", Activation: "ReLU", Shape: [3]int{16, 16, 256}, Bytes: 4 << 16},
			{Name: "avgpool", Kind: "average pool", Shape: [3]int{1, 1, 2048}, Bytes: 4 << 11},
			{Name: "fc", Kind: "linear", Shape: [3]int{1, 1, 10}, Parameters: 20490, MultiplyAdds: 20480, Bytes: 40},
			{Name: "projection", Kind: "linear", Shape: [3]int{1, 1, 4}, Parameters: 8196, MultiplyAdds: 8192, Bytes: 16},
		}},
		{"mobilenet_v2", []nn.Layer{
			{
				Name: "features.1.conv.0.0", Kind: "depthwise", Kernel: 3, Stride: 1, Activation: "ReLU6",
				Shape: [3]int{32, 32, 32}, Parameters: 9*32 + 64, MultiplyAdds: 9 * 32 * 32 * 32, Bytes: 4 << 15,
			},
			{Name: "features.3", Kind: "add", Shape: [3]int{16, 16, 24}, Bytes: 4 * 16 * 16 * 24},
		}},
		{"mobilenet_v3_small", []nn.Layer{
			{Name: "features.1.block.1", Kind: "scale", Shape: [3]int{16, 16, 16}, Bytes: 4 << 12},
			{
				Name: "features.1.block.1.fc2", Kind: "linear", Activation: "HardSigmoid", Shape: [3]int{1, 1, 16},
				Parameters: 8*16 + 16, MultiplyAdds: 8 * 16, Bytes: 64,
			},
			{Name: "features.3", Kind: "add", Shape: [3]int{8, 8, 24}, Bytes: 4 * 8 * 8 * 24},
		}},
	} {
		c := nn.Config{Architecture: test.architecture, Width: 1, Outputs: 10, Size: 64, Channels: 3, Projection: 4}
		got := mustNew(t, c).Layers()
		for _, want := range test.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s: no %+v", test.architecture, want)
			}
		}
	}
}

// What is planned is what is taken.
func TestPlannedBytes(t *testing.T) {
	for _, name := range nn.Architectures() {
		n := mustNew(t, nn.Config{Architecture: name, Width: 0.125, Outputs: 3, Size: 33, Channels: 3, Projection: 5})
		s := n.NewState()
		for _, outputs := range selections {
			want, err := n.TrainingBytes(3, outputs)
			if err != nil {
				t.Fatal(err)
			}
			if got := newSteps(t, n, s, 3, outputs, meanSquare).training.Bytes(); got != want || want <= 0 {
				t.Errorf("%s %v: %d bytes, planned were %d", name, outputs, got, want)
			}
		}
		want, err := n.InferenceBytes(3)
		if err != nil {
			t.Fatal(err)
		}
		inference, err := n.NewInference(s, 3)
		if err != nil {
			t.Fatal(err)
		}
		if got := inference.Bytes(); got != want || want <= 0 {
			t.Errorf("%s: %d bytes for inference, planned were %d", name, got, want)
		}
		inference.Close()
	}
	n := mustNew(t, nn.Config{Architecture: "resnet10", Width: 0.125, Size: 16, Channels: 1})
	if _, err := n.TrainingBytes(2, []nn.Output{nn.Logits}); err == nil {
		t.Error("logits are planned for a network without a classifier")
	}
	if _, err := n.InferenceBytes(0); err == nil {
		t.Error("a batch of no images is planned")
	}
}

// The most that a graph may take, in megabytes: what it takes now.
func TestMemoryOfKnownNetworks(t *testing.T) {
	for _, test := range []struct {
		config              nn.Config
		batch               int
		training, inference float64
	}{
		{nn.Config{Architecture: "resnet50", Width: 1, Outputs: 1000, Size: 224, Channels: 3}, 16, 1096.9, 86.2},
		{nn.Config{Architecture: "mobilenet_v2", Width: 1, Outputs: 1000, Size: 224, Channels: 3}, 16, 446.5, 20.0},
		{nn.Config{Architecture: "mobilenet_v2_cifar", Width: 0.5, Outputs: 10, Size: 32, Channels: 3}, 64, 251.1, 17.4},
	} {
		n := mustNew(t, test.config)
		training, err := n.TrainingBytes(test.batch, []nn.Output{nn.Logits})
		if err != nil {
			t.Fatal(err)
		}
		inference, err := n.InferenceBytes(test.batch)
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(training) / 1e6; got > test.training {
			t.Errorf("%s: training takes %.2f MB, more than %.1f", test.config.Architecture, got, test.training)
		}
		if got := float64(inference) / 1e6; got > test.inference {
			t.Errorf("%s: inference takes %.2f MB, more than %.1f", test.config.Architecture, got, test.inference)
		}
	}
}

// Steps are the layers with what they read and write: every value is made before it is read, and every tensor of the
// network is somebody's.
func TestSteps(t *testing.T) {
	for _, architecture := range nn.Architectures() {
		n := mustNew(t, nn.Config{Architecture: architecture, Width: 1, Outputs: 10, Size: 64, Channels: 3, Projection: 4})
		steps, layers := n.Steps(nn.Logits, nn.Pooled, nn.Projection), n.Layers()
		if len(steps) != len(layers) {
			t.Fatalf("%s: %d steps, %d layers", architecture, len(steps), len(layers))
		}
		there, used := map[int]bool{0: true}, map[string]bool{"": true}
		for i, s := range steps {
			if s.Layer != layers[i] {
				t.Errorf("%s: step %d is %+v", architecture, i, s.Layer)
			}
			for _, v := range s.In {
				if !there[v] {
					t.Errorf("%s: %s reads value %d, which is not there", architecture, s.Name, v)
				}
			}
			there[s.Out] = true
			for _, name := range []string{s.Weight, s.Bias, s.Scale, s.Shift, s.Mean, s.Variance} {
				used[name] = true
			}
		}
		for _, list := range [][]nn.Tensor{n.Params(), n.Buffers()} {
			for _, p := range list {
				if !used[p.Name] {
					t.Errorf("%s: no step has %s", architecture, p.Name)
				}
			}
		}
		if !there[n.ValueOf(nn.Logits)] || n.ValueOf(nn.FeatureMap) < 1 {
			t.Errorf("%s: no logits", architecture)
		}
		if few := n.Steps(nn.Pooled); few[len(few)-1].Out != n.ValueOf(nn.Pooled) || len(few) >= len(steps) {
			t.Errorf("%s: %d steps lead to the pooled features", architecture, len(few))
		}
	}
}
