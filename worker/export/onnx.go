package export

import (
	"fmt"

	"pupil/worker/nn"
)

// Opset is the version of ONNX's operators that files use.
const Opset = 17

// Names of a file's input and outputs.
const (
	Images        = "images"
	Features      = "features"
	Logits        = "logits"
	Probabilities = "probabilities"
)

// ONNX is the file of a network.
func ONNX(n *nn.Network, s *nn.State, c Config) ([]byte, error) {
	if err := c.validate(n); err != nil {
		return nil, err
	}
	t := &translation{weights: weights{n.Export(s)}, fold: c.Fold, names: map[int]string{0: Images}, flat: map[int]bool{}}
	for _, step := range n.Steps(c.outputs()...) {
		if err := t.step(step); err != nil {
			return nil, err
		}
	}
	pooled := n.ValueOf(nn.Pooled)
	t.graph.node("Flatten", Features, []string{t.names[pooled]}, Features, integer("axis", 1))
	size := n.Config().Size
	t.graph.input(Images, -1, n.Config().Channels, size, size)
	t.graph.output(Features, -1, n.Features())
	t.classifier(n, c)
	return t.graph.model(c.Version, c.metadata()), nil
}

// translation writes steps as nodes.
type translation struct {
	weights weights
	fold    bool
	graph   graph
	names   map[int]string // of values
	flat    map[int]bool   // values [N, C]; others are [N, C, H, W]
}

func (t *translation) step(s nn.Step) error {
	out := fmt.Sprintf("v%d", s.Out)
	name := fmt.Sprintf("%s/%d", s.Name, s.Out)
	in := make([]string, len(s.In))
	for i, v := range s.In {
		in[i] = t.names[v]
	}
	linear := out
	if s.Activation != "" {
		linear = out + "/linear"
	}
	switch {
	case s.Scale != "":
		if err := t.convolution(s, name, in[0], linear); err != nil {
			return err
		}
	case s.Weight != "":
		if err := t.linear(s, name, in[0], linear); err != nil {
			return err
		}
	case s.Kind == "add":
		t.graph.node("Add", name, in, linear)
	case s.Kind == "scale":
		t.graph.node("Mul", name, in, linear)
	case s.Kind == "average pool":
		t.graph.node("GlobalAveragePool", name, in, linear)
	case s.Kind == "max pool":
		t.graph.node("MaxPool", name, in, linear, window(s)...)
	default:
		return fmt.Errorf("export: ONNX: a layer of the kind %s is not known", s.Kind)
	}
	t.names[s.Out] = out
	return t.activation(s.Activation, name, linear, out)
}

// window are the attributes of what moves over an image.
func window(s nn.Step) []attribute {
	return []attribute{
		integers("kernel_shape", s.Kernel, s.Kernel), integers("strides", s.Stride, s.Stride),
		integers("pads", s.Pad, s.Pad, s.Pad, s.Pad),
	}
}

func (t *translation) convolution(s nn.Step, name, in, out string) error {
	attributes := append(window(s), integer("group", s.Groups))
	if t.fold {
		shape, filters, shifts, err := t.weights.folded(s)
		if err != nil {
			return err
		}
		t.graph.tensor(s.Weight, shape, filters)
		bias := s.Name + ".bias"
		t.graph.tensor(bias, shape[:1], shifts)
		t.graph.node("Conv", name, []string{in, s.Weight, bias}, out, attributes...)
		return nil
	}
	for _, tensor := range []string{s.Weight, s.Scale, s.Shift, s.Mean, s.Variance} {
		if err := t.tensor(tensor); err != nil {
			return err
		}
	}
	raw := out + "/raw"
	t.graph.node("Conv", name, []string{in, s.Weight}, raw, attributes...)
	t.graph.node("BatchNormalization", name+"/norm", []string{raw, s.Scale, s.Shift, s.Mean, s.Variance}, out,
		real("epsilon", s.Epsilon))
	return nil
}

func (t *translation) tensor(name string) error {
	shape, values, err := t.weights.values(name)
	if err == nil {
		t.graph.tensor(name, shape, values)
	}
	return err
}

// linear is a convolution of 1 x 1 where the weight has four dimensions, as in squeeze-and-excite; else a matrix product.
func (t *translation) linear(s nn.Step, name, in, out string) error {
	for _, tensor := range []string{s.Weight, s.Bias} {
		if err := t.tensor(tensor); err != nil {
			return err
		}
	}
	shape, _, err := t.weights.values(s.Weight)
	if err != nil {
		return err
	}
	if len(shape) == 4 {
		t.graph.node("Conv", name, []string{in, s.Weight, s.Bias}, out)
		return nil
	}
	if !t.flat[s.In[0]] {
		t.graph.node("Flatten", name+"/flat", []string{in}, in+"/flat", integer("axis", 1))
		in += "/flat"
	}
	t.graph.node("Gemm", name, []string{in, s.Weight, s.Bias}, out, integer("transB", 1))
	t.flat[s.Out] = true
	return nil
}

func (t *translation) activation(kind, name, in, out string) error {
	switch kind {
	case "":
	case "ReLU":
		t.graph.node("Relu", name+"/act", []string{in}, out)
	case "ReLU6":
		t.graph.scalar("zero", 0)
		t.graph.scalar("six", 6)
		t.graph.node("Clip", name+"/act", []string{in, "zero", "six"}, out)
	case "HardSwish":
		t.graph.node("HardSwish", name+"/act", []string{in}, out)
	case "HardSigmoid":
		t.graph.node("HardSigmoid", name+"/act", []string{in}, out, real("alpha", 1.0/6), real("beta", 0.5))
	default:
		return fmt.Errorf("export: ONNX: the activation %s is not known", kind)
	}
	return nil
}

// classifier ends the graph with logits and probabilities, if there is one.
func (t *translation) classifier(n *nn.Network, c Config) {
	var width int
	switch {
	case c.Own:
		width = n.Width(nn.Logits)
		t.graph.node("Identity", Logits, []string{t.names[n.ValueOf(nn.Logits)]}, Logits)
	case c.Head != nil:
		width = len(c.Head.Classes)
		t.graph.tensor("head.weight", []int{width, n.Features()}, c.Head.Weights)
		t.graph.tensor("head.bias", []int{width}, c.Head.Bias)
		t.graph.node("Gemm", Logits, []string{Features, "head.weight", "head.bias"}, Logits, integer("transB", 1))
	default:
		return
	}
	t.graph.node("Softmax", Probabilities, []string{Logits}, Probabilities, integer("axis", 1))
	t.graph.output(Logits, -1, width)
	t.graph.output(Probabilities, -1, width)
}
