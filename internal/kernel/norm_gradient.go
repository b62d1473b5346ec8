package kernel

import "fmt"

// NormGradient gathers, while a convolution's data gradient is written, what the batch norm before the convolution needs
// of it, so that the norm's backward pass reads it once. The zero value is ready; it is reused without allocation.
type NormGradient struct {
	c, done int
	act     Activation
	strips  []strip
	x, dz   []float32
}

// begin starts the sums of a norm whose input was x; dz is where the gradient of its output appears.
func (s *NormGradient) begin(function string, n *Norm, rows, c int, x, dz []float32) {
	if n == nil || n.c != c {
		panic(fmt.Sprintf("kernel: %s: no norm of %d channels", function, c))
	}
	checkLen(function, "x", len(x), rows*c)
	copy(grow(&s.strips, len(n.strips)), n.strips)
	for i := range s.strips {
		clear(s.strips[i].sums[:])
		clear(s.strips[i].products[:])
	}
	s.c, s.act, s.done = c, n.act, 0
	s.x, s.dz = x[:rows*c], dz[:rows*c]
}

// add turns the gradient of rows first..first+rows into that of the activation's input, and adds it to the sums.
func (s *NormGradient) add(first, rows int) {
	for r := first; r < first+rows; r += stripRows {
		for i := range s.strips {
			from := r*s.c + i*stripWidth
			normBackwardSums(min(stripRows, first+rows-r), min(stripWidth, s.c-i*stripWidth), s.c,
				s.x[from:], s.dz[from:], &s.strips[i], s.act, s.dz[from:])
		}
	}
}

// upTo adds the rows before `to` that were not added yet, in whole blocks, as Moments.upTo does.
func (s *NormGradient) upTo(to int) {
	if all := len(s.dz) / s.c; to < all {
		if to-s.done < momentsRows {
			return
		}
		to -= to % stripRows
	}
	s.add(s.done, to-s.done)
	s.done = to
}

// ConvBackwardDataNorm is ConvBackwardData where the convolution's input was n(x), x [N, H, W, C]: it overwrites dz by
// the gradient of what n gives to its activation, and s by its sums. BatchNormBackwardGathered follows.
func ConvBackwardDataNorm(g Conv, dy, w []float32, n *Norm, x, dz []float32, s *NormGradient, ws *Workspace) {
	const function = "ConvBackwardDataNorm"
	g.checkDense(function, "dz", "w", "dy", dz, w, dy)
	pixels := g.N * g.H * g.W
	s.begin(function, n, pixels, g.C, x, dz)
	l := g.backward(0, 0, ws)
	if g.Stride > 1 || g.C > l.wide() {
		ConvBackwardData(g, dy, w, dz, ws)
		s.add(0, pixels)
		return
	}
	e := follow{rows: max(momentsValues/g.C/momentsRows*momentsRows, momentsRows), then: s.add}
	l.multiply(dy, right{values: w, ld: g.K, transposed: true}, g.C, e, dz, ws)
}

// DepthwiseBackwardDataNorm is DepthwiseBackwardData where the convolution's input was n(x), x [N, H, W, C]: it
// overwrites dz by the gradient of what n gives to its activation, and s by its sums. BatchNormBackwardGathered follows.
// Together they give the bits of DepthwiseBackwardData and BatchNormBackward.
func DepthwiseBackwardDataNorm(g Conv, dy, w []float32, n *Norm, x, dz []float32, s *NormGradient, ws *Workspace) {
	const function = "DepthwiseBackwardDataNorm"
	g.checkDepthwise(function, "dz", "w", "dy", dz, w, dy)
	s.begin(function, n, g.N*g.H*g.W, g.C, x, dz)
	d := g.depthwiseBackward()
	d.run(dy, w, dz, func(pixel int) { s.upTo(pixel + d.outCols) }, ws)
}

// BatchNormBackwardGathered computes what BatchNormBackward does, from gathered sums: it overwrites dx, the gradient of
// the norm's input, which may be the dz of the function that gathered, and dgamma and dbeta [c]. That dz and x must be as
// they were; invStd [c] is what the norm's statistics gave.
func BatchNormBackwardGathered(s *NormGradient, invStd, dx, dgamma, dbeta []float32) {
	const function = "BatchNormBackwardGathered"
	checkLen(function, "dx", len(dx), len(s.dz))
	for _, v := range [...][]float32{invStd, dgamma, dbeta} {
		checkLen(function, "a statistic or gradient", len(v), s.c)
	}
	rows := len(s.dz) / max(s.c, 1)
	for i := range s.strips {
		c0 := i * stripWidth
		n := min(stripWidth, s.c-c0)
		p := s.strips[i]
		p.gradients(rows, c0, n, invStd, dgamma, dbeta)
		for r := 0; r < rows; r += stripRows {
			at := r*s.c + c0
			normBackwardApply(min(stripRows, rows-r), n, s.c, s.x[at:], s.dz[at:], &p, dx[at:])
		}
	}
}
