package inspect

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"pupil/worker/nn"
)

// Print writes the report as text: a table of the layers, and the memory.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	if r.Role != "" {
		b.WriteString(r.Role + ": ")
	}
	c := r.Config
	fmt.Fprintf(&b, "%s, width %v, images of %d x %d x %d\n\n", c.Architecture, c.Width, c.Size, c.Size, c.Channels)
	r.table(&b)
	fmt.Fprintf(&b, "\nmemory with %d images a lane, without the kernels' scratch:\n", r.Batch)
	r.memory(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// table has a row a layer. Numbers are of one image and end under each other.
func (r *Report) table(w io.Writer) {
	names := len("layer")
	for _, l := range r.Layers {
		names = max(names, len(l.Name))
	}
	row := func(name, kind, shape string, parameters, adds, bytes any) {
		fmt.Fprintf(w, "%-*s  %-26s  %15s %12v %14v %12v\n", names, name, kind, shape, parameters, adds, bytes)
	}
	row("layer", "kind", "output", "parameters", "multiply-adds", "bytes")
	for _, l := range r.Layers {
		shape := fmt.Sprintf("%d x %d x %d", l.Shape[0], l.Shape[1], l.Shape[2])
		row(l.Name, describe(l), shape, l.Parameters, l.MultiplyAdds, l.Bytes)
	}
	row("total", "", "", r.Total.Parameters, r.Total.MultiplyAdds, r.Total.Bytes)
}

// describe is a layer's kind with its window and activation.
func describe(l nn.Layer) string {
	s := l.Kind
	if l.Kernel > 0 {
		s += fmt.Sprintf(" %dx%d", l.Kernel, l.Kernel)
	}
	if l.Stride > 1 {
		s += fmt.Sprintf("/%d", l.Stride)
	}
	if l.Activation != "" {
		s += " " + l.Activation
	}
	return s
}

func (r *Report) memory(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(what string, bytes int64) {
		if bytes > 0 {
			fmt.Fprintf(t, "  %s\t%10s\n", what, megabytes(bytes))
		}
	}
	if m := r.Training; m != nil {
		line("training, each lane", m.Lane())
		line("  activations and their gradients", m.Activations)
		line("  gradients of the parameters, statistics", m.Gradients)
		line("training, once a worker", m.Shared())
		line("  parameters, running statistics", m.Parameters)
		line("  optimiser's state", m.Optimizer)
		line("  average of the weights", m.Average)
	}
	line("inference, each lane", r.Inference.Activations)
	line("inference, shared: folded parameters", r.Inference.Parameters)
	line("peak of a worker with 1 lane", r.Peak.Lane)
	if r.Lanes > 1 {
		line(fmt.Sprintf("peak of a worker with all %d lanes", r.Lanes), r.Peak.Lanes)
	}
	t.Flush()
}

func megabytes(n int64) string { return fmt.Sprintf("%.2f MB", float64(n)/1e6) }
