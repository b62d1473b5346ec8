package nn_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pupil/worker/nn"
)

// Parameters of torchvision's networks with 1000 outputs.
func TestParameterCountsAreTorchvisions(t *testing.T) {
	for name, want := range map[string]int{
		"resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160,
		"mobilenet_v2": 3_504_872, "mobilenet_v3_small": 2_542_856, "mobilenet_v3_large": 5_483_032,
	} {
		n := mustNew(t, nn.Config{Architecture: name, Width: 1, Outputs: 1000, Size: 224, Channels: 3})
		got := 0
		for _, p := range n.Params() {
			if p.Offset != got {
				t.Fatalf("%s: %s lies at %d, want %d", name, p.Name, p.Offset, got)
			}
			got += p.Len
		}
		if s := n.NewState(); got != want || len(s.Params) != want {
			t.Errorf("%s has %d parameters, want %d", name, got, want)
		}
	}
}

func mustNew(t testing.TB, c nn.Config) *nn.Network {
	t.Helper()
	n, err := nn.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestEveryArchitectureTrains(t *testing.T) {
	for _, name := range nn.Architectures() {
		n := mustNew(t, nn.Config{Architecture: name, Width: 0.125, Outputs: 3, Size: 28, Channels: 1})
		s := n.NewState()
		n.Init(s, 1)
		x := newStep(t, n, s, 2, nn.Logits, meanSquare)
		x.run(t, noise(2*28*28))
		if i := slices.IndexFunc(x.gradients, func(g float32) bool { return g-g != 0 }); i >= 0 {
			t.Errorf("%s: gradient %d is %v", name, i, x.gradients[i])
		}
		if s := x.training; s.Bytes() <= 0 {
			t.Errorf("%s: %d bytes of activations", name, s.Bytes())
		}
	}
}

// Dimensions of 1 everywhere: one image of one pixel, one output.
func TestSmallestShapes(t *testing.T) {
	for _, name := range []string{"resnet10", "resnet10_cifar", "mobilenet_v2", "mobilenet_v3_small"} {
		n := mustNew(t, nn.Config{Architecture: name, Width: 1. / 64, Outputs: 1, Size: 1, Channels: 1})
		s := n.NewState()
		n.Init(s, 1)
		inference, err := n.NewInference(s, 1)
		if err != nil {
			t.Fatal(err)
		}
		pooled, logits, err := inference.Run([]float32{1})
		if err != nil || len(pooled) != n.Features() || len(logits) != 1 {
			t.Errorf("%s: %d features, %d logits, %v", name, len(pooled), len(logits), err)
		}
		inference.Close()
		if _, _, err := inference.Run([]float32{1}); err == nil {
			t.Errorf("%s: a closed graph runs", name)
		}
		newStep(t, n, s, 2, nn.Logits, meanSquare).run(t, []float32{1, 2})
	}
}

func TestInferenceWithoutClassifier(t *testing.T) {
	n := mustNew(t, nn.Config{Architecture: "resnet18", Width: 0.125, Size: 28, Channels: 1})
	s := n.NewState()
	n.Init(s, 1)
	inference, err := n.NewInference(s, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer inference.Close()
	pooled, logits, err := inference.Run(noise(2 * 28 * 28))
	if err != nil || len(pooled) != 2*n.Features() || logits != nil || inference.Bytes() <= 0 {
		t.Errorf("%d features, %d logits, %v", len(pooled), len(logits), err)
	}
}

func TestWidths(t *testing.T) {
	for _, test := range []struct {
		config   nn.Config
		features int
	}{
		{nn.Config{Architecture: "resnet18", Width: 0.25, Size: 32, Channels: 3}, 128},
		{nn.Config{Architecture: "resnet50_cifar", Width: 0.5, Size: 32, Channels: 1}, 1024},
		{nn.Config{Architecture: "mobilenet_v2", Width: 0.5, Size: 224, Channels: 3}, 1280},
		{nn.Config{Architecture: "mobilenet_v2_cifar", Width: 1.4, Size: 32, Channels: 3}, 1792},
		{nn.Config{Architecture: "mobilenet_v3_small", Width: 1, Size: 224, Channels: 3}, 576},
		{nn.Config{Architecture: "mobilenet_v3_large", Width: 0.75, Size: 224, Channels: 3}, 720},
	} {
		n := mustNew(t, test.config)
		if got := n.Features(); got != test.features || n.Width(nn.Pooled) != got || n.Width(nn.Logits) != 0 {
			t.Errorf("%+v: features %d, want %d", test.config, got, test.features)
		}
		if n.Config() != test.config {
			t.Errorf("config is %+v, want %+v", n.Config(), test.config)
		}
	}
}

func TestConfigErrorsNameEveryFault(t *testing.T) {
	for _, test := range []struct {
		config nn.Config
		want   []string
	}{
		{nn.Config{}, []string{`architecture ""`, "mobilenet_v2_cifar", "width is 0", "size is 0", "channels is 0"}},
		{nn.Config{Architecture: "resnet18", Width: 0.3, Size: 32, Channels: 3}, []string{
			"width 0.3", "try width 0.296875",
		}},
		{nn.Config{Architecture: "resnet18", Width: math.NaN(), Size: 32, Channels: 3}, []string{"width is NaN"}},
		{nn.Config{Architecture: "resnet18", Width: 1, Size: 1 << 20, Channels: 2, Outputs: -1, Projection: -2}, []string{
			"size is 1048576", "channels is 2", "outputs is -1", "projection is -2; it must be in 0..1048576",
		}},
	} {
		_, err := nn.New(test.config)
		if err == nil {
			t.Errorf("%+v is accepted", test.config)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %q does not say %q", test.config, err, want)
			}
		}
	}
	for name, err := range map[string]error{
		"blocks":  second(nn.NewResNet(nn.ResNet{Planes: 8}, referenceConfig)),
		"planes":  second(nn.NewResNet(nn.ResNet{Blocks: [4]int{1, 1, 1, 1}}, referenceConfig)),
		"width":   second(nn.NewMobileNetV2(nn.MobileNetV2{}, referenceConfig)),
		"channel": second(nn.NewMobileNetV3(nn.MobileNetV3{Width: 1, LastChannel: -1}, referenceConfig)),
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func second(_ *nn.Network, err error) error { return err }

func TestInitIsTorchvisions(t *testing.T) {
	n := mustNew(t, nn.Config{Architecture: "resnet18", Width: 0.25, Outputs: 100, Size: 32, Channels: 3})
	s := n.NewState()
	n.Init(s, 3)
	deviations := map[string]float64{
		"conv1.weight":                 math.Sqrt(2. / (16 * 49)),
		"layer2.0.conv1.weight":        math.Sqrt(2. / (32 * 9)),
		"layer4.0.downsample.0.weight": math.Sqrt(2. / 128),
		"fc.weight":                    1 / math.Sqrt(3*128),
		"bn1.weight":                   0,
		"bn1.bias":                     0,
	}
	means := map[string]float64{"bn1.weight": 1}
	for _, p := range n.Params() {
		want, ok := deviations[p.Name]
		if !ok {
			continue
		}
		mean, square := 0.0, 0.0
		for _, v := range s.Params[p.Offset:][:p.Len] {
			mean += float64(v) / float64(p.Len)
			square += float64(v) * float64(v) / float64(p.Len)
		}
		got := math.Sqrt(max(0, square-mean*mean))
		bound := 5 / math.Sqrt(float64(p.Len)) // five standard errors of mean and deviation
		if math.Abs(mean-means[p.Name]) > bound*want+1e-9 || math.Abs(got-want) > bound*want+1e-4 {
			t.Errorf("%s: mean %.4f, deviation %.5f; want %v, %.5f", p.Name, mean, got, means[p.Name], want)
		}
	}
	again, other := n.NewState(), n.NewState()
	n.Init(again, 3)
	n.Init(other, 4)
	if !slices.Equal(s.Params, again.Params) || slices.Equal(s.Params, other.Params) {
		t.Error("weights must be a function of the seed")
	}
}

func TestKinds(t *testing.T) {
	n := mustNew(t, nn.Config{Architecture: "mobilenet_v3_small", Width: 1, Outputs: 10, Size: 32, Channels: 3})
	want := map[string]nn.Kind{
		"features.0.0.weight": nn.Weight, "features.0.1.weight": nn.Norm, "features.0.1.bias": nn.Norm,
		"features.1.block.1.fc1.weight": nn.Weight, "features.1.block.1.fc1.bias": nn.Bias,
		"classifier.3.bias": nn.Bias,
	}
	for _, p := range n.Params() {
		if k, ok := want[p.Name]; ok && k != p.Kind {
			t.Errorf("%s is a %s, want %s", p.Name, p.Kind, k)
		}
		delete(want, p.Name)
	}
	if len(want) > 0 {
		t.Errorf("no parameters %v", want)
	}
}

func TestUpdateRunning(t *testing.T) {
	for name, momentum := range map[string]float64{"resnet10": 0.1, "mobilenet_v2": 0.1, "mobilenet_v3_small": 0.01} {
		n := mustNew(t, nn.Config{Architecture: name, Width: 0.125, Size: 28, Channels: 1})
		s := n.NewState()
		statistics := make([]float32, len(s.Buffers))
		for i := range statistics {
			statistics[i] = 3
		}
		n.UpdateRunning(s.Buffers, statistics)
		for _, b := range n.Buffers() {
			want := float32(3 * momentum)
			if strings.HasSuffix(b.Name, "running_var") {
				want = float32(1 - momentum + 3*momentum)
			}
			if got := s.Buffers[b.Offset]; got != want {
				t.Fatalf("%s: %s is %v, want %v", name, b.Name, got, want)
			}
		}
	}
}

var errCriterion = errors.New("the ring is gone")

func TestTrainingConfigErrors(t *testing.T) {
	n := mustNew(t, nn.Config{Architecture: "resnet10", Width: 0.125, Size: 16, Channels: 1})
	s := n.NewState()
	good := nn.TrainingConfig{
		Batch: 2, Outputs: []nn.Output{nn.Pooled}, Loss: meanSquare,
		Gradients: make([]float32, len(s.Params)), Statistics: make([]float32, len(s.Buffers)),
	}
	for want, change := range map[string]func(c *nn.TrainingConfig){
		"batch":         func(c *nn.TrainingConfig) { c.Batch = 0 },
		"at least 2":    func(c *nn.TrainingConfig) { c.Batch = 1 },
		"no outputs":    func(c *nn.TrainingConfig) { c.Outputs = nil },
		"pooled twice":  func(c *nn.TrainingConfig) { c.Outputs = []nn.Output{nn.Pooled, nn.Pooled} },
		"no classifier": func(c *nn.TrainingConfig) { c.Outputs = []nn.Output{nn.Pooled, nn.Logits} },
		"no projection": func(c *nn.TrainingConfig) { c.Outputs = []nn.Output{nn.Projection} },
		"criterion":     func(c *nn.TrainingConfig) { c.Loss = nil },
		"gradients":     func(c *nn.TrainingConfig) { c.Gradients = c.Gradients[1:] },
		"statistics":    func(c *nn.TrainingConfig) { c.Statistics = nil },
		"output 7":      func(c *nn.TrainingConfig) { c.Outputs = []nn.Output{7} },
	} {
		c := good
		change(&c)
		if _, err := n.NewTraining(s, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	if _, err := n.NewTraining(&nn.State{}, good); err == nil {
		t.Error("an empty state is accepted")
	}
	if _, err := n.NewInference(&nn.State{}, 1); err == nil {
		t.Error("an empty state is accepted for inference")
	}
	if _, err := n.NewInference(s, 0); err == nil {
		t.Error("an inference of no images is accepted")
	}
}
