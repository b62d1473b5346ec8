package nn

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"

	"pupil/internal/kernel"
	"pupil/internal/random"
)

// layerTests are networks of one layer or two. Values 1 and following are leaves: inputs whose gradients are checked.
var layerTests = []struct {
	name   string
	seed   uint64
	leaves []value
	build  func(b *builder) int
}{
	{"dense", 6, []value{{5, 4, 3}}, func(b *builder) int {
		return b.conv("c", "n", 1, filter{outputs: 5, size: 3, stride: 1}, kernel.Identity)
	}},
	{"dense stride 2 relu", 6, []value{{5, 6, 3}}, func(b *builder) int {
		return b.conv("c", "n", 1, filter{outputs: 4, size: 3, stride: 2}, kernel.ReLU)
	}},
	{"dense 7x7 stride 2", 2, []value{{8, 8, 2}}, func(b *builder) int {
		return b.conv("c", "n", 1, filter{outputs: 3, size: 7, stride: 2}, kernel.Identity)
	}},
	{"pointwise relu6", 4, []value{{3, 4, 6}}, func(b *builder) int {
		return b.conv("c", "n", 1, filter{outputs: 9, size: 1, stride: 1}, kernel.ReLU6)
	}},
	{"pointwise stride 2", 6, []value{{5, 4, 6}}, func(b *builder) int {
		return b.conv("c", "n", 1, filter{outputs: 3, size: 1, stride: 2}, kernel.Identity)
	}},
	{"depthwise hard-swish", 2, []value{{5, 4, 9}}, func(b *builder) int {
		return b.conv("c", "n", 1, filter{outputs: 9, size: 3, stride: 1, depthwise: true}, kernel.HardSwish)
	}},
	{"depthwise 5x5 stride 2", 4, []value{{6, 5, 4}}, func(b *builder) int {
		return b.conv("c", "n", 1, filter{outputs: 4, size: 5, stride: 2, depthwise: true}, kernel.Identity)
	}},
	{"linear", 7, []value{{1, 1, 6}}, func(b *builder) int {
		return b.linear("l", 1, initNormal, initZeros, kernel.Identity, 4, 6)
	}},
	{"linear relu", 7, []value{{1, 1, 6}}, func(b *builder) int {
		return b.linear("l", 1, initNormal, initZeros, kernel.ReLU, 4, 6, 1, 1)
	}},
	{"linear hard-swish", 4, []value{{1, 1, 6}}, func(b *builder) int {
		return b.linear("l", 1, initNormal, initZeros, kernel.HardSwish, 4, 6)
	}},
	{"linear hard-sigmoid", 2, []value{{1, 1, 6}}, func(b *builder) int {
		return b.linear("l", 1, initNormal, initZeros, kernel.HardSigmoid, 4, 6)
	}},
	{"join", 1, []value{{3, 3, 4}, {3, 3, 4}}, func(b *builder) int { return b.join(1, 2, kernel.Identity) }},
	{"join relu", 1, []value{{3, 3, 4}, {3, 3, 4}}, func(b *builder) int { return b.join(1, 2, kernel.ReLU) }},
	{"gate", 8, []value{{3, 3, 4}, {1, 1, 4}}, func(b *builder) int { return b.gate(1, 2) }},
	{"average pool", 4, []value{{3, 4, 5}}, func(b *builder) int { return b.averagePool(1) }},
	{"max pool", 4, []value{{6, 5, 3}}, func(b *builder) int { return b.maxPool(1, filter{size: 3, stride: 2}) }},
	{"fork", 2, []value{{3, 3, 4}}, func(b *builder) int {
		x := b.conv("c", "n", 1, filter{outputs: 4, size: 1, stride: 1}, kernel.Identity)
		return b.join(x, x, kernel.Identity)
	}},
	{"fork of three", 7, []value{{3, 3, 4}}, func(b *builder) int {
		x := b.conv("c1", "n1", 1, filter{outputs: 4, size: 1, stride: 1}, kernel.Identity)
		s := b.averagePool(x)
		y := b.conv("c2", "n2", x, filter{outputs: 4, size: 3, stride: 1}, kernel.Identity)
		return b.gate(b.join(y, x, kernel.ReLU), s)
	}},
	{"squeeze and excite", 2, []value{{3, 3, 8}}, func(b *builder) int {
		x := b.conv("c", "n", 1, filter{outputs: 8, size: 1, stride: 1}, kernel.HardSwish)
		return squeezeExcite(b, "s", x, 4)
	}},
	{"residual", 6, []value{{4, 4, 3}}, func(b *builder) int {
		x := b.conv("c1", "n1", 1, filter{outputs: 3, size: 3, stride: 1}, kernel.Identity)
		y := b.conv("c2", "n2", x, filter{outputs: 3, size: 3, stride: 1}, kernel.ReLU)
		return b.join(y, x, kernel.ReLU)
	}},
}

