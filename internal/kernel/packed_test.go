package kernel_test

import (
	"fmt"
	"math"
	"testing"

	"pupil/internal/kernel"
)

// followed is a random epilogue of rows of k channels, ld apart, and what it makes of sums.
type followed struct {
	kernel.Epilogue
	k, ld int
}

// epilogues are all combinations of shift, residual and activation.
func epilogues(a *arena, rows, k, ld int, next func() float64) []followed {
	var list []followed
	length := max((rows-1)*ld+k, 0)
	if rows == 0 {
		length = 0
	}
	for i, act := range activations {
		for bits := range 4 {
			if i > 1 && bits != 3 && bits != i%3 {
				continue
			}
			e := followed{kernel.Epilogue{Act: act}, k, ld}
			if bits&1 != 0 {
				e.Shift = input[float32](a, k, next)
			}
			if bits&2 != 0 {
				e.Residual = input[float32](a, length, next)
			}
			list = append(list, e)
		}
	}
	return list
}

// compare holds that y is act(want + shift + residual) for its columns. An activation's slope is at most 1.5.
func (e followed) compare(t *testing.T, y []float32, want []sum) {
	t.Helper()
	for i, s := range want {
		if i%e.ld >= e.k {
			continue
		}
		if e.Shift != nil {
			s.add(float64(e.Shift[i%e.ld]))
		}
		if e.Residual != nil {
			s.add(float64(e.Residual[i]))
		}
		v := act(e.Act, s.value)
		bound := 1.5*s.magnitude*0x1p-24*(6+4*math.Sqrt(float64(s.terms))) + 1e-6*math.Abs(v) + 1e-37
		if !(math.Abs(float64(y[i])-v) <= bound) {
			t.Fatalf("%v: y[%d] = %v, want %v", e.Act, i, y[i], v)
		}
	}
}

func TestGemmPacked(t *testing.T) {
	each(t, func(t *testing.T) {
		var ws kernel.Workspace
		for i, p := range products() {
			if p.transA || p.transB || p.accumulate || p.n == 0 || p.k == 0 {
				continue
			}
			t.Run(fmt.Sprintf("%+v", p), func(t *testing.T) {
				arena, next := newArena(t), normal(30, uint64(i))
				lda, na := stored(p.m, p.k, p.gapA, false)
				ldb, nb := stored(p.k, p.n, p.gapB, false)
				ldc, nc := stored(p.m, p.n, p.gapC, false)
				a, b := input[float32](arena, na, next), input[float32](arena, nb, next)
				want := make([]sum, nc)
				for i := range want {
					for k := range p.k {
						if i%ldc < p.n {
							want[i].add(float64(a[i/ldc*lda+k]) * float64(b[k*ldb+i%ldc]))
						}
					}
				}
				packed := kernel.Pack(p.k, p.n, b, ldb)
				clear(b) // the values were copied
				for _, e := range epilogues(arena, p.m, p.n, ldc, next) {
					c := input[float32](arena, nc, func() float64 { return 77 })
					kernel.GemmPacked(p.m, a, lda, packed, e.Epilogue, c, ldc, &ws)
					e.compare(t, c, want)
					for i, v := range c {
						if i%ldc >= p.n && v != 77 {
							t.Fatalf("c[%d], between rows, was written", i)
						}
					}
				}
			})
		}
	})
}

func TestConvForwardPacked(t *testing.T) {
	each(t, func(t *testing.T) {
		var ws kernel.Workspace
		for i, g := range shapes() {
			t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) {
				a, next := newArena(t), normal(31, uint64(i))
				oh, ow := g.Out()
				x, w := input[float32](a, g.N*g.H*g.W*g.C, next), input[float32](a, g.R*g.S*g.C*g.K, next)
				want, _, _ := convReference(g, x, w, make([]float32, g.N*oh*ow*g.K))
				packed := kernel.PackConv(g, w)
				for _, e := range epilogues(a, g.N*oh*ow, g.K, g.K, next) {
					y := output[float32](a, len(want))
					kernel.ConvForwardPacked(g, x, packed, e.Epilogue, y, &ws)
					e.compare(t, y, want)
					if e.Residual != nil {
						copy(y, e.Residual)
						in := e.Epilogue
						in.Residual = y
						kernel.ConvForwardPacked(g, x, packed, in, y, &ws)
						e.compare(t, y, want)
					}
				}
				plain, y := output[float32](a, len(want)), output[float32](a, len(want))
				kernel.ConvForward(g, x, w, plain, &ws)
				kernel.ConvForwardPacked(g, x, packed, kernel.Epilogue{}, y, &ws)
				same(t, "y without epilogue", y, plain)
			})
		}
	})
}

func TestDepthwiseForwardThen(t *testing.T) {
	each(t, func(t *testing.T) {
		var ws kernel.Workspace
		for i, g := range shapes() {
			g.K = g.C
			t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) {
				a, next := newArena(t), normal(32, uint64(i))
				oh, ow := g.Out()
				x, w := input[float32](a, g.N*g.H*g.W*g.C, next), input[float32](a, g.R*g.S*g.C, next)
				want, _, _ := depthwiseReference(g, x, w, make([]float32, g.N*oh*ow*g.C))
				for _, e := range epilogues(a, g.N*oh*ow, g.K, g.K, next) {
					y := output[float32](a, len(want))
					e.Residual = nil
					kernel.DepthwiseForwardThen(g, x, w, e.Shift, e.Act, y, &ws)
					e.compare(t, y, want)
				}
			})
		}
	})
}

