package kernel_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pupil/internal/kernel"
)

// values returns n numbers of the standard normal distribution.
func values(n int, words ...uint64) []float32 {
	next := normal(words...)
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(next())
	}
	return v
}

// rate runs a kernel and reports its arithmetic per second, or its traffic with memory, and the same of its fastest run
// (what other programs on the machine do not disturb).
func rate(b *testing.B, flops float64, bytes int, f func()) {
	f()
	b.ReportAllocs()
	best := time.Duration(math.MaxInt64)
	for b.Loop() {
		start := time.Now()
		f()
		best = min(best, time.Since(start))
	}
	if bytes > 0 {
		b.SetBytes(int64(bytes))
		b.ReportMetric(float64(bytes)/best.Seconds()/1e9, "best-GB/s")
	}
	if flops > 0 {
		b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		b.ReportMetric(flops/best.Seconds()/1e9, "best-GFLOP/s")
	}
}

// both runs a benchmark with every implementation.
func both(b *testing.B, f func(b *testing.B)) {
	before := kernel.Name()
	defer func() {
		if err := kernel.Select(before); err != nil {
			b.Error(err)
		}
	}()
	for _, name := range []string{"avx512", "avx2", "generic"} {
		if kernel.Select(name) == nil {
			b.Run(name, f)
		}
	}
}

func BenchmarkGemm(b *testing.B) {
	for _, s := range [][3]int{
		{1024, 1024, 1024}, {16 * 14 * 14, 96, 16}, {16 * 14 * 14, 16, 96}, {16 * 14 * 14, 24, 144}, {64, 10, 1280},
	} {
		m, n, k := s[0], s[1], s[2]
		for _, trans := range []string{"NN", "TN", "NT"} {
			x, y, z := values(m*k, 1), values(k*n, 2), make([]float32, m*n)
			lda, ldb := k, n
			if trans == "TN" {
				lda = m
			}
			if trans == "NT" {
				ldb = k
			}
			b.Run(fmt.Sprintf("%dx%dx%d/%s", m, n, k, trans), func(b *testing.B) {
				both(b, func(b *testing.B) {
					var ws kernel.Workspace
					rate(b, 2*float64(m)*float64(n)*float64(k), 0, func() {
						kernel.Gemm(trans == "TN", trans == "NT", m, n, k, x, lda, y, ldb, false, z, n, &ws)
					})
				})
			})
		}
	}
}

func BenchmarkConv(b *testing.B) {
	for _, g := range []kernel.Conv{
		{N: 16, H: 28, W: 28, C: 8, K: 8, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 16, H: 28, W: 28, C: 16, K: 16, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 16, H: 28, W: 28, C: 32, K: 32, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 16, H: 28, W: 28, C: 64, K: 64, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 16, H: 28, W: 28, C: 32, K: 64, R: 3, S: 3, Stride: 2, Pad: 1},
		{N: 16, H: 4, W: 4, C: 512, K: 512, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 16, H: 32, W: 32, C: 3, K: 64, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 2, H: 224, W: 224, C: 3, K: 64, R: 7, S: 7, Stride: 2, Pad: 3},
		{N: 16, H: 16, W: 16, C: 16, K: 96, R: 1, S: 1, Stride: 1, Pad: 0},
		{N: 16, H: 16, W: 16, C: 96, K: 24, R: 1, S: 1, Stride: 1, Pad: 0},
	} {
		h, w := g.Out()
		flops := 2 * float64(g.N*h*w*g.K) * float64(g.R*g.S*g.C)
		x, f := values(g.N*g.H*g.W*g.C, 1), values(g.R*g.S*g.C*g.K, 2)
		y := values(g.N*h*w*g.K, 3)
		dx, df, out := make([]float32, len(x)), make([]float32, len(f)), make([]float32, len(y))
		name := fmt.Sprintf("%dx%d_s%d_%dto%d_%dx%dx%d", g.R, g.S, g.Stride, g.C, g.K, g.N, g.H, g.W)
		for _, pass := range []struct {
			name string
			run  func(ws *kernel.Workspace)
		}{
			{"forward", func(ws *kernel.Workspace) { kernel.ConvForward(g, x, f, out, ws) }},
			{"data", func(ws *kernel.Workspace) { kernel.ConvBackwardData(g, y, f, dx, ws) }},
			{"weights", func(ws *kernel.Workspace) { kernel.ConvBackwardWeights(g, x, y, df, ws) }},
		} {
			b.Run(name+"/"+pass.name, func(b *testing.B) {
				both(b, func(b *testing.B) {
					var ws kernel.Workspace
					rate(b, flops, 0, func() { pass.run(&ws) })
				})
			})
		}
	}
}

