package kernel

// GlobalAvgPoolForward overwrites y [n, c] by the mean over the pixels of images x [n, hw, c], taken in float64.
func GlobalAvgPoolForward(n, hw, c int, x, y []float32) {
	checkLen("GlobalAvgPoolForward", "x", len(x), n*hw*c)
	checkLen("GlobalAvgPoolForward", "y", len(y), n*c)
	for i := range n {
		sumScaled(hw, c, x[i*hw*c:], 1/float64(hw), y[i*c:])
	}
}

// GlobalAvgPoolBackward overwrites dx [n, hw, c] by the gradient of GlobalAvgPoolForward with respect to x, from the
// gradient dy [n, c] of its output: dx = dy / hw.
func GlobalAvgPoolBackward(n, hw, c int, dy, dx []float32) {
	checkLen("GlobalAvgPoolBackward", "dy", len(dy), n*c)
	checkLen("GlobalAvgPoolBackward", "dx", len(dx), n*hw*c)
	if hw == 0 {
		return
	}
	for i := range n {
		first := dx[i*hw*c:][:c]
		for j, v := range dy[i*c:][:c] {
			first[j] = v / float32(hw)
		}
		for p := 1; p < hw; p++ {
			copy(dx[(i*hw+p)*c:], first)
		}
	}
}

func (g Conv) checkPool(function string, x, y int) {
	g.check(function)
	if g.K != g.C || 2*g.Pad > g.R || 2*g.Pad > g.S {
		panic("kernel: " + function + ": pooling needs K = C and a padding of half the window at most")
	}
	h, v := g.Out()
	checkLen(function, "x or dx", x, g.N*g.H*g.W*g.C)
	checkLen(function, "y or dy", y, g.N*h*v*g.C)
}

// MaxPoolForward overwrites y [N, OH, OW, C] by the largest value of each channel in windows of R x S pixels of
// images x [N, H, W, C]. Pixels outside of the image do not count; NaN wins, as in PyTorch. argmax [N, OH, OW, C]
// receives the pixel h*W + v of each value, the first of equals, for MaxPoolBackward; it may be nil where no gradient
// is wanted.
func MaxPoolForward(g Conv, x, y []float32, argmax []int32) {
	g.checkPool("MaxPoolForward", len(x), len(y))
	oh, ow := g.Out()
	if argmax != nil {
		checkLen("MaxPoolForward", "argmax", len(argmax), g.N*oh*ow*g.C)
	}
	rows, cols := forwardAxis(g.H, g.R, g.Stride, g.Pad), forwardAxis(g.W, g.S, g.Stride, g.Pad)
	for n := range g.N {
		image := x[n*g.H*g.W*g.C:][:g.H*g.W*g.C]
		for i := range oh {
			h, _, taps := rows.span(i)
			for j := range ow {
				v, _, across := cols.span(j)
				at := ((n*oh+i)*ow + j) * g.C
				w := window{h*g.W + v, taps, across, g.W, g.C}
				if argmax == nil {
					w.max(image, y[at:][:g.C])
				} else {
					w.argmax(image, y[at:][:g.C], argmax[at:][:g.C])
				}
			}
		}
	}
}

// window is the part of an image of c channels, width pixels wide, that an output pixel sees.
type window struct{ pixel, rows, cols, width, c int }

func (w window) max(image, y []float32) {
	copy(y, image[w.pixel*w.c:])
	for i := range w.rows {
		for j := range w.cols {
			if i+j > 0 {
				maximum(image[(w.pixel+i*w.width+j)*w.c:][:len(y)], y)
			}
		}
	}
}

func (w window) argmax(image, y []float32, argmax []int32) {
	copy(y, image[w.pixel*w.c:])
	argmax = argmax[:len(y)]
	for k := range argmax {
		argmax[k] = int32(w.pixel)
	}
	for i := range w.rows {
		for j := range w.cols {
			if i+j > 0 {
				pixel := w.pixel + i*w.width + j
				maximumAt(int32(pixel), image[pixel*w.c:][:len(y)], y, argmax)
			}
		}
	}
}

// MaxPoolBackward overwrites dx [N, H, W, C] by the gradient of MaxPoolForward with respect to x, from the gradient dy
// [N, OH, OW, C] of its output: each value of dy is added where argmax says that its maximum came from.
func MaxPoolBackward(g Conv, dy []float32, argmax []int32, dx []float32) {
	g.checkPool("MaxPoolBackward", len(dx), len(dy))
	oh, ow := g.Out()
	checkLen("MaxPoolBackward", "argmax", len(argmax), g.N*oh*ow*g.C)
	in, out := g.H*g.W*g.C, oh*ow*g.C
	for n := range g.N {
		image := dx[n*in:][:in]
		clear(image)
		for p := 0; p < out; p += g.C {
			from := argmax[n*out+p:][:g.C]
			for k, d := range dy[n*out+p:][:g.C] {
				image[int(from[k])*g.C+k] += d
			}
		}
	}
}