// The scalar is L = sum r y with random r, summed in float64 from the float32 outputs y. The central difference
// (L(p+h) - L(p-h)) / 2h has an error of h^2 L”'/6 (about 1e-6 L”' for h = 2^-9) and of rounding: y has about 100
// elements with an error of 6e-8 each, so L one of 1e-6 and the difference one of 3e-4, where gradients have a size of
// 0.1 to 10. Each test's seed is one for which no element is nearer to a kink of an activation than h moves it.
const (
	differenceStep      = 0x1p-9
	differenceTolerance = 2e-3 // of the largest element of a gradient
)

func TestGradientsAreCentralDifferences(t *testing.T) {
	for _, test := range layerTests {
		t.Run(test.name, func(t *testing.T) {
			newLayerCheck(t, test.seed, test.leaves, func(b *builder) []int { return []int{test.build(b)} }).compare(t)
		})
	}
}

// compare checks the gradients of all parameters and leaves.
func (c *layerCheck) compare(t *testing.T) {
	t.Helper()
	c.run(t)
	for _, p := range c.net.params {
		values, got := c.state.Params[p.Offset:][:p.Len], c.gradients[p.Offset:][:p.Len]
		got = append([]float32(nil), got...)
		if node := c.leafGradients[p.Name]; node != nil {
			copy(got, node.Value().Data().([]float32))
		}
		compareDifferences(t, c, p.Name, values, got)
	}
}

// A criterion on several outputs at once: the gradients that meet in the pooled features, from the classifier, the
// projection and the criterion itself, are all there. What does not lead to an output has gradient 0.
func TestGradientsOfSeveralOutputsAreCentralDifferences(t *testing.T) {
	for _, outputs := range [][]Output{
		{Logits},
		{Pooled},
		{Projection},
		{Logits, Pooled},
		{Projection, Logits},
		{Pooled, Projection},
		{Logits, Pooled, Projection},
		{Projection, Pooled, Logits},
	} {
		t.Run(fmt.Sprint(outputs), func(t *testing.T) {
			newLayerCheck(t, 1, []value{{2, 1, 6}}, func(b *builder) []int {
				x := b.linear("classifier.0", b.pooled(1), initNormal, initZeros, kernel.HardSwish, 7, 6)
				b.n.logits = b.linear("classifier.3", x, initNormal, initZeros, kernel.Identity, 4, 7)
				b.projection(5)
				var values []int
				for _, o := range outputs {
					values = append(values, b.n.output(o))
				}
				return values
			}).compare(t)
		})
	}
}

func TestParameterlessSecondConsumerIsRefused(t *testing.T) {
	b := newBuilder(Config{Size: 4, Channels: 1}, 1e-5, 0.1)
	x := b.conv("c", "n", 0, filter{outputs: 4, size: 1, stride: 1}, kernel.Identity)
	y := b.join(x, x, kernel.Identity)
	b.n.logits = b.gate(y, b.averagePool(x))
	s := b.n.NewState()
	_, err := b.n.NewTraining(s, TrainingConfig{
		Batch: 2, Gradients: make([]float32, len(s.Params)), Statistics: make([]float32, len(s.Buffers)),
		Outputs: []Output{Logits}, Loss: func(_, _ [][]float32) (float64, error) { return 0, nil },
	})
	if err == nil || !strings.Contains(err.Error(), "first consumer") {
		t.Errorf("got %v", err)
	}
}

// gorgonia would merge two operations of equal hash in silence, and run one that comes late.
func TestBrokenGraphsAreRefused(t *testing.T) {
	b := newBuilder(Config{Size: 1, Channels: 1}, 1e-5, 0.1)
	_, err := newGraph(b.n, 1, nil, false, func(g *graph) error {
		x, y := g.newOp("twin", g.reserve(1), 1), g.newOp("twin", g.reserve(1), 1)
		y.id = x.id
		if _, err := g.apply(x, g.images); err != nil {
			return err
		}
		_, err := g.apply(y, g.images)
		return err
	})
	if !errors.Is(err, errCollision) {
		t.Errorf("twins: got %v", err)
	}
	_, err = newGraph(b.n, 1, nil, false, func(*graph) error { panic("gorgonia's way to say so") })
	if err == nil || !strings.Contains(err.Error(), "gorgonia's way") {
		t.Errorf("a panic: got %v", err)
	}
	g := &graph{}
	first, late := g.newOp("first", g.reserve(1), 1), g.newOp("late", g.reserve(1), 1)
	late.run = func([][]float32) error { return nil }
	if _, err := late.Do(); err == nil || !strings.Contains(err.Error(), "late (operation 1) is executed at place 0") {
		t.Errorf("out of order: got %v", err)
	}
	if _, err := first.Do(gorgonia.NewF32(1)); err == nil || !strings.Contains(err.Error(), "0 inputs") {
		t.Errorf("too many inputs: got %v", err)
	}
}