func BenchmarkDepthwise(b *testing.B) {
	for _, g := range []kernel.Conv{
		{N: 32, H: 14, W: 14, C: 96, K: 96, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 32, H: 28, W: 28, C: 96, K: 96, R: 3, S: 3, Stride: 2, Pad: 1},
		{N: 32, H: 4, W: 4, C: 288, K: 288, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 32, H: 14, W: 14, C: 96, K: 96, R: 5, S: 5, Stride: 1, Pad: 2},
	} {
		h, w := g.Out()
		flops := 2 * float64(g.N*h*w*g.K) * float64(g.R*g.S)
		x, f := values(g.N*g.H*g.W*g.C, 1), values(g.R*g.S*g.C, 2)
		y := values(g.N*h*w*g.K, 3)
		dx, df, out := make([]float32, len(x)), make([]float32, len(f)), make([]float32, len(y))
		name := fmt.Sprintf("%dx%d_s%d_%d_%dx%dx%d", g.R, g.S, g.Stride, g.C, g.N, g.H, g.W)
		for _, pass := range []struct {
			name string
			run  func(ws *kernel.Workspace)
		}{
			{"forward", func(ws *kernel.Workspace) { kernel.DepthwiseForward(g, x, f, out, ws) }},
			{"data", func(ws *kernel.Workspace) { kernel.DepthwiseBackwardData(g, y, f, dx, ws) }},
			{"weights", func(ws *kernel.Workspace) { kernel.DepthwiseBackwardWeights(g, x, y, df, ws) }},
		} {
			b.Run(name+"/"+pass.name, func(b *testing.B) {
				both(b, func(b *testing.B) {
					var ws kernel.Workspace
					rate(b, flops, 4*(len(x)+len(y)), func() { pass.run(&ws) })
				})
			})
		}
	}
}

func BenchmarkBatchNorm(b *testing.B) {
	for _, s := range [][2]int{
		{32 * 14 * 14, 96}, {10 * 32 * 32, 64}, {10 * 16 * 16, 96}, {10 * 8 * 8, 192}, {10 * 16 * 16, 16},
	} {
		rows, c := s[0], s[1]
		x, dy, y := values(rows*c, 1), values(rows*c, 2), make([]float32, rows*c)
		gamma, beta := values(c, 3), values(c, 4)
		mean, invStd, variance := make([]float32, c), make([]float32, c), make([]float32, c)
		dgamma, dbeta := make([]float32, c), make([]float32, c)
		for _, act := range []kernel.Activation{kernel.Identity, kernel.ReLU6, kernel.HardSwish} {
			name := fmt.Sprintf("%dx%d/%v", rows, c, act)
			b.Run(name+"/forward", func(b *testing.B) {
				both(b, func(b *testing.B) {
					rate(b, 0, 8*rows*c, func() {
						kernel.BatchNormForward(rows, c, x, gamma, beta, 1e-5, act, y, mean, invStd, variance)
					})
				})
			})
			b.Run(name+"/backward", func(b *testing.B) {
				both(b, func(b *testing.B) {
					rate(b, 0, 12*rows*c, func() {
						kernel.BatchNormBackward(rows, c, x, dy, gamma, beta, mean, invStd, act, y, dgamma, dbeta)
					})
				})
			})
		}
	}
}

