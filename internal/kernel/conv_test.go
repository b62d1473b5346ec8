package kernel_test

import (
	"fmt"
	"testing"

	"pupil/internal/kernel"
	"pupil/internal/random"
)

// shapes are geometries that networks use, and corners: no whole tile, one pixel, more stride than filter, blocks of
// every kind that are not filled, filters larger than the image.
func shapes() []kernel.Conv {
	list := []kernel.Conv{
		{N: 2, H: 9, W: 9, C: 3, K: 8, R: 7, S: 7, Stride: 2, Pad: 3},
		{N: 2, H: 8, W: 8, C: 1, K: 16, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 1, H: 12, W: 12, C: 3, K: 64, R: 3, S: 3, Stride: 2, Pad: 1},
		{N: 3, H: 7, W: 7, C: 16, K: 24, R: 1, S: 1, Stride: 1, Pad: 0},
		{N: 2, H: 7, W: 7, C: 8, K: 40, R: 1, S: 1, Stride: 2, Pad: 0},
		{N: 1, H: 1, W: 1, C: 1, K: 1, R: 1, S: 1, Stride: 1, Pad: 0},
		{N: 1, H: 1, W: 1, C: 5, K: 7, R: 3, S: 3, Stride: 2, Pad: 1},
		{N: 5, H: 2, W: 2, C: 33, K: 17, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 2, H: 5, W: 7, C: 9, K: 12, R: 5, S: 5, Stride: 1, Pad: 2},
		{N: 2, H: 6, W: 5, C: 2, K: 3, R: 2, S: 3, Stride: 3, Pad: 0},
		{N: 1, H: 5, W: 5, C: 4, K: 4, R: 1, S: 1, Stride: 4, Pad: 0},
		{N: 1, H: 4, W: 4, C: 3, K: 4, R: 1, S: 1, Stride: 1, Pad: 1},
		{N: 3, H: 22, W: 22, C: 6, K: 8, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 3, H: 21, W: 23, C: 8, K: 20, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 150, H: 2, W: 3, C: 8, K: 8, R: 3, S: 3, Stride: 2, Pad: 1},
		{N: 1, H: 3, W: 3, C: 64, K: 500, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 1, H: 2, W: 2, C: 3, K: 5, R: 5, S: 5, Stride: 1, Pad: 4},
		{N: 1, H: 3, W: 3, C: 512, K: 129, R: 3, S: 3, Stride: 1, Pad: 1},
		{N: 0, H: 4, W: 4, C: 8, K: 8, R: 3, S: 3, Stride: 1, Pad: 1},
	}
	s := random.New(random.PurposeTest, 1)
	for len(list) < 90 {
		g := kernel.Conv{
			N: 1 + s.IntN(4), H: 1 + s.IntN(11), W: 1 + s.IntN(11), C: 1 + s.IntN(20), K: 1 + s.IntN(36),
			R: 1 + s.IntN(5), S: 1 + s.IntN(5), Stride: 1 + s.IntN(3), Pad: s.IntN(4),
		}
		if g.H+2*g.Pad >= g.R && g.W+2*g.Pad >= g.S {
			list = append(list, g)
		}
	}
	return list
}

// taps calls visit for each output pixel and filter tap that meets the image: n, output pixel, input pixel, tap.
func taps(g kernel.Conv, visit func(n, out, in, tap int)) {
	oh, ow := g.Out()
	for n := range g.N {
		for i := range oh {
			for j := range ow {
				for r := range g.R {
					for s := range g.S {
						h, v := i*g.Stride+r-g.Pad, j*g.Stride+s-g.Pad
						if h >= 0 && h < g.H && v >= 0 && v < g.W {
							visit(n, (n*oh+i)*ow+j, (n*g.H+h)*g.W+v, r*g.S+s)
						}
					}
				}
			}
		}
	}
}

// convReference is the definition of the convolution and of its gradients.
func convReference(g kernel.Conv, x, w, dy []float32) (y, dx, dw []sum) {
	y, dx, dw = make([]sum, len(dy)), make([]sum, len(x)), make([]sum, len(w))
	taps(g, func(_, out, in, tap int) {
		for c := range g.C {
			for k := range g.K {
				xi, wi, yi := in*g.C+c, (tap*g.C+c)*g.K+k, out*g.K+k
				y[yi].add(float64(x[xi]) * float64(w[wi]))
				dx[xi].add(float64(dy[yi]) * float64(w[wi]))
				dw[wi].add(float64(dy[yi]) * float64(x[xi]))
			}
		}
	})
	return y, dx, dw
}

