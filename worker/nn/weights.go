package nn

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pupil/storage/safetensors"
)

// ErrWeights says that a file does not hold this network's weights. Test for it with errors.Is.
var ErrWeights = errors.New("the weights do not fit the network")

// tracked is the name of torch's counter of steps, which each batch norm has.
const tracked = ".num_batches_tracked"

// prefixes are what wrappers put before the names of a network's parameters.
var prefixes = [...]string{"module.", "backbone.", "model."}

// Import reads a torchvision state_dict into s, with projection.weight and projection.bias if the network has them. The
// prefixes module., backbone. and model., in any nesting, are taken off names. F64, F16 and BF16 are converted. Every
// parameter and running statistic must be there, with its shape, and nothing else: one error, which wraps ErrWeights,
// lists every tensor that is missing, extra, of another shape or type, or there twice. num_batches_tracked is optional.
// After an error s is as it was.
func (n *Network) Import(s *State, f *safetensors.File) error {
	return n.importTensors(s, f.Tensors, func(string) bool { return false })
}

// heads are what stands between the pooled features and a loss, by the beginnings of torchvision's names and ours.
var heads = [...]string{"classifier.", "fc.", "projection."}

// importStart is Import of weights that a student starts from. A head that only one of the two has does not count: the
// file's is left out, the network's stays as it was.
func (n *Network) importStart(s *State, f *safetensors.File) error {
	mine := func(head string) bool {
		return slices.ContainsFunc(n.params, func(p param) bool { return strings.HasPrefix(p.Name, head) })
	}
	var tensors []safetensors.Tensor
	theirs := map[string]bool{}
	for _, t := range f.Tensors {
		head := headOf(bare(t.Name))
		theirs[head] = true
		if head == "" || mine(head) {
			tensors = append(tensors, t)
		}
	}
	return n.importTensors(s, tensors, func(name string) bool {
		head := headOf(name)
		return head != "" && !theirs[head]
	})
}

// headOf is the one of heads that a name begins with, or "".
func headOf(name string) string {
	for _, h := range heads {
		if strings.HasPrefix(name, h) {
			return h
		}
	}
	return ""
}

// importTensors is Import but for parameters that are skipped: those stay.
func (n *Network) importTensors(s *State, tensors []safetensors.Tensor, skip func(name string) bool) error {
	faults := faultList{}
	given := make(map[string]safetensors.Tensor, len(tensors))
	for _, t := range tensors {
		name := bare(t.Name)
		if _, twice := given[name]; twice {
			faults.add("twice", t.Name)
		}
		given[name] = t
	}
	out := n.NewState()
	copy(out.Params, s.Params)
	for _, b := range n.buffers {
		importTensor(b.Tensor, given, out.Buffers, &faults)
		counter := strings.TrimSuffix(b.Name, ".running_mean") + tracked
		if t, ok := given[counter]; ok {
			if v, err := t.Int64(); err == nil && len(v) == 1 {
				out.Batches = v[0]
			}
			delete(given, counter)
		}
	}
	for _, p := range n.params {
		if !skip(p.Name) {
			importTensor(p.Tensor, given, out.Params, &faults)
		}
	}
	for name, t := range given {
		faults.add("extra", fmt.Sprintf("%s %v", name, t.Shape))
	}
	if err := faults.err(); err != nil {
		return err
	}
	copy(s.Params, out.Params)
	copy(s.Buffers, out.Buffers)
	s.Batches = out.Batches
	return nil
}

// importTensor takes t out of given and writes it into its part of flat.
func importTensor(t Tensor, given map[string]safetensors.Tensor, flat []float32, faults *faultList) {
	src, ok := given[t.Name]
	if !ok {
		faults.add("missing", fmt.Sprintf("%s %v", t.Name, t.Shape))
		return
	}
	delete(given, t.Name)
	if !slices.Equal(src.Shape, t.Shape) {
		faults.add("of another shape", fmt.Sprintf("%s is %v and must be %v", t.Name, src.Shape, t.Shape))
		return
	}
	v, err := src.Float32()
	if err != nil {
		faults.add("unreadable", err.Error())
		return
	}
	t.inward(flat[t.Offset:][:t.Len], v)
}

func bare(name string) string {
	for {
		before := name
		for _, p := range prefixes {
			name = strings.TrimPrefix(name, p)
		}
		if name == before {
			return name
		}
	}
}

// Export writes a torchvision state_dict: names, shapes, layout and order, with num_batches_tracked. projection.weight
// and projection.bias, if the network has them, come last.
func (n *Network) Export(s *State) *safetensors.File {
	f := &safetensors.File{}
	write := func(t Tensor, flat []float32) {
		outside := make([]float32, t.Len)
		t.outward(outside, flat[t.Offset:][:t.Len])
		f.Tensors = append(f.Tensors, safetensors.FromFloat32(t.Name, t.Shape, outside))
	}
	next := 0
	for i, p := range n.params {
		write(p.Tensor, s.Params)
		for ; next < len(n.buffers) && n.buffers[next].after == i; next++ {
			b := n.buffers[next]
			write(b.Tensor, s.Buffers)
			if b.variance {
				name := strings.TrimSuffix(b.Name, ".running_var") + tracked
				f.Tensors = append(f.Tensors, safetensors.FromInt64(name, nil, []int64{s.Batches}))
			}
		}
	}
	return f
}

// faultList gathers what is wrong with a file, by kind of fault.
type faultList map[string][]string

func (l *faultList) add(fault, tensor string) { (*l)[fault] = append((*l)[fault], tensor) }

// err is nil or one error that lists everything, sorted by name.
func (l *faultList) err() error {
	if len(*l) == 0 {
		return nil
	}
	var parts []string
	for _, fault := range []string{"missing", "extra", "of another shape", "twice", "unreadable"} {
		tensors := (*l)[fault]
		if len(tensors) == 0 {
			continue
		}
		slices.Sort(tensors)
		parts = append(parts, fmt.Sprintf("%d %s: %s", len(tensors), fault, strings.Join(tensors, ", ")))
	}
	return fmt.Errorf("%w: %s; use a file of the same architecture, width, outputs and channels, "+
		"or change the model's config to the file's", ErrWeights, strings.Join(parts, "; "))
}
