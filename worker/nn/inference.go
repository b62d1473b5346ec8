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
	parts   []*graph // of consecutive images, one a thread
	images  int      // values of a batch
	outputs map[int][]float32
	errs    []error // by part
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
	if err := checkAlso(c.Also); err != nil {
		return nil, err
	}
	if c.Batch < 1 || c.Threads < 0 {
		return nil, fmt.Errorf("nn: inference: batch is %d and threads is %d; they must be at least 1", c.Batch, c.Threads)
	}
	n := f.net
	i := &Inference{net: n, images: c.Batch * n.values[0].size(), outputs: map[int][]float32{}}
	values := n.inferred(c.Also)
	for _, v := range values {
		i.outputs[v] = make([]float32, c.Batch*n.values[v].size())
	}
	threads := min(max(c.Threads, 1), c.Batch)
	i.errs = make([]error, threads)
	for t := range threads {
		from, to := t*c.Batch/threads, (t+1)*c.Batch/threads
		g, err := newGraph(n, to-from, nil, false, func(g *graph) error {
			g.frozen = f
			return g.infer(values, func(v int) []float32 {
				size := n.values[v].size()
				return i.outputs[v][from*size : to*size : to*size]
			})
		})
		if err != nil {
			return nil, err
		}
		i.parts = append(i.parts, g)
	}
	return i, nil
}

// InferenceBytes is Bytes of an Inference of one thread for a batch, with outputs as NewInference takes them. It plans
// the memory without taking it.
func (n *Network) InferenceBytes(batch int, also ...Output) (int64, error) {
	if err := checkAlso(also); err != nil {
		return 0, err
	}
	values := n.inferred(also)
	g, err := newGraph(n, batch, nil, true, func(g *graph) error {
		return g.infer(values, func(int) []float32 { return nil })
	})
	if err != nil {
		return 0, err
	}
	bytes := g.bytes
	for _, v := range values {
		bytes += 4 * int64(batch*n.values[v].size())
	}
	return bytes, nil
}

// checkAlso refuses what is not among the outputs; those that an inference has anyhow may be named.
func checkAlso(also []Output) error {
	for _, o := range also {
		if o > FeatureMap {
			return fmt.Errorf("nn: inference: %s is not known; there are logits, pooled, projection and feature map", o)
		}
	}
	return nil
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
	first := i.parts[0].batch * v.size()
	from := first
	for p, g := range i.parts[1:] {
		part := images[from:][:g.batch*v.size()]
		from += len(part)
		others.Go(func() { i.errs[p+1] = g.run(part) })
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
func (i *Inference) Output(o Output) []float32 { return i.outputs[i.net.output(o)] }

// Bytes is the memory of activations, which the graphs keep between runs.
func (i *Inference) Bytes() int64 {
	bytes := int64(0)
	for _, g := range i.parts {
		bytes += g.bytes
	}
	for _, o := range i.outputs {
		bytes += 4 * int64(len(o))
	}
	return bytes
}

// Close releases the graphs. No Run may follow.
func (i *Inference) Close() {
	for _, g := range i.parts {
		g.close()
	}
	i.parts, i.outputs = nil, nil
}
