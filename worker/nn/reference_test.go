package nn_test

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"pupil/storage/safetensors"
	"pupil/worker/nn"
)

// A tensor is right when max |a-b| <= tolerance * max |b|, where b is PyTorch's. Both are computed in float32.
const tolerance = 1e-4

// The gradients of mobilenet_v2 get a wider one. Its 52 convolutions end in norms over 16 values a channel, which
// amplify rounding: images changed by one part in 2^24 change gradients by 6e-5 (4e-6 in the other networks). PyTorch 1.13
// itself is no nearer: against its own float64 gradients the stored float32 ones are off by up to 9.7e-5, and those that
// the same script gives on another machine by up to 1.6e-4. Ours differ from the stored ones by up to 2e-4.
const mobileNetV2Tolerance = 4e-4

// A shift after which only 1x1 convolutions and other batch norms come has no influence: they take it away. So the
// gradient of the last norm's bias in a MobileNet's block is 0, and what PyTorch computes is rounding, below 2e-6 of
// the gradient of that norm's weight. There ours must be rounding as well, below this share of that gradient.
const noInfluence = 1e-5

const referenceBatch = 4

// references are the networks of testdata/models_reference.py.
var references = []struct {
	name  string
	zeros int     // biases without influence
	wide  float64 // tolerance of gradients
	make  func() (*nn.Network, error)
}{
	{"resnet_basic", 0, tolerance, func() (*nn.Network, error) {
		return nn.NewResNet(nn.ResNet{Blocks: [4]int{2, 1, 1, 1}, Planes: 8}, referenceConfig)
	}},
	{"resnet_bottleneck", 0, tolerance, func() (*nn.Network, error) {
		return nn.NewResNet(nn.ResNet{Bottleneck: true, Blocks: [4]int{1, 2, 1, 1}, Planes: 8}, referenceConfig)
	}},
	{"mobilenet_v2", 17, mobileNetV2Tolerance, func() (*nn.Network, error) {
		return nn.NewMobileNetV2(nn.MobileNetV2{Width: 0.25}, referenceConfig)
	}},
	{"mobilenet_v3_small", 11, tolerance, func() (*nn.Network, error) {
		return nn.NewMobileNetV3(nn.MobileNetV3{Width: 1, ReducedTail: true, LastChannel: 64}, referenceConfig)
	}},
}

var referenceConfig = nn.Config{Outputs: 7, Size: 64, Channels: 3}

// reference is a network with PyTorch's weights and results.
type reference struct {
	network *nn.Network
	state   *nn.State
	file    *safetensors.File // the weights
	expect  *safetensors.File
	images  []float32 // NHWC
	wide    float64   // tolerance of gradients
}

func loadReference(t testing.TB, i int) reference {
	t.Helper()
	n, err := references[i].make()
	if err != nil {
		t.Fatal(err)
	}
	r := reference{network: n, state: n.NewState(), wide: references[i].wide}
	r.file = readFile(t, "testdata/"+references[i].name+".safetensors")
	r.expect = readFile(t, "testdata/"+references[i].name+".expect.safetensors")
	if err := n.Import(r.state, r.file); err != nil {
		t.Fatal(err)
	}
	r.images = channelsLast(r.tensor(t, "input"), referenceBatch, 3, 64*64)
	return r
}

func readFile(t testing.TB, path string) *safetensors.File {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// channelsLast turns [n, c, pixels] into [n, pixels, c].
func channelsLast(x []float32, n, c, pixels int) []float32 {
	y := make([]float32, len(x))
	for i := range n {
		for j := range c {
			for p := range pixels {
				y[(i*pixels+p)*c+j] = x[(i*c+j)*pixels+p]
			}
		}
	}
	return y
}

func (r reference) tensor(t testing.TB, name string) []float32 {
	t.Helper()
	x, ok := r.expect.Lookup(name)
	if !ok {
		t.Fatalf("the reference has no %s", name)
	}
	v, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// check compares a tensor with PyTorch's and returns the relative error.
func (r reference) check(t *testing.T, name string, got []float32) float64 {
	t.Helper()
	e := relativeError(t, name, got, r.tensor(t, name))
	bound := tolerance
	if strings.HasPrefix(name, "grad.") {
		bound = r.wide
	}
	if !(e <= bound) {
		t.Errorf("%s: the largest difference is %.2g of the largest value", name, e)
	}
	return e
}

func relativeError(t *testing.T, name string, got, want []float32) float64 {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s has %d elements, want %d", name, len(got), len(want))
	}
	differences := make([]float32, len(want))
	for i := range want {
		differences[i] = float32(float64(got[i]) - float64(want[i]))
	}
	return largest(differences) / largest(want)
}

// checkGradient is check for "grad." + name; it returns the error, or 0 and true for a bias without influence.
func (r reference) checkGradient(t *testing.T, name string, got []float32) (e float64, zero bool) {
	t.Helper()
	if norm, isBias := strings.CutSuffix(name, ".bias"); isBias {
		scale := largest(r.tensor(t, "grad."+norm+".weight"))
		if largest(r.tensor(t, "grad."+name)) < noInfluence*scale {
			if l := largest(got); !(l < noInfluence*scale) {
				t.Errorf("gradient of %s is %.2g; without influence; its norm has %.2g", name, l, scale)
			}
			return 0, true
		}
	}
	return r.check(t, "grad."+name, got), false
}

func largest(v []float32) (l float64) {
	for _, x := range v {
		if math.IsNaN(float64(x)) {
			return math.NaN()
		}
		l = max(l, math.Abs(float64(x)))
	}
	return l
}

func TestInferenceIsPyTorchs(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		for i, network := range references {
			t.Run(network.name, func(t *testing.T) {
				r := loadReference(t, i)
				inference, err := r.network.NewInference(r.state, referenceBatch)
				if err != nil {
					t.Fatal(err)
				}
				defer inference.Close()
				for range 2 { // the second run has dirty buffers
					pooled, logits, err := inference.Run(r.images)
					if err != nil {
						t.Fatal(err)
					}
					worst := max(r.check(t, "eval.features", pooled), r.check(t, "eval.logits", logits))
					t.Logf("largest relative error %.1e", worst)
				}
			})
		}
	})
}

