package main

import (
	"context"
	"fmt"
	"math"

	"pupil/internal/kernel"
)

// operation is what a kernel's case computes, of images n x h x w x c; a product of matrices has n x c and c x k.
type operation struct {
	Op     string `json:"op"` // gemm, conv, depthwise, frozen (with shift and ReLU) or norm (batch norm with ReLU6)
	Pass   string `json:"pass"`
	N      int    `json:"n"`
	H      int    `json:"h"`
	W      int    `json:"w"`
	C      int    `json:"c"`
	K      int    `json:"k"`
	Size   int    `json:"size"` // of the filter
	Stride int    `json:"stride"`
}

// The passes.
const (
	forward = "forward"
	data    = "data"
	weights = "weights"
)

// kernels are the shapes of the networks that the steps have.
var kernels = []struct {
	name   string
	passes []string
	operation
}{
	{"gemm.1024", nil, operation{Op: "gemm", N: 1024, H: 1, W: 1, C: 1024, K: 1024}},
	{"frozen3x3.64", nil, operation{Op: "frozen", N: 8, H: 32, W: 32, C: 64, K: 64, Size: 3, Stride: 1}},
	{"frozen3x3.256", nil, operation{Op: "frozen", N: 16, H: 14, W: 14, C: 256, K: 256, Size: 3, Stride: 1}},
	{"frozen3x3.s2", nil, operation{Op: "frozen", N: 64, H: 32, W: 32, C: 64, K: 128, Size: 3, Stride: 2}},
	{"frozen1x1.256", nil, operation{Op: "frozen", N: 4, H: 56, W: 56, C: 64, K: 256, Size: 1, Stride: 1}},
	{"conv3x3.64", []string{forward, data, weights}, operation{Op: "conv", N: 8, H: 32, W: 32, C: 64, K: 64, Size: 3, Stride: 1}},
	{"conv3x3.s2", []string{forward}, operation{Op: "conv", N: 8, H: 32, W: 32, C: 64, K: 128, Size: 3, Stride: 2}},
	{"conv1x1.96", []string{forward, data, weights}, operation{Op: "conv", N: 16, H: 14, W: 14, C: 96, K: 576, Size: 1, Stride: 1}},
	{"conv1x1.16", []string{forward, data, weights}, operation{Op: "conv", N: 16, H: 28, W: 28, C: 16, K: 96, Size: 1, Stride: 1}},
	{"depthwise3x3.96", []string{forward, data, weights}, operation{Op: "depthwise", N: 16, H: 28, W: 28, C: 96, K: 96, Size: 3, Stride: 1}},
	{"depthwise5x5.240", []string{forward}, operation{Op: "depthwise", N: 16, H: 14, W: 14, C: 240, K: 240, Size: 5, Stride: 1}},
	{"norm.96", []string{forward, data}, operation{Op: "norm", N: 16, H: 28, W: 28, C: 96, K: 96}},
}

// kernelCases are the cases of all passes.
func kernelCases() (cases []benchmark) {
	for _, k := range kernels {
		passes := k.passes
		if passes == nil {
			passes = []string{forward}
		}
		for _, pass := range passes {
			o, name := k.operation, "kernel."+k.name
			if o.Pass = pass; k.passes != nil {
				name += "." + pass
			}
			cases = append(cases, benchmark{name: name, kind: oneKernel, operation: &o, threads: 1, pairs: 5, runs: o.runs()})
		}
	}
	return cases
}

// flops is how many multiplications and additions the direct algorithm has, 0 for what is limited by memory.
func (o operation) flops() float64 {
	oh, ow := o.geometry().Out()
	switch o.Op {
	case "gemm":
		return 2 * float64(o.N) * float64(o.C) * float64(o.K)
	case "conv", "frozen":
		return 2 * float64(o.N*oh*ow*o.Size*o.Size) * float64(o.C) * float64(o.K)
	default:
		return 0
	}
}

// runs are so many that a side takes some tens of milliseconds.
func (o operation) runs() int {
	return max(3, int(2e9/max(o.flops(), 40*float64(o.N*o.H*o.W*o.C))))
}

func (o operation) geometry() kernel.Conv {
	return kernel.Conv{
		N: o.N, H: o.H, W: o.W, C: o.C, K: o.K, R: max(o.Size, 1), S: max(o.Size, 1), Stride: max(o.Stride, 1), Pad: o.Size / 2,
	}
}

func (o operation) about() string {
	what := map[string]string{
		"gemm": "product of matrices", "conv": "convolution", "frozen": "convolution with shift and ReLU of a frozen network",
		"depthwise": "depthwise convolution", "norm": "batch norm of a batch with ReLU6",
	}[o.Op]
	if o.Op == "gemm" {
		return fmt.Sprintf("%s, %d x %d x %d, 1 thread", what, o.N, o.K, o.C)
	}
	shape := fmt.Sprintf("%d images of %d x %d x %d", o.N, o.H, o.W, o.C)
	if o.Size > 0 {
		shape += fmt.Sprintf(" to %d channels, %d x %d, stride %d", o.K, o.Size, o.Size, o.Stride)
	}
	return fmt.Sprintf("%s, %s, %s, 1 thread", what, map[string]string{
		forward: "forward", data: "gradient of the input", weights: "gradient of the filters",
	}[o.Pass], shape)
}