func compareDifferences(t *testing.T, c *layerCheck, name string, values, got []float32) {
	t.Helper()
	largest, worst := 0.0, 0.0
	for i := range values {
		was := values[i]
		values[i] = was + differenceStep
		high := c.run(t)
		values[i] = was - differenceStep
		low := c.run(t)
		values[i] = was
		want := (high - low) / (2 * differenceStep)
		largest = max(largest, math.Abs(want))
		worst = max(worst, math.Abs(want-float64(got[i])))
	}
	if !(worst <= differenceTolerance*largest) {
		t.Errorf("%s: differs by %.2g from a gradient of size %.2g", name, worst, largest)
	}
	t.Logf("%s: %.1e of %.2g", name, worst/largest, largest)
}

// layerCheck is a training graph whose leaves are parameters.
type layerCheck struct {
	net           *Network
	state         *State
	gradients     []float32
	training      *Training
	leafGradients map[string]*gorgonia.Node
	loss          float64
}

const layerBatch = 3

func newLayerCheck(t *testing.T, seed uint64, leaves []value, build func(b *builder) []int) *layerCheck {
	t.Helper()
	b := newBuilder(Config{Size: 1, Channels: 1}, 1e-5, 0.1)
	names := []string{"x", "s"}
	for i, v := range leaves {
		b.value(v.h, v.w, v.c)
		b.param(names[i], Weight, initNormal, 0, layerBatch*v.size())
	}
	outputs := build(b)
	c := &layerCheck{net: b.n, state: b.n.NewState(), leafGradients: map[string]*gorgonia.Node{}}
	r := random.New(random.PurposeTest, seed)
	for i := range c.state.Params {
		c.state.Params[i] = float32(r.Normal())
	}
	c.gradients = make([]float32, b.n.paramsLen)
	weights := make([][]float64, len(outputs))
	for i, v := range outputs {
		weights[i] = make([]float64, layerBatch*b.n.values[v].size())
		for j := range weights[i] {
			weights[i][j] = r.Normal()
		}
	}
	c.training = &Training{state: c.state, nodes: map[int]*gorgonia.Node{}, config: TrainingConfig{
		Gradients: c.gradients, Statistics: make([]float32, b.n.buffersLen),
		Loss: func(y, gradients [][]float32) (float64, error) {
			c.loss = 0
			for i := range weights {
				for j, w := range weights[i] {
					c.loss += w * float64(y[i][j])
					gradients[i][j] = float32(w)
				}
			}
			return c.loss, nil
		},
	}}
	var err error
	c.training.graph, err = newGraph(b.n, layerBatch, c.training, false, func(g *graph) error {
		return c.build(g, len(leaves), outputs)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *layerCheck) build(g *graph, leaves int, outputs []int) error {
	layers := g.net.leading(outputs)
	g.plan(layers, outputs)
	for i := range leaves {
		v := g.net.values[i+1]
		p := g.net.params[i]
		n := gorgonia.NewTensor(g.expr, gorgonia.Float32, 4, gorgonia.WithName(p.Name),
			gorgonia.WithShape(layerBatch, v.h, v.w, v.c),
			gorgonia.WithValue(dense(c.state.Params[p.Offset:][:p.Len], layerBatch, v.h, v.w, v.c)))
		g.values[i+1].node = n
		g.train.nodes[i] = n
		g.train.wrt = append(g.train.wrt, i)
	}
	for i := range layers {
		if err := g.layer(&layers[i]); err != nil {
			return err
		}
	}
	if err := g.backward(outputs); err != nil {
		return err
	}
	for i := range leaves {
		c.leafGradients[g.net.params[i].Name] = g.train.nodes[i].Deriv()
	}
	return nil
}

// run returns L.
func (c *layerCheck) run(t *testing.T) float64 {
	t.Helper()
	if err := c.training.Run(make([]float32, layerBatch)); err != nil {
		t.Fatal(err)
	}
	return c.loss
}
