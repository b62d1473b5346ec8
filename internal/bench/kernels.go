package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"pupil/internal/kernel"
	"pupil/worker/optim"
)

// operation is what a kernel's case computes, of images n x h x w x c; a product of matrices has n x c and c x k.
type operation struct {
	// gemm, conv, depthwise, frozen (with shift and ReLU), norm (batch norm with ReLU6), maxpool, avgpool (of whole images), scale
	// (squeeze-and-excitation's), add; of n numbers: adamw and sgd (updates of weights), exps (float64), and tofixed, addfixed,
	// fromfixed (32-bit integers, as gradients are summed)
	Op     string `json:"op"`
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
	{"depthwise5x5.240", []string{forward, data, weights}, operation{Op: "depthwise", N: 16, H: 14, W: 14, C: 240, K: 240, Size: 5, Stride: 1}},
	{"norm.96", []string{forward, data}, operation{Op: "norm", N: 16, H: 28, W: 28, C: 96, K: 96}},
	{"maxpool.64", []string{forward, data}, operation{Op: "maxpool", N: 16, H: 56, W: 56, C: 64, K: 64, Size: 3, Stride: 2}},
	{"avgpool.1280", []string{forward, data}, operation{Op: "avgpool", N: 16, H: 7, W: 7, C: 1280, K: 1280}},
	{"scale.240", []string{forward, data}, operation{Op: "scale", N: 16, H: 14, W: 14, C: 240, K: 240}},
	{"add.96", nil, operation{Op: "add", N: 16, H: 14, W: 14, C: 96, K: 96}},
	{"exps.1m", nil, operation{Op: "exps", N: 1 << 20, H: 1, W: 1, C: 1}},
	{"sgd.2m", nil, operation{Op: "sgd", N: 1 << 21, H: 1, W: 1, C: 1}},
	{"adamw.2m", nil, operation{Op: "adamw", N: 1 << 21, H: 1, W: 1, C: 1}},
	{"tofixed.2m", nil, operation{Op: "tofixed", N: 1 << 21, H: 1, W: 1, C: 1}},
	{"addfixed.2m", nil, operation{Op: "addfixed", N: 1 << 21, H: 1, W: 1, C: 1}},
	{"fromfixed.2m", nil, operation{Op: "fromfixed", N: 1 << 21, H: 1, W: 1, C: 1}},
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

// numbers tells whether the operation is one of plain numbers.
func (o operation) numbers() bool {
	return slices.Contains([]string{"adamw", "sgd", "exps", "tofixed", "addfixed", "fromfixed"}, o.Op)
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
		"maxpool": "largest values of windows", "avgpool": "mean of images", "scale": "product with a factor by image and channel",
		"add": "sum of two tensors", "exps": "powers of e in float64",
		"adamw": "AdamW's update", "sgd": "update with Nesterov's momentum", "tofixed": "float32 to fixed point", "addfixed": "sum of fixed point",
		"fromfixed": "fixed point to float32",
	}[o.Op]
	if o.Op == "gemm" {
		return fmt.Sprintf("%s, %d x %d x %d, 1 thread", what, o.N, o.K, o.C)
	}
	if o.numbers() {
		return fmt.Sprintf("%s, %d numbers, 1 thread", what, o.N)
	}
	shape := fmt.Sprintf("%d images of %d x %d x %d", o.N, o.H, o.W, o.C)
	if o.Op == "maxpool" {
		shape += fmt.Sprintf(", %d x %d, stride %d", o.Size, o.Size, o.Stride)
	} else if o.Size > 0 {
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
	f     func()
	out   []float32
	reset func() // before a check: operations that change what they read start again
	read  func() // fills out behind a check's runs
	err   error  // of its making
}

func newOurKernel(o operation) *ourKernel {
	g, ws := o.geometry(), new(kernel.Workspace)
	oh, ow := g.Out()
	if o.numbers() {
		return o.update()
	}
	if o.Op == "gemm" || o.Op == "norm" {
		return o.plain(ws)
	}
	if f := o.pixels(g); f != nil {
		return f
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
		return &ourKernel{f: func() { kernel.ConvForwardPacked(g, x, packed, e, y, ws) }, out: y}
	case "conv forward":
		return &ourKernel{f: func() { kernel.ConvForward(g, x, w, y, ws) }, out: y}
	case "conv data":
		return &ourKernel{f: func() { kernel.ConvBackwardData(g, dy, w, dx, ws) }, out: dx}
	case "conv weights":
		return &ourKernel{f: func() { kernel.ConvBackwardWeights(g, x, dy, dw, ws) }, out: dw}
	case "depthwise forward":
		return &ourKernel{f: func() { kernel.DepthwiseForward(g, x, w, y, ws) }, out: y}
	case "depthwise data":
		return &ourKernel{f: func() { kernel.DepthwiseBackwardData(g, dy, w, dx, ws) }, out: dx}
	default:
		return &ourKernel{f: func() { kernel.DepthwiseBackwardWeights(g, x, dy, dw, ws) }, out: dw}
	}
}

// plain are the operations that are no convolutions.
func (o operation) plain(ws *kernel.Workspace) *ourKernel {
	if o.Op == "gemm" {
		a, b, c := pattern(o.N*o.C, 1), pattern(o.C*o.K, 2), make([]float32, o.N*o.K)
		return &ourKernel{f: func() { kernel.Gemm(false, false, o.N, o.K, o.C, a, o.C, b, o.K, false, c, o.K, ws) }, out: c}
	}
	rows, c := o.N*o.H*o.W, o.C
	x, dy, gamma, beta := pattern(rows*c, 1), pattern(rows*c, 3), pattern(c, 4), pattern(c, 5)
	y, dx := make([]float32, rows*c), make([]float32, rows*c)
	mean, invStd, variance, dGamma, dBeta := make([]float32, c), make([]float32, c), make([]float32, c), make([]float32, c), make([]float32, c)
	ahead := func() {
		kernel.BatchNormForward(rows, c, x, gamma, beta, 1e-5, kernel.ReLU6, y, mean, invStd, variance)
	}
	if o.Pass == forward {
		return &ourKernel{f: ahead, out: y}
	}
	ahead()
	return &ourKernel{f: func() {
		kernel.BatchNormBackward(rows, c, x, dy, gamma, beta, mean, invStd, kernel.ReLU6, dx, dGamma, dBeta)
	}, out: dx}
}

// pixels are the operations on images that have no filters; nil: it is none.
func (o operation) pixels(g kernel.Conv) *ourKernel {
	hw := o.H * o.W
	x, dx := pattern(o.N*hw*o.C, 1), make([]float32, o.N*hw*o.C)
	switch o.Op + " " + o.Pass {
	case "maxpool forward", "maxpool data":
		oh, ow := g.Out()
		n := o.N * oh * ow * o.C
		y, dy, argmax := make([]float32, n), pattern(n, 3), make([]int32, n)
		ahead := func() { kernel.MaxPoolForward(g, x, y, argmax) }
		if o.Pass == forward {
			return &ourKernel{f: ahead, out: y}
		}
		ahead()
		return &ourKernel{f: func() { kernel.MaxPoolBackward(g, dy, argmax, dx) }, out: dx}
	case "avgpool forward":
		y := make([]float32, o.N*o.C)
		return &ourKernel{f: func() { kernel.GlobalAvgPoolForward(o.N, hw, o.C, x, y) }, out: y}
	case "avgpool data":
		dy := pattern(o.N*o.C, 2)
		return &ourKernel{f: func() { kernel.GlobalAvgPoolBackward(o.N, hw, o.C, dy, dx) }, out: dx}
	case "scale forward":
		s := pattern(o.N*o.C, 2)
		return &ourKernel{f: func() { kernel.ScaleChannels(o.N, hw, o.C, x, s, dx) }, out: dx}
	case "scale data":
		s, dy, ds := pattern(o.N*o.C, 2), pattern(len(x), 3), make([]float32, o.N*o.C)
		return &ourKernel{f: func() { kernel.ScaleChannelsBackward(o.N, hw, o.C, x, s, dy, dx, ds) }, out: dx}
	case "add forward":
		y := pattern(len(x), 3)
		return &ourKernel{f: func() { kernel.Add(x, y, dx) }, out: dx}
	}
	return nil
}

// fixedExponent and fixedLimit are those of the fixed-point cases: 2^-24, and few numbers saturate.
const (
	fixedExponent = -24
	fixedLimit    = 8_000_000
)

// update are the operations of plain numbers.
func (o operation) update() *ourKernel {
	x, y := pattern(o.N, 1), make([]float32, o.N)
	q, sum := make([]int32, o.N), make([]int32, o.N)
	kernel.ToFixed32(q, x, fixedExponent, fixedLimit)
	read := func() { kernel.FromFixed32(y, sum, 0) }
	switch o.Op {
	case "tofixed":
		return &ourKernel{f: func() { kernel.ToFixed32(sum, x, fixedExponent, fixedLimit) }, out: y, read: read}
	case "addfixed":
		return &ourKernel{f: func() { kernel.AddFixed32(sum, q) }, out: y, reset: func() { clear(sum) }, read: read}
	case "fromfixed":
		return &ourKernel{f: func() { kernel.FromFixed32(y, q, fixedExponent) }, out: y}
	case "exps":
		from, to := make([]float64, o.N), make([]float64, o.N)
		for i, v := range x {
			from[i] = expsFactor * float64(v)
		}
		return &ourKernel{f: func() { kernel.Exps(to, from) }, out: y, read: func() {
			for i, v := range to {
				y[i] = float32(v)
			}
		}}
	}
	step, gradients, config := 0, pattern(o.N, 2), adamw
	if o.Op == "sgd" {
		config = optim.Config{Name: optim.SGD, Momentum: 0.9, Nesterov: true, WeightDecay: 0.01}
	}
	optimizer, err := optim.New(config, o.N, []optim.Group{{Len: o.N, Decay: true}})
	reset := func() {
		copy(y, x)
		step = 0
		for _, m := range optimizer.Moments() {
			clear(m.Values)
		}
	}
	return &ourKernel{err: err, out: y, reset: reset, f: func() {
		optimizer.Step(y, gradients, step, updateRate)
		step++
	}}
}

// expsFactor makes exponents of -10 to 10.
const expsFactor = 20

// updateRate is the optimisers' learning rate: so large that two steps change the figures of a check.
const updateRate = 1e-2

func (k *ourKernel) run(ctx context.Context, times int) error {
	if k.err != nil {
		return k.err
	}
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
	if k.reset != nil && k.err == nil {
		k.reset()
	}
	if err := k.run(ctx, 2); err != nil { // the second time with dirty buffers
		return nil, err
	}
	if k.read != nil {
		k.read()
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