func TestConv(t *testing.T) {
	each(t, func(t *testing.T) {
		var ws kernel.Workspace
		for i, g := range shapes() {
			t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) {
				a, next := newArena(t), normal(2, uint64(i))
				oh, ow := g.Out()
				x, w := input[float32](a, g.N*g.H*g.W*g.C, next), input[float32](a, g.R*g.S*g.C*g.K, next)
				dy := input[float32](a, g.N*oh*ow*g.K, next)
				y, dx, dw := output[float32](a, len(dy)), output[float32](a, len(x)), output[float32](a, len(w))
				wantY, wantX, wantW := convReference(g, x, w, dy)
				kernel.ConvForward(g, x, w, y, &ws)
				compare(t, "y", y, wantY)
				kernel.ConvBackwardData(g, dy, w, dx, &ws)
				compare(t, "dx", dx, wantX)
				kernel.ConvBackwardWeights(g, x, dy, dw, &ws)
				compare(t, "dw", dw, wantW)
			})
		}
	})
}

// depthwiseReference is the definition of the depthwise convolution and of its gradients.
func depthwiseReference(g kernel.Conv, x, w, dy []float32) (y, dx, dw []sum) {
	y, dx, dw = make([]sum, len(dy)), make([]sum, len(x)), make([]sum, len(w))
	taps(g, func(_, out, in, tap int) {
		for c := range g.C {
			xi, wi, yi := in*g.C+c, tap*g.C+c, out*g.C+c
			y[yi].add(float64(x[xi]) * float64(w[wi]))
			dx[xi].add(float64(dy[yi]) * float64(w[wi]))
			dw[wi].add(float64(dy[yi]) * float64(x[xi]))
		}
	})
	return y, dx, dw
}

func TestDepthwise(t *testing.T) {
	each(t, func(t *testing.T) {
		var ws kernel.Workspace
		for i, g := range shapes() {
			g.K = g.C
			t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) {
				a, next := newArena(t), normal(3, uint64(i))
				oh, ow := g.Out()
				x, w := input[float32](a, g.N*g.H*g.W*g.C, next), input[float32](a, g.R*g.S*g.C, next)
				dy := input[float32](a, g.N*oh*ow*g.C, next)
				y, dx, dw := output[float32](a, len(dy)), output[float32](a, len(x)), output[float32](a, len(w))
				wantY, wantX, wantW := depthwiseReference(g, x, w, dy)
				kernel.DepthwiseForward(g, x, w, y, &ws)
				compare(t, "y", y, wantY)
				kernel.DepthwiseBackwardData(g, dy, w, dx, &ws)
				compare(t, "dx", dx, wantX)
				kernel.DepthwiseBackwardWeights(g, x, dy, dw, &ws)
				compare(t, "dw", dw, wantW)
			})
		}
	})
}

// TestConvImages holds that an image's result does not depend on the images beside it, nor on what a Workspace was used
// for before.
func TestConvImages(t *testing.T) {
	each(t, func(t *testing.T) {
		var used kernel.Workspace
		for i, g := range shapes() {
			next := normal(4, uint64(i))
			a := newArena(t)
			oh, ow := g.Out()
			x, w := input[float32](a, g.N*g.H*g.W*g.C, next), input[float32](a, g.R*g.S*g.C*g.K, next)
			y, dx := output[float32](a, g.N*oh*ow*g.K), output[float32](a, len(x))
			kernel.ConvForward(g, x, w, y, &used)
			kernel.ConvBackwardData(g, y, w, dx, &used)
			one := g
			one.N = 1
			in, out := g.H*g.W*g.C, oh*ow*g.K
			for n := range g.N {
				var fresh kernel.Workspace
				y1, dx1 := make([]float32, out), make([]float32, in)
				kernel.ConvForward(one, x[n*in:], w, y1, &fresh)
				kernel.ConvBackwardData(one, y1, w, dx1, &fresh)
				same(t, fmt.Sprintf("y of image %d of %+v", n, g), y[n*out:][:out], y1)
				same(t, fmt.Sprintf("dx of image %d of %+v", n, g), dx[n*in:][:in], dx1)
			}
		}
	})
}
