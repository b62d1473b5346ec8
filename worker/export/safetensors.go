package export

import (
	"strings"

	"pupil/storage/safetensors"
	"pupil/worker/nn"
)

// Safetensors is the network's tensors with torchvision's names, and head.weight and head.bias of a head. Folded, the
// batch norms are gone, and each convolution NAME has NAME.weight and NAME.bias. The metadata are those of ONNX.
func Safetensors(n *nn.Network, s *nn.State, c Config) (*safetensors.File, error) {
	if err := c.validate(n); err != nil {
		return nil, err
	}
	whole := n.Export(s)
	out := &safetensors.File{Metadata: c.metadata(), Tensors: whole.Tensors}
	if c.Fold {
		folded, err := foldAll(n, weights{whole})
		if err != nil {
			return nil, err
		}
		out.Tensors = folded
	}
	if h := c.Head; h != nil {
		out.Tensors = append(out.Tensors,
			safetensors.FromFloat32("head.weight", []int{len(h.Classes), n.Features()}, h.Weights),
			safetensors.FromFloat32("head.bias", []int{len(h.Classes)}, h.Bias))
	}
	return out, nil
}

func foldAll(n *nn.Network, w weights) (out []safetensors.Tensor, err error) {
	for _, s := range n.Steps(nn.Pooled, nn.Logits, nn.Projection) {
		switch {
		case s.Scale != "":
			shape, filters, shifts, err := w.folded(s)
			if err != nil {
				return nil, err
			}
			out = append(out, safetensors.FromFloat32(s.Weight, shape, filters),
				safetensors.FromFloat32(strings.TrimSuffix(s.Weight, "weight")+"bias", shape[:1], shifts))
		case s.Weight != "":
			for _, name := range []string{s.Weight, s.Bias} {
				shape, values, err := w.values(name)
				if err != nil {
					return nil, err
				}
				out = append(out, safetensors.FromFloat32(name, shape, values))
			}
		}
	}
	return out, nil
}
