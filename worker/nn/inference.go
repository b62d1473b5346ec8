package nn

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Inference is a frozen network in evaluation mode for a fixed batch. It is not safe for concurrent use.
type Inference struct {
	net     *Network
	frozen  *Frozen    // nil: memory is only planned
	parts   []*segment // of consecutive images, one a thread
	images  int        // values of a batch
	outputs map[int]*memory
	errs    []error // by part
	bytes   int64
}

// segment is a stage with its memory. Stages are nested: one fills its input by running the one before it.
type segment struct {
	graph  *graph
	before *segment // nil for the first stage
	in     *memory  // what the stage before gives, of all images
	out    *memory  // the part of it that the next run of the stage before writes
	image  int      // values of an image of the network
}

// InferenceConfig is what an Inference needs beside the frozen network.
type InferenceConfig struct {
	Batch   int      // images of a run
	Threads int      // goroutines that share the batch's images; 0 is 1. They change no bit of the result
	Also    []Output // what is wanted beside logits, pooled features and projection: the FeatureMap
}

// NewInference builds a graph with the weights and running statistics that s has now. It computes logits, pooled
// features and projection, and when asked also the FeatureMap, whose memory it then keeps. Several that should share
// their weights come from Freeze.
func (n *Network) NewInference(s *State, batch int, also ...Output) (*Inference, error) {
	f, err := n.Freeze(s, FreezeConfig{})
	if err != nil {
		return nil, err
	}
	return f.NewInference(InferenceConfig{Batch: batch, Also: also})
}

// NewInference builds the graphs of a batch. What they compute of an image does not depend on the other images, nor on
// the threads.
func (f *Frozen) NewInference(c InferenceConfig) (*Inference, error) {
	return f.net.newInference(f, f.config, c)
}

// InferenceBytes is Bytes of an Inference of one thread for a batch, with outputs as NewInference takes them. It plans
// the memory without taking it.
func (n *Network) InferenceBytes(batch int, also ...Output) (int64, error) {
	i, err := n.newInference(nil, FreezeConfig{}, InferenceConfig{Batch: batch, Also: also})
	if err != nil {
		return 0, err
	}
	return i.bytes, nil
}

// newInference only plans memory where f is nil.
func (n *Network) newInference(f *Frozen, freeze FreezeConfig, c InferenceConfig) (*Inference, error) {
	for _, o := range c.Also { // those that there are anyhow may be named
		if o > FeatureMap {
			return nil, fmt.Errorf("nn: inference: %s is not known; there are logits, pooled, projection and feature map", o)
		}
	}
	if c.Batch < 1 || c.Threads < 0 {
		return nil, fmt.Errorf("nn: inference: batch is %d and threads is %d; they must be at least 1", c.Batch, c.Threads)
	}
	i := &Inference{net: n, frozen: f, images: c.Batch * n.values[0].size(), outputs: map[int]*memory{}}
	values := n.inferred(c.Also)
	for _, v := range values {
		i.outputs[v] = i.take(c.Batch * n.values[v].size())
	}
	threads := min(max(c.Threads, 1), c.Batch)
	i.errs = make([]error, threads)
	for t := range threads {
		from, to := t*c.Batch/threads, (t+1)*c.Batch/threads
		outputs := map[int]*memory{}
		for v, m := range i.outputs {
			size := n.values[v].size()
			outputs[v] = m.part(from*size, (to-from)*size)
		}
		p, err := i.segments(n.stages(values, to-from, freeze), outputs)
		if err != nil {
			return nil, err
		}
		i.parts = append(i.parts, p)
	}
	return i, nil
}

// inferred lists the values that an inference computes.
func (n *Network) inferred(also []Output) (values []int) {
	for _, o := range append([]Output{Logits, Pooled, Projection}, also...) {
		if v := n.output(o); v >= 0 && !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return values
}

// take makes memory of n values, or only counts it where it is planned.
func (i *Inference) take(n int) *memory {
	i.bytes += 4 * int64(n)
	m := &memory{size: n, first: -1}
	if i.frozen != nil {
		m.data = make([]float32, n)
	}
	return m
}

// segments builds the stages, the last one first, and returns it. It gives the outputs.
func (i *Inference) segments(stages []stage, outputs map[int]*memory) (*segment, error) {
	last := len(stages) - 1
	own := stages[last]
	s := &segment{image: i.net.values[0].size()}
	if last > 0 {
		s.in = i.take(own.images * i.net.values[own.from].size())
		s.out = s.in.part(0, stages[last-1].images*i.net.values[own.from].size())
		var err error
		if s.before, err = i.segments(stages[:last], map[int]*memory{own.from: s.out}); err != nil {
			return nil, err
		}
	}
	var err error
	s.graph, err = newGraphFrom(i.net, own.from, own.images, nil, i.frozen == nil, func(g *graph) error {
		g.frozen, g.into = i.frozen, outputs
		return g.infer(own.layers)
	})
	if err != nil {
		return nil, err
	}
	i.bytes += s.graph.bytes
	return s, nil
}

// run computes what the stage gives for the images that go through it at once. The stage before is run for some of them
// after the other, the last of which may be some of those before.
func (s *segment) run(images []float32) error {
	if s.before == nil {
		return s.graph.run(images)
	}
	chunk, count, size := s.before.graph.batch, s.graph.batch, len(s.in.data)/s.graph.batch
	for at := 0; at < count; at += chunk {
		from := min(at, count-chunk)
		s.out.data = s.in.data[from*size:][:chunk*size]
		if err := s.before.run(images[from*s.image:][:chunk*s.image]); err != nil {
			return err
		}
	}
	return s.graph.run(s.in.data)
}

func (s *segment) close() {
	if s.before != nil {
		s.before.close()
	}
	s.graph.close()
}

// Run computes the outputs of images [batch, height, width, channels]: pooled [batch, Features] and logits
// [batch, outputs], nil without a classifier. They are buffers of the Inference, valid until the next Run.
func (i *Inference) Run(images []float32) (pooled, logits []float32, err error) {
	if i.parts == nil {
		return nil, nil, errClosed
	}
	v := i.net.values[0]
	if len(images) != i.images {
		return nil, nil, fmt.Errorf("nn: %d values of images; a batch of %d images of %dx%dx%d has %d",
			len(images), i.images/v.size(), v.h, v.w, v.c, i.images)
	}
	var others sync.WaitGroup
	first := i.parts[0].graph.batch * v.size()
	from := first
	for p, s := range i.parts[1:] {
		part := images[from:][:s.graph.batch*v.size()]
		from += len(part)
		others.Go(func() { i.errs[p+1] = s.run(part) })
	}
	i.errs[0] = i.parts[0].run(images[:first])
	others.Wait()
	if err := errors.Join(i.errs...); err != nil {
		return nil, nil, err
	}
	return i.Output(Pooled), i.Output(Logits), nil
}

// Output is what the last Run computed of an output, [batch, Width] or the feature map. It is nil if the network does
// not have it or nobody asked for it. It is a buffer of the Inference, valid until the next Run.
func (i *Inference) Output(o Output) []float32 {
	if m := i.outputs[i.net.output(o)]; m != nil {
		return m.data
	}
	return nil
}

// Bytes is the memory of activations, which the graphs keep between runs.
func (i *Inference) Bytes() int64 { return i.bytes }

// Close releases the graphs. No Run may follow.
func (i *Inference) Close() {
	for _, s := range i.parts {
		s.close()
	}
	i.parts, i.outputs = nil, nil
}