// winogradShapes are maps of whole tiles and of parts of tiles, of channels that fill registers and do not.
func winogradShapes() []kernel.Conv {
	var list []kernel.Conv
	for _, g := range shapes() {
		if g.Winograd() {
			list = append(list, g)
		}
	}
	for i, size := range [][2]int{{1, 1}, {3, 2}, {4, 4}, {5, 9}, {6, 6}, {7, 7}, {8, 12}, {14, 14}, {13, 11}} {
		for bits := range 8 {
			g := kernel.Conv{
				N: 1 + i%3, H: size[0], W: size[1], C: 1 + 7*i%33, K: 1 + 11*i%40, R: 3, S: 3, Stride: 1 + bits/4, Pad: bits % 4,
			}
			if g.H+2*g.Pad >= 3 && g.W+2*g.Pad >= 3 {
				list = append(list, g)
			}
		}
	}
	return append(list,
		kernel.Conv{N: 7, H: 16, W: 16, C: 16, K: 32, R: 3, S: 3, Stride: 1, Pad: 1},
		kernel.Conv{N: 1, H: 4, W: 4, C: 130, K: 72, R: 3, S: 3, Stride: 1, Pad: 1},
		kernel.Conv{N: 7, H: 32, W: 32, C: 16, K: 32, R: 3, S: 3, Stride: 2, Pad: 1},
		kernel.Conv{N: 2, H: 9, W: 17, C: 130, K: 72, R: 3, S: 3, Stride: 2, Pad: 0},
	)
}

func TestWinograd(t *testing.T) {
	each(t, func(t *testing.T) {
		var ws kernel.Workspace
		for i, g := range winogradShapes() {
			t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) {
				a, next := newArena(t), normal(33, uint64(i))
				oh, ow := g.Out()
				x, w := input[float32](a, g.N*g.H*g.W*g.C, next), input[float32](a, 9*g.C*g.K, next)
				want, _, _ := convReference(g, x, w, make([]float32, g.N*oh*ow*g.K))
				packed := kernel.PackWinograd(g, w)
				for _, e := range epilogues(a, g.N*oh*ow, g.K, g.K, next) {
					y := output[float32](a, len(want))
					kernel.ConvForwardPacked(g, x, packed, e.Epilogue, y, &ws)
					e.compareRMS(t, y, want)
				}
			})
		}
	})
}

// compareRMS holds that the relative root mean square error is below 1e-5, and every error below 20 times that.
func (e followed) compareRMS(t *testing.T, y []float32, want []sum) {
	t.Helper()
	var errors, squares, largest float64
	for i, s := range want {
		v := s.value
		if e.Shift != nil {
			v += float64(e.Shift[i%e.k])
		}
		if e.Residual != nil {
			v += float64(e.Residual[i])
		}
		d := float64(y[i]) - act(e.Act, v)
		if math.IsNaN(d) {
			t.Fatalf("%v: y[%d] = %v, want %v", e.Act, i, y[i], act(e.Act, v))
		}
		errors += d * d
		squares += s.value * s.value
		largest = max(largest, math.Abs(d))
	}
	rms := math.Sqrt(squares / float64(max(len(want), 1)))
	if relative := math.Sqrt(errors/float64(max(len(want), 1))) / rms; relative > 1e-5 || largest > 2e-4*rms {
		t.Fatalf("%v: relative error %v, the largest %v of %v", e.Act, relative, largest, rms)
	}
}

// TestPackedImages holds that an image's result does not depend on the images beside it, nor on what a Workspace was
// used for before.
func TestPackedImages(t *testing.T) {
	each(t, func(t *testing.T) {
		var used kernel.Workspace
		for i, g := range winogradShapes() {
			next := normal(34, uint64(i))
			a := newArena(t)
			oh, ow := g.Out()
			x, w := input[float32](a, g.N*g.H*g.W*g.C, next), input[float32](a, 9*g.C*g.K, next)
			in, out := g.H*g.W*g.C, oh*ow*g.K
			e := kernel.Epilogue{
				Shift: input[float32](a, g.K, next), Residual: input[float32](a, g.N*out, next), Act: kernel.ReLU,
			}
			one := g
			one.N = 1
			for _, packed := range []*kernel.Packed{kernel.PackConv(g, w), kernel.PackWinograd(g, w)} {
				y := output[float32](a, g.N*out)
				kernel.ConvForwardPacked(g, x, packed, e, y, &used)
				for n := range g.N {
					var fresh kernel.Workspace
					single, y1 := e, make([]float32, out)
					single.Residual = e.Residual[n*out:]
					kernel.ConvForwardPacked(one, x[n*in:], packed, single, y1, &fresh)
					same(t, fmt.Sprintf("y of image %d of %+v", n, g), y[n*out:][:out], y1)
				}
			}
		}
	})
}

func TestWinogradPays(t *testing.T) {
	g := kernel.Conv{N: 1, H: 32, W: 32, C: 64, K: 64, R: 3, S: 3, Stride: 1, Pad: 1}
	small, few, longer, one, deep, strided, last := g, g, g, g, g, g, g
	deep.H, deep.W, deep.C, deep.K = 4, 4, 512, 512
	small.H, small.W = 1, 1
	few.C = 3
	longer.Stride = 3
	one.R, one.S, one.Pad = 1, 1, 0
	many := deep
	many.N = 8
	strided.N, strided.K, strided.Stride = 8, 128, 2
	last.N, last.H, last.W, last.C, last.K, last.Stride = 8, 8, 8, 256, 512, 2 // 8 tiles for 81 filter values
	for _, g := range []kernel.Conv{g, many, strided} {
		if !g.WinogradPays() {
			t.Errorf("not for %+v", g)
		}
	}
	for _, g := range []kernel.Conv{small, few, longer, one, deep, last} {
		if g.WinogradPays() {
			t.Errorf("for %+v", g)
		}
	}
}