func BenchmarkElementwise(b *testing.B) {
	const n = 1 << 18
	x, y, z := values(n, 1), values(n, 2), make([]float32, n)
	q, r, h, p := make([]int32, n), make([]int32, n), make([]int16, n), make([]byte, 3*n)
	for _, k := range []struct {
		name  string
		bytes int
		run   func()
	}{
		{"Add", 12 * n, func() { kernel.Add(x, y, z) }},
		{"ReLU", 8 * n, func() { kernel.ActForward(kernel.ReLU, x, z) }},
		{"HardSwish", 8 * n, func() { kernel.ActForward(kernel.HardSwish, x, z) }},
		{"HardSwishBackward", 12 * n, func() { kernel.ActBackward(kernel.HardSwish, x, y, z) }},
		{"GlobalAvgPool", 4 * n, func() { kernel.GlobalAvgPoolForward(16, 64, 256, x, z) }},
		{"ToFixed32", 8 * n, func() { kernel.ToFixed32(q, x, -20, 1<<24) }},
		{"AddFixed32", 12 * n, func() { kernel.AddFixed32(r, q) }},
		{"FromFixed32", 8 * n, func() { kernel.FromFixed32(z, r, -20) }},
		{"PackFixed24", 7 * n, func() { kernel.PackFixed24(p, q) }},
		{"AddFixed24", 10 * n, func() { kernel.AddFixed24(p, q) }},
		{"UnpackFixed24", 7 * n, func() { kernel.UnpackFixed24(r, p) }},
		{"ToFixed16", 14 * n, func() { kernel.ToFixed16(h, z, x, y, -10, 4095) }},
		{"AddFixed16", 6 * n, func() { kernel.AddFixed16(h, h) }},
		{"FromFixed16", 6 * n, func() { kernel.FromFixed16(z, h, -10) }},
	} {
		b.Run(k.name, func(b *testing.B) {
			both(b, func(b *testing.B) { rate(b, 0, k.bytes, k.run) })
		})
	}
}

func BenchmarkMaxPool(b *testing.B) {
	g := kernel.Conv{N: 2, H: 112, W: 112, C: 64, K: 64, R: 3, S: 3, Stride: 2, Pad: 1}
	x, y := values(g.N*g.H*g.W*g.C, 1), make([]float32, g.N*56*56*64)
	argmax := make([]int32, len(y))
	for name, a := range map[string][]int32{"inference": nil, "training": argmax} {
		b.Run(name, func(b *testing.B) {
			both(b, func(b *testing.B) { rate(b, 0, 4*(len(x)+len(y)), func() { kernel.MaxPoolForward(g, x, y, a) }) })
		})
	}
}