func TestTrainingIsPyTorchs(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		for i, network := range references {
			t.Run(network.name, func(t *testing.T) {
				r := loadReference(t, i)
				s := newStep(t, r.network, r.state, referenceBatch, nn.Logits, meanSquare)
				for range 2 { // the second run has dirty buffers
					s.run(t, r.images)
				}
				worst := r.check(t, "train.logits", s.features[0])
				// The trained parameters and running statistics leave by Export, which puts them in PyTorch's layout.
				after := &nn.State{Params: s.gradients, Buffers: append([]float32(nil), r.state.Buffers...)}
				r.network.UpdateRunning(after.Buffers, s.statistics)
				zeros := 0
				for _, x := range r.network.Export(after).Tensors {
					if x.DType != safetensors.F32 {
						continue // num_batches_tracked
					}
					v, err := x.Float32()
					if err != nil {
						t.Fatal(err)
					}
					if strings.Contains(x.Name, "running_") {
						worst = max(worst, r.check(t, "after."+x.Name, v))
						continue
					}
					e, zero := r.checkGradient(t, x.Name, v)
					worst = max(worst, e)
					if zero {
						zeros++
					}
				}
				if zeros != network.zeros {
					t.Errorf("%d biases are without influence, want %d", zeros, network.zeros)
				}
				pooled := newStep(t, r.network, r.state, referenceBatch, nn.Pooled, meanSquare)
				pooled.run(t, r.images)
				worst = max(worst, r.check(t, "train.features", pooled.features[0]))
				t.Logf("largest relative error %.1e", worst)
			})
		}
	})
}

// meanSquare is the reference's loss, mean(x^2), with its gradient; of several outputs the sum.
func meanSquare(features, gradients [][]float32) (float64, error) {
	loss := 0.0
	for i, f := range features {
		for j, x := range f {
			loss += float64(x) * float64(x) / float64(len(f))
			gradients[i][j] = float32(2 * float64(x) / float64(len(f)))
		}
	}
	return loss, nil
}

// step is a training graph with what it writes.
type step struct {
	training              *nn.Training
	gradients, statistics []float32
	features              [][]float32 // that the criterion saw last
	order                 []int       // of OnGradient in the last run
}

func newStep(t testing.TB, n *nn.Network, s *nn.State, batch int, output nn.Output, c nn.Criterion) *step {
	t.Helper()
	return newSteps(t, n, s, batch, []nn.Output{output}, c)
}

// newSteps is newStep with several outputs.
func newSteps(t testing.TB, n *nn.Network, s *nn.State, batch int, outputs []nn.Output, c nn.Criterion) *step {
	t.Helper()
	x := &step{gradients: make([]float32, len(s.Params)), statistics: make([]float32, len(s.Buffers))}
	for i := range x.gradients { // whatever a run does not write is noticed
		x.gradients[i] = float32(math.NaN())
	}
	var err error
	x.training, err = n.NewTraining(s, nn.TrainingConfig{
		Batch: batch, Outputs: outputs,
		Loss: func(features, gradients [][]float32) (float64, error) {
			x.features = x.features[:0]
			for _, f := range features {
				x.features = append(x.features, slices.Clone(f))
			}
			return c(features, gradients)
		},
		Gradients: x.gradients, Statistics: x.statistics,
		OnGradient: func(param int) { x.order = append(x.order, param) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.training.Close)
	return x
}

func (s *step) run(t testing.TB, images []float32) {
	t.Helper()
	s.order = s.order[:0]
	if err := s.training.Run(images); err != nil {
		t.Fatal(err)
	}
}
