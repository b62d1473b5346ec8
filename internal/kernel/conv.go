package kernel

import "fmt"

// Conv is the geometry of a convolution or pooling over NHWC images, without dilation or groups. The padding is the
// same on all four sides.
type Conv struct {
	N, H, W, C int // input: images, rows, columns, channels
	K          int // output channels
	R, S       int // filter rows, columns
	Stride     int // 1 or more, the same for rows and columns
	Pad        int // zeros around the image, in pixels
}

// Out returns the rows and columns of an output image: (H + 2 Pad - R) / Stride + 1, and the same of W and S.
func (g Conv) Out() (h, w int) {
	return (g.H+2*g.Pad-g.R)/g.Stride + 1, (g.W+2*g.Pad-g.S)/g.Stride + 1
}

// check panics when the geometry has no output.
func (g Conv) check(function string) {
	if g.N < 0 || g.H < 1 || g.W < 1 || g.C < 1 || g.K < 1 || g.R < 1 || g.S < 1 || g.Stride < 1 || g.Pad < 0 ||
		g.H+2*g.Pad < g.R || g.W+2*g.Pad < g.S {
		panic(fmt.Sprintf("kernel: %s: impossible geometry %+v", function, g))
	}
}

func (g Conv) checkDense(function, in, filter, out string, x, w, y []float32) {
	g.check(function)
	h, v := g.Out()
	checkLen(function, in, len(x), g.N*g.H*g.W*g.C)
	checkLen(function, filter, len(w), g.R*g.S*g.C*g.K)
	checkLen(function, out, len(y), g.N*h*v*g.K)
}

// ConvForward computes the convolution of images x [N, H, W, C] with filters w [R, S, C, K] (as deep learning calls it:
// a correlation), and overwrites y [N, OH, OW, K]:
//
//	y[n, i, j, k] = sum_rsc x[n, i*Stride+r-Pad, j*Stride+s-Pad, c] * w[r, s, c, k]
//
// where pixels outside of the image are 0. It is one product of matrices whose left side is never built: a table says
// where the pixels of each filter tap lie (Dukhan, "The Indirect Convolution Algorithm", 2019).
func ConvForward(g Conv, x, w, y []float32, ws *Workspace) {
	g.checkDense("ConvForward", "x", "w", "y", x, w, y)
	l, x := g.forward(x, ws)
	l.multiply(x, right{values: w, ld: g.K}, g.K, follow{}, y, ws)
}

// ConvBackwardData overwrites dx [N, H, W, C] by the gradient of ConvForward with respect to x, from the gradient dy
// [N, OH, OW, K] of its output and the filters w [R, S, C, K]:
//
//	dx[n, h, v, c] = sum_rsk dy[n, i, j, k] * w[r, s, c, k]   over i*Stride+r-Pad = h, j*Stride+s-Pad = v
//
// The pixels of dx fall into Stride x Stride classes; each class meets taps of its own and is a dense product.
func ConvBackwardData(g Conv, dy, w, dx []float32, ws *Workspace) {
	g.checkDense("ConvBackwardData", "dx", "w", "dy", dx, w, dy)
	for a := range min(g.Stride, g.H) {
		for b := range min(g.Stride, g.W) {
			l := g.backward(a, b, ws)
			l.multiply(dy, right{values: w, ld: g.K, transposed: true}, g.C, follow{}, dx, ws)
		}
	}
}

// ConvBackwardWeights overwrites dw [R, S, C, K] by the gradient of ConvForward with respect to w, from the images x
// [N, H, W, C] and the gradient dy [N, OH, OW, K] of its output:
//
//	dw[r, s, c, k] = sum_nij x[n, i*Stride+r-Pad, j*Stride+s-Pad, c] * dy[n, i, j, k]
//
// The sum runs over blocks of a few hundred pixels in order, each summed by itself.
func ConvBackwardWeights(g Conv, x, dy, dw []float32, ws *Workspace) {
	g.checkDense("ConvBackwardWeights", "x", "dw", "dy", x, dw, dy)
	l, x := g.forward(x, ws)
	l.gradient(x, nil, dy, g.K, dw, ws)
}

// forward describes the rows of the left matrix of a convolution: its output pixels. With few channels the image is
// copied to where zeros surround it, and the taps of a filter row, which lie beside each other, become one.
func (g Conv) forward(x []float32, ws *Workspace) (lattice, []float32) {
	oh, ow := g.Out()
	taps := grow(&ws.taps, g.R*g.S)[:0]
	if g.Pointwise() {
		taps = append(taps, tap{})
		return matrix(g.N*g.H*g.W, g.C, g.C, g.K, taps), x
	}
	l := lattice{
		images: g.N, rows: oh, cols: ow, step: g.Stride, inRows: g.H, inCols: g.W, inWidth: g.C, depth: g.C,
		outImage: oh * ow * g.K, outRow: ow * g.K, outCol: g.K,
	}
	if g.C < fewChannels && g.S > 1 {
		x = g.surround(x, ws)
		l.inRows, l.inCols, l.depth = g.H+2*g.Pad, g.W+2*g.Pad, g.S*g.C
		for r := range g.R {
			taps = append(taps, tap{row: r, filter: r * g.S * g.C * g.K})
		}
	} else {
		for r := range g.R {
			for s := range g.S {
				taps = append(taps, tap{row: r - g.Pad, col: s - g.Pad, filter: (r*g.S + s) * g.C * g.K})
			}
		}
	}
	l.inImage = l.inRows * l.inCols * g.C
	l.taps = taps
	return l, x
}

// fewChannels is where copying an image costs less than handling each filter tap by itself.
const fewChannels = 8

// surround copies images x [N, H, W, C] to [N, H+2Pad, W+2Pad, C] with zeros around them.
func (g Conv) surround(x []float32, ws *Workspace) []float32 {
	if g.Pad == 0 {
		return x
	}
	row, side := g.W*g.C, g.Pad*g.C
	wide := row + 2*side
	image := (g.H + 2*g.Pad) * wide
	out := grow(&ws.input, g.N*image)
	for n := range g.N {
		dst := out[n*image:][:image]
		clear(dst[:g.Pad*wide])
		for h := range g.H {
			line := dst[(g.Pad+h)*wide:][:wide]
			clear(line[:side])
			copy(line[side:side+row], x[(n*g.H+h)*row:])
			clear(line[side+row:])
		}
		clear(dst[(g.Pad+g.H)*wide:])
	}
	return out
}

// backward describes the pixels (h, v) of the input's gradient with h % Stride == a and v % Stride == b.
func (g Conv) backward(a, b int, ws *Workspace) lattice {
	oh, ow := g.Out()
	taps := grow(&ws.taps, g.R*g.S)[:0]
	for r := (a + g.Pad) % g.Stride; r < g.R; r += g.Stride {
		for s := (b + g.Pad) % g.Stride; s < g.S; s += g.Stride {
			taps = append(taps, tap{
				row: (a + g.Pad - r) / g.Stride, col: (b + g.Pad - s) / g.Stride, filter: (r*g.S + s) * g.C * g.K,
			})
		}
	}
	return lattice{
		images: g.N, rows: (g.H - a + g.Stride - 1) / g.Stride, cols: (g.W - b + g.Stride - 1) / g.Stride, step: 1,
		inRows: oh, inCols: ow, inWidth: g.K, inImage: oh * ow * g.K, depth: g.K, taps: taps,
		out: (a*g.W + b) * g.C, outImage: g.H * g.W * g.C, outRow: g.Stride * g.W * g.C, outCol: g.Stride * g.C,
	}
}