// pattern fills a tensor with numbers that both sides can make.
func pattern(n, salt int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(float64((i*7919+salt*104729)%2003)/2003 - 0.5)
	}
	return v
}

// ourKernel is an operation on tensors of its own.
type ourKernel struct {
	f   func()
	out []float32
}

func newOurKernel(o operation) *ourKernel {
	g, ws := o.geometry(), new(kernel.Workspace)
	oh, ow := g.Out()
	if o.Op == "gemm" || o.Op == "norm" {
		return o.plain(ws)
	}
	filters := o.Size * o.Size * o.C
	if o.Op != "depthwise" {
		filters *= o.K
	}
	x, w, dy := pattern(o.N*o.H*o.W*o.C, 1), pattern(filters, 2), pattern(o.N*oh*ow*o.K, 3)
	y, dx, dw := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(w))
	switch o.Op + " " + o.Pass {
	case "frozen forward":
		e := kernel.Epilogue{Shift: pattern(o.K, 4), Act: kernel.ReLU}
		packed := kernel.PackConv(g, w)
		if g.WinogradPays() {
			packed = kernel.PackWinograd(g, w)
		}
		return &ourKernel{func() { kernel.ConvForwardPacked(g, x, packed, e, y, ws) }, y}
	case "conv forward":
		return &ourKernel{func() { kernel.ConvForward(g, x, w, y, ws) }, y}
	case "conv data":
		return &ourKernel{func() { kernel.ConvBackwardData(g, dy, w, dx, ws) }, dx}
	case "conv weights":
		return &ourKernel{func() { kernel.ConvBackwardWeights(g, x, dy, dw, ws) }, dw}
	case "depthwise forward":
		return &ourKernel{func() { kernel.DepthwiseForward(g, x, w, y, ws) }, y}
	case "depthwise data":
		return &ourKernel{func() { kernel.DepthwiseBackwardData(g, dy, w, dx, ws) }, dx}
	default:
		return &ourKernel{func() { kernel.DepthwiseBackwardWeights(g, x, dy, dw, ws) }, dw}
	}
}

// plain are the operations that are no convolutions.
func (o operation) plain(ws *kernel.Workspace) *ourKernel {
	if o.Op == "gemm" {
		a, b, c := pattern(o.N*o.C, 1), pattern(o.C*o.K, 2), make([]float32, o.N*o.K)
		return &ourKernel{func() { kernel.Gemm(false, false, o.N, o.K, o.C, a, o.C, b, o.K, false, c, o.K, ws) }, c}
	}
	rows, c := o.N*o.H*o.W, o.C
	x, dy, gamma, beta := pattern(rows*c, 1), pattern(rows*c, 3), pattern(c, 4), pattern(c, 5)
	y, dx := make([]float32, rows*c), make([]float32, rows*c)
	mean, invStd, variance, dGamma, dBeta := make([]float32, c), make([]float32, c), make([]float32, c), make([]float32, c), make([]float32, c)
	ahead := func() {
		kernel.BatchNormForward(rows, c, x, gamma, beta, 1e-5, kernel.ReLU6, y, mean, invStd, variance)
	}
	if o.Pass == forward {
		return &ourKernel{ahead, y}
	}
	ahead()
	return &ourKernel{func() {
		kernel.BatchNormBackward(rows, c, x, dy, gamma, beta, mean, invStd, kernel.ReLU6, dx, dGamma, dBeta)
	}, dx}
}

func (k *ourKernel) run(ctx context.Context, times int) error {
	for range times {
		if err := ctx.Err(); err != nil {
			return err
		}
		k.f()
	}
	return nil
}

// check returns the root mean square of the result, and a mean of magnitudes that depends on their order.
func (k *ourKernel) check(ctx context.Context) ([]float64, error) {
	if err := k.run(ctx, 2); err != nil { // the second time with dirty buffers
		return nil, err
	}
	squares, weighted := 0.0, 0.0
	for i, v := range k.out {
		squares += float64(v) * float64(v)
		weighted += math.Abs(float64(v)) * float64(1+i%7)
	}
	n := float64(len(k.out))
	return []float64{math.Sqrt(squares / n), weighted / n}, nil
}

func (k *ourKernel) close() {}

// peakRounds take some tens of milliseconds.
const peakRounds = 10_000_000

// peakResult compares a kernel's arithmetic with what the CPU does at most, measured between the kernel's pairs.
func peakResult(c benchmark, r *result, peaks []float64) *result {
	p := &result{
		Name: c.name + ".peak", Unit: rateUnit, Clock: r.Clock, Threads: r.Threads,
		About: "arithmetic of the direct algorithm, of the CPU's multiplications and additions in registers",
	}
	for i, pair := range r.Pairs {
		var s sample
		s.Ours.Rate, s.Peer.Rate = c.operation.flops()/pair.Ours.by(r.Clock)/1e9, peaks[i]
		p.Pairs = append(p.Pairs, s)
	}
	p.summarise()
	return p
}