// BenchmarkFrozen compares the ways to compute a layer of a frozen network, in images of arithmetic of the direct one:
// a convolution and ScaleShift, packed filters with an epilogue, Winograd's algorithm with the same.
func BenchmarkFrozen(b *testing.B) {
	for _, g := range []kernel.Conv{
		{N: 8, H: 32, W: 32, C: 64, K: 64, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 8, H: 16, W: 16, C: 128, K: 128, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 8, H: 8, W: 8, C: 256, K: 256, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 8, H: 4, W: 4, C: 512, K: 512, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 2, H: 14, W: 14, C: 256, K: 256, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 2, H: 7, W: 7, C: 512, K: 512, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 8, H: 32, W: 32, C: 64, K: 128, R: 3, S: 3, Stride: 2, Pad: 1},
		{N: 8, H: 28, W: 28, C: 256, K: 256, R: 3, S: 3, Stride: 2, Pad: 1},
		{N: 8, H: 28, W: 28, C: 16, K: 16, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 2, H: 56, W: 56, C: 64, K: 256, R: 1, S: 1, Stride: 1, Pad: 0},
	} {
		h, w := g.Out()
		flops := 2 * float64(g.N*h*w*g.K) * float64(g.R*g.S*g.C)
		x, f := values(g.N*g.H*g.W*g.C, 1), values(g.R*g.S*g.C*g.K, 2)
		y, shift, ones := make([]float32, g.N*h*w*g.K), values(g.K, 3), make([]float32, g.K)
		for i := range ones {
			ones[i] = 1
		}
		e := kernel.Epilogue{Shift: shift, Act: kernel.ReLU}
		ways := map[string]func(ws *kernel.Workspace) func(){
			"direct": func(ws *kernel.Workspace) func() {
				return func() {
					kernel.ConvForward(g, x, f, y, ws)
					kernel.ScaleShift(g.N*h*w, g.K, y, ones, shift, kernel.ReLU, y)
				}
			},
			"packed": func(ws *kernel.Workspace) func() {
				p := kernel.PackConv(g, f)
				return func() { kernel.ConvForwardPacked(g, x, p, e, y, ws) }
			},
		}
		if g.Winograd() {
			ways["winograd"] = func(ws *kernel.Workspace) func() {
				p := kernel.PackWinograd(g, f)
				return func() { kernel.ConvForwardPacked(g, x, p, e, y, ws) }
			}
		}
		for _, way := range []string{"direct", "packed", "winograd"} {
			if ways[way] != nil {
				b.Run(fmt.Sprintf("%dx%d_s%d_%dto%d_%dx%dx%d/%s", g.R, g.S, g.Stride, g.C, g.K, g.N, g.H, g.W, way), func(b *testing.B) {
					both(b, func(b *testing.B) { rate(b, flops, 0, ways[way](new(kernel.Workspace))) })
				})
			}
		}
	}
}

// BenchmarkNorm compares two ways of a batch norm with its activation, the convolution that follows and its weight
// gradient: through memory, and applied as the convolution reads, with the sums of the next gathered meanwhile.
func BenchmarkNorm(b *testing.B) {
	for _, g := range []kernel.Conv{
		{N: 8, H: 32, W: 32, C: 96, K: 16, R: 1, S: 1, Stride: 1},
		{N: 2, H: 112, W: 112, C: 96, K: 24, R: 1, S: 1, Stride: 1},
		{N: 8, H: 32, W: 32, C: 96, K: 96, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 2, H: 112, W: 112, C: 96, K: 96, R: 3, S: 3, Stride: 2, Pad: 1},
		{N: 8, H: 4, W: 4, C: 480, K: 480, R: 3, S: 3, Stride: 1, Pad: 1},
	} {
		h, w := g.Out()
		depthwise := g.R == 3
		rows, c := g.N*g.H*g.W, g.C
		z, f := values(rows*c, 1), values(g.R*g.S*g.C*g.K, 2)
		y, out, dw := make([]float32, rows*c), values(g.N*h*w*g.K, 5), make([]float32, g.R*g.S*g.C*g.K)
		p := [5][]float32{values(c, 3), values(c, 4), make([]float32, c), make([]float32, c), make([]float32, c)}
		name := fmt.Sprintf("%dx%d_%dto%d_%dx%dx%d", g.R, g.S, g.C, g.K, g.N, g.H, g.W)
		var ws kernel.Workspace
		var m, next kernel.Moments
		var n kernel.Norm
		same := kernel.Conv{N: g.N, H: g.H, W: g.W, C: c, K: c, R: 1, S: 1, Stride: 1}
		kernel.DepthwiseForwardNorm(same, z, nil, values(c, 6), y, &m, &ws)
		b.Run(name+"/apart", func(b *testing.B) {
			both(b, func(b *testing.B) {
				rate(b, 0, 4*(4*len(z)+2*len(out)), func() {
					kernel.BatchNormForward(rows, c, z, p[0], p[1], 1e-5, kernel.ReLU6, y, p[2], p[3], p[4])
					if depthwise {
						kernel.DepthwiseForward(g, y, f, out, &ws)
						kernel.DepthwiseBackwardWeights(g, y, out, dw, &ws)
					} else {
						kernel.ConvForward(g, y, f, out, &ws)
						kernel.ConvBackwardWeights(g, y, out, dw, &ws)
					}
				})
			})
		})
		b.Run(name+"/fused", func(b *testing.B) {
			both(b, func(b *testing.B) {
				rate(b, 0, 4*(4*len(z)+2*len(out)), func() {
					m.Norm(p[0], p[1], 1e-5, kernel.ReLU6, p[2], p[3], p[4], &n)
					if depthwise {
						kernel.DepthwiseForwardNorm(g, z, &n, f, out, &next, &ws)
						kernel.DepthwiseBackwardWeightsNorm(g, z, &n, out, dw, &ws)
					} else {
						kernel.ConvForwardNorm(g, z, &n, f, out, &next, &ws)
						kernel.ConvBackwardWeightsNorm(g, z, &n, out, dw, &ws)
					}
				})
			})
		})
	}
}

