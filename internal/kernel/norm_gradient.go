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
		s.strips[i].sums, s.strips[i].products = [stripWidth]float64{}, [stripWidth]float64{}
	}
	s.c, s.act, s.done = c, n.act, 0
	s.x, s.dz = x[:rows*c], dz[:rows*c]
}

// add turns the gradient of rows first..first+rows into that of the activation's input, and adds it to the sums. The
// gradient was written just now; x comes from far, and is fetched as it lies there.
func (s *NormGradient) add(first, rows int) { s.addFrom(s.dz, first, rows) }

// addFrom is add with the gradient in dy.
func (s *NormGradient) addFrom(dy []float32, first, rows int) {
	block := callRows(s.c)
	for r := first; r < first+rows; r += block {
		from, n := r*s.c, min(block, first+rows-r)
		touch(s.x[from:][:n*s.c])
		normBackwardSums(n, s.c, s.c, s.x[from:], dy[from:], s.strips, s.act, s.dz[from:])
	}
}

// upTo adds the rows before `to` that were not added yet, in whole blocks, as Moments.upTo does.
func (s *NormGradient) upTo(to int) {
	if all := len(s.dz) / s.c; to < all {
		if to-s.done < momentsRows {
			return
		}
		to -= to % groupRows
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

// Gather takes the sums of a batch norm's backward pass where no convolution gathered them: n was applied to x, whose
// output's gradient is dy. dz, which may be dy, is overwritten by the gradient of what n gives to its activation; without
// an activation it must be dy, and is left alone.
func (s *NormGradient) Gather(n *Norm, x, dy, dz []float32) {
	rows := len(dy) / n.c
	if n.act == Identity && rows > 0 && &dz[0] != &dy[0] {
		panic("kernel: Gather: without an activation dz is dy")
	}
	checkLen("Gather", "dz", len(dz), len(dy))
	s.begin("Gather", n, rows, n.c, x, dz)
	s.addFrom(dy, 0, rows)
}

// Finish turns the sums into the gradients dgamma and dbeta [c] of the norm's parameters. invStd [c] is what the norm's
// statistics gave. The gradient of the norm's input is then known pixel by pixel, from x and dz, which must stay as they
// are: Apply writes it, ConvBackward and DepthwiseBackward make it as they read.
func (s *NormGradient) Finish(invStd, dgamma, dbeta []float32) {
	for _, v := range [...][]float32{invStd, dgamma, dbeta} {
		checkLen("Finish", "a statistic or gradient", len(v), s.c)
	}
	gradients(s.strips, len(s.dz)/max(s.c, 1), 0, s.c, invStd, dgamma, dbeta)
}

// Apply overwrites dx, which may be dz, by the gradient of the norm's input.
func (s *NormGradient) Apply(dx []float32) {
	checkLen("Apply", "dx", len(dx), len(s.dz))
	s.rows(0, len(s.dz)/max(s.c, 1), dx)
}

// rows computes some rows of the gradient of the norm's input.
func (s *NormGradient) rows(first, rows int, dx []float32) {
	block := callRows(s.c)
	for r := 0; r < rows; r += block {
		at := (first + r) * s.c
		normBackwardApply(min(block, rows-r), s.c, s.c, s.x[at:], s.dz[at:], s.strips, dx[r*s.c:])
	}
}

// BatchNormBackwardGathered computes what BatchNormBackward does, from gathered sums: it overwrites dx, the gradient of
// the norm's input, which may be the dz of the function that gathered, and dgamma and dbeta [c]. That dz and x must be as
// they were; invStd [c] is what the norm's statistics gave.
func BatchNormBackwardGathered(s *NormGradient, invStd, dx, dgamma, dbeta []float32) {
	s.Finish(invStd, dgamma, dbeta)
	s.Apply(dx)
}
