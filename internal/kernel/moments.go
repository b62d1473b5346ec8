package kernel

import "fmt"

// Moments are the sums over the rows of a tensor [rows, c] from which batch norm takes its statistics. A convolution
// gathers them while what it writes is still in a near cache, so that batch norm reads its input once. The zero value is
// ready; it is reused without allocation, and belongs to one goroutine at a time.
type Moments struct {
	c, rows int
	strips  []strip
}

// begin starts the sums of c channels.
func (m *Moments) begin(c int) {
	clear(grow(&m.strips, (c+stripWidth-1)/stripWidth))
	m.c, m.rows = c, 0
}

// add adds rows of y. The first one is what all others are compared with.
func (m *Moments) add(y []float32) {
	rows := len(y) / m.c
	if m.rows == 0 && rows > 0 {
		for i := range m.strips {
			copy(m.strips[i].mean[:], y[i*stripWidth:m.c])
		}
	}
	m.rows += rows
	block := callRows(m.c)
	for r := 0; r < rows; r += block {
		normSums(min(block, rows-r), m.c, m.c, y[r*m.c:], m.strips)
	}
}

// momentsRows is how many rows are worth a call.
const momentsRows = 16 * groupRows

// upTo adds the rows of y that were not added yet, in whole groups of rows: sums are the same however often it is
// called before all rows are there.
func (m *Moments) upTo(y []float32, rows, all int) {
	if rows < all && rows-m.rows < momentsRows {
		return
	}
	if rows < all {
		rows -= rows % groupRows
	}
	m.add(y[m.rows*m.c : rows*m.c])
}

// Norm is a batch norm with its activation, ready to be applied: y = act((x - mean) * scale + shift). The functions that
// take one apply it, as they read, to an input that was never written: what a layer leaves in memory is then its
// convolution's output alone. The zero value is for Moments.Norm to fill; a Norm is read by one or more goroutines, and
// written by one.
type Norm struct {
	c      int
	act    Activation
	strips []strip
}

// Norm takes the statistics of the rows whose moments were gathered, as BatchNormForward does: it overwrites mean,
// invStd and variance [c], and n by the norm with gamma and beta [c]. Without rows it leaves the statistics alone.
func (m *Moments) Norm(gamma, beta []float32, eps float32, act Activation, mean, invStd, variance []float32, n *Norm) {
	const function = "Norm"
	act.check(function)
	for _, v := range [...][]float32{gamma, beta, mean, invStd, variance} {
		checkLen(function, "a parameter or statistic", len(v), m.c)
	}
	n.c, n.act = m.c, act
	copy(grow(&n.strips, len(m.strips)), m.strips)
	if m.rows == 0 {
		return
	}
	statistics(n.strips, m.rows, 0, m.c, gamma, beta, eps, mean, invStd, variance)
}

// Apply computes y = act((x - mean) * scale + shift) for rows of x. y may be x.
func (n *Norm) Apply(x, y []float32) {
	checkLen("Apply", "y", len(y), len(x))
	rows, block := len(x)/n.c, callRows(n.c)
	for r := 0; r < rows; r += block {
		normApply(min(block, rows-r), n.c, n.c, x[r*n.c:], n.strips, n.act, y[r*n.c:])
	}
}

// block returns a copy of x with the norm applied.
func (n *Norm) block(x []float32, ws *Workspace) []float32 {
	y := grow(&ws.normed, len(x))
	n.Apply(x, y)
	return y
}

// check panics when a norm, which may be nil, is not one of c channels.
func (n *Norm) check(function string, c int) {
	if n != nil && n.c != c {
		panic(fmt.Sprintf("kernel: %s: a norm of %d channels for %d", function, n.c, c))
	}
}

// Pointwise tells whether each output pixel sees the one input pixel at its place.
func (g Conv) Pointwise() bool { return g.R == 1 && g.S == 1 && g.Stride == 1 && g.Pad == 0 }

// normed returns what a convolution reads: x itself and the norm where it is applied block by block, or else all of x
// with the norm applied.
func (g Conv) normed(x []float32, in *Norm, ws *Workspace) ([]float32, *Norm) {
	if in == nil || g.Pointwise() {
		return x, in
	}
	return in.block(x[:g.N*g.H*g.W*g.C], ws), nil
}

// ConvForwardNorm is ConvForward of in(x), and overwrites m by the sums over the pixels of y. in and m may be nil. The
// results are those of Apply and ConvForward, bit for bit; only pointwise convolutions save the memory of in(x).
func ConvForwardNorm(g Conv, x []float32, in *Norm, w, y []float32, m *Moments, ws *Workspace) {
	const function = "ConvForwardNorm"
	g.checkDense(function, "x", "w", "y", x, w, y)
	in.check(function, g.C)
	x, in = g.normed(x, in, ws)
	l, x := g.forward(x, ws)
	e := follow{in: in, rows: max(momentsValues/g.K/momentsRows*momentsRows, momentsRows)}
	pixels := l.images * l.rows * l.cols
	gather := m != nil && g.K <= l.wide()
	if m != nil {
		m.begin(g.K)
	}
	if gather {
		e.then = func(first, rows int) { m.add(y[first*g.K:][:rows*g.K]) }
	}
	l.multiply(x, right{values: w, ld: g.K}, g.K, e, y, ws)
	if m != nil && !gather {
		m.add(y[:pixels*g.K])
	}
}

// momentsValues is how many values of an output are written before they are summed.
const momentsValues = 1 << 15

// ConvBackwardWeightsNorm is ConvBackwardWeights of in(x). in may be nil.
func ConvBackwardWeightsNorm(g Conv, x []float32, in *Norm, dy, dw []float32, ws *Workspace) {
	const function = "ConvBackwardWeightsNorm"
	g.checkDense(function, "x", "dw", "dy", x, dw, dy)
	in.check(function, g.C)
	x, in = g.normed(x, in, ws)
	l, x := g.forward(x, ws)
	l.gradient(x, in, dy, g.K, dw, ws)
}

// DepthwiseForwardNorm is DepthwiseForward of in(x), and overwrites m by the sums over the pixels of y. in and m may be
// nil. The results are those of Apply, DepthwiseForward and BatchNormForward, bit for bit.
func DepthwiseForwardNorm(g Conv, x []float32, in *Norm, w, y []float32, m *Moments, ws *Workspace) {
	const function = "DepthwiseForwardNorm"
	g.checkDepthwise(function, "x", "w", "y", x, w, y)
	in.check(function, g.C)
	d := g.depthwise()
	d.in = in
	if m != nil {
		m.begin(g.C)
	}
	if in != nil && g.banded() {
		g.bandForward(x, in, w, y, m, ws)
		return
	}
	if m == nil {
		d.run(x, w, y, nil, ws)
		return
	}
	d.run(x, w, y, func(pixel int) { m.upTo(y, pixel+d.outCols, d.images*d.outRows*d.outCols) }, ws)
}

// DepthwiseBackwardWeightsNorm is DepthwiseBackwardWeights of in(x). in may be nil.
func DepthwiseBackwardWeightsNorm(g Conv, x []float32, in *Norm, dy, dw []float32, ws *Workspace) {
	const function = "DepthwiseBackwardWeightsNorm"
	g.checkDepthwise(function, "x", "dw", "dy", x, dw, dy)
	in.check(function, g.C)
	d := g.depthwise()
	d.in = in
	n := g.R * g.S * g.C
	d.gradient(x, dy, dw[:n], grow(&ws.sums, n), ws)
}