// BenchmarkNormBackward compares a convolution's data gradient and the backward pass of the norm before it, one after
// the other, with sums gathered meanwhile.
func BenchmarkNormBackward(b *testing.B) {
	for _, g := range []kernel.Conv{
		{N: 8, H: 32, W: 32, C: 96, K: 16, R: 1, S: 1, Stride: 1},
		{N: 2, H: 112, W: 112, C: 96, K: 24, R: 1, S: 1, Stride: 1},
		{N: 8, H: 32, W: 32, C: 96, K: 96, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 2, H: 112, W: 112, C: 96, K: 96, R: 3, S: 3, Stride: 2, Pad: 1},
	} {
		h, w := g.Out()
		depthwise := g.R == 3
		rows, c := g.N*g.H*g.W, g.C
		z, f, dy := values(rows*c, 1), values(g.R*g.S*g.C*g.K, 2), values(g.N*h*w*g.K, 5)
		dx := make([]float32, rows*c)
		var p [7][]float32
		for i := range p {
			p[i] = values(c, uint64(i))
		}
		var ws kernel.Workspace
		var m kernel.Moments
		var n kernel.Norm
		var s kernel.NormGradient
		same := kernel.Conv{N: g.N, H: g.H, W: g.W, C: c, K: c, R: 1, S: 1, Stride: 1}
		kernel.DepthwiseForwardNorm(same, z, nil, p[0], dx, &m, &ws)
		m.Norm(p[0], p[1], 1e-5, kernel.ReLU6, p[2], p[3], p[4], &n)
		ways := map[string]func(){
			"apart": func() {
				if depthwise {
					kernel.DepthwiseBackwardData(g, dy, f, dx, &ws)
				} else {
					kernel.ConvBackwardData(g, dy, f, dx, &ws)
				}
				kernel.BatchNormBackward(rows, c, z, dx, p[0], p[1], p[2], p[3], kernel.ReLU6, dx, p[5], p[6])
			},
			"gathered": func() {
				if depthwise {
					kernel.DepthwiseBackwardDataNorm(g, dy, f, &n, z, dx, &s, &ws)
				} else {
					kernel.ConvBackwardDataNorm(g, dy, f, &n, z, dx, &s, &ws)
				}
				kernel.BatchNormBackwardGathered(&s, p[3], dx, p[5], p[6])
			},
		}
		for _, way := range []string{"apart", "gathered"} {
			b.Run(fmt.Sprintf("%dx%d_%dto%d_%dx%dx%d/%s", g.R, g.S, g.C, g.K, g.N, g.H, g.W, way), func(b *testing.B) {
				both(b, func(b *testing.B) { rate(b, 0, 4*(5*len(z)+len(dy)), ways[way]) })
			})
		}
	}
}
