package kernel

import "fmt"

// winogradForm is a variant of Winograd's algorithm: tiles of reads x reads pixels are transformed to as many values,
// products of them at points give winogradStep x winogradStep outputs.
type winogradForm struct {
	reads  int
	filter [][3]float64 // F, which makes filters of 3 x 3 to values F w F^T
	points []winogradPoint
}

// winogradPoint is a product: it sums over rows x cols values of a tile, the first of which has a number, and over
// channels. Before it, other points have so many values.
type winogradPoint struct{ first, rows, cols, before int }

// winogradForms are the variants by stride.
//
// With stride 1 it is F(4x4, 3x3) of Lavin and Gray (2015), section 4.2: each value has a product of its own.
//
// With stride 2 the filter's first and last row meet even pixels, and the one between odd pixels: that is F(4, 2) at the
// points 0, 1, -1, 2 and infinity and, for the odd pixels, F(4, 1) at those but the last, where it gives 0. Both go
// through the same output matrix, so they are summed as products: values are the even and the odd one of each point in
// turn. 16 outputs take 81 products for 144.
var winogradForms = [3]winogradForm{
	1: newWinogradForm(1, [][3]float64{
		{1. / 4, 0, 0},
		{-1. / 6, -1. / 6, -1. / 6},
		{-1. / 6, 1. / 6, -1. / 6},
		{1. / 24, 1. / 12, 1. / 6},
		{1. / 24, -1. / 12, 1. / 6},
		{0, 0, 1},
	}),
	2: newWinogradForm(2, [][3]float64{
		{1. / 2, 0, 0},
		{0, 1. / 2, 0},
		{-1. / 2, 0, -1. / 2},
		{0, -1. / 2, 0},
		{-1. / 6, 0, 1. / 6},
		{0, -1. / 6, 0},
		{1. / 6, 0, 1. / 3},
		{0, 1. / 6, 0},
		{0, 0, 1},
	}),
}

// newWinogradForm groups the values, which are as many across as the filter's matrix has rows, by points.
func newWinogradForm(stride int, filter [][3]float64) winogradForm {
	f := winogradForm{reads: len(filter), filter: filter}
	before := 0
	for i := 0; i < f.reads; i += stride {
		for j := 0; j < f.reads; j += stride {
			p := winogradPoint{i*f.reads + j, min(stride, f.reads-i), min(stride, f.reads-j), before}
			before += p.rows * p.cols
			f.points = append(f.points, p)
		}
	}
	return f
}

// transform computes F w F^T.
func (f *winogradForm) transform(w [3][3]float64, values []float32) {
	for i, a := range f.filter {
		var row [3]float64
		for s := range row {
			row[s] = float64(a[0]*w[0][s]) + float64(a[1]*w[1][s]) + float64(a[2]*w[2][s])
		}
		for j, b := range f.filter {
			values[i*f.reads+j] = float32(float64(b[0]*row[0]) + float64(b[1]*row[1]) + float64(b[2]*row[2]))
		}
	}
}

// Winograd tells whether Winograd's algorithm can compute a convolution: a filter of 3 x 3 and stride 1 or 2.
func (g Conv) Winograd() bool { return g.R == 3 && g.S == 3 && g.Stride <= 2 }

// What Winograd's algorithm costs beside its products, in products, as measured: the transforms of one channel of a tile
// in channels of the other side, and the reading of one transformed filter value from memory.
const (
	winogradTransform = 12
	winogradReading   = 16
)

// WinogradPays tells whether Winograd's algorithm can compute a convolution, and is expected to be faster than the
// direct one: with enough channels, a map of which tiles of 4 x 4 pixels do not waste too much, and enough tiles for the
// filter values, of which there are four or, with stride 2, nine times as many. g.N counts: it is the batch that will be
// run.
func (g Conv) WinogradPays() bool {
	if !g.Winograd() {
		return false
	}
	f := &winogradForms[g.Stride]
	oh, ow := g.Out()
	tiles := g.N * ((oh + winogradStep - 1) / winogradStep) * ((ow + winogradStep - 1) / winogradStep)
	values := f.reads * f.reads
	products := tiles * (values*g.C*g.K + winogradTransform*(values*g.C+len(f.points)*g.K))
	return products+(values-9)*winogradReading*g.C*g.K < g.N*oh*ow*9*g.C*g.K
}

// WinogradLen is how many values PackWinograd keeps.
func WinogradLen(g Conv) int {
	reads := winogradForms[g.Stride].reads
	return reads * reads * PackedLen(g.C, g.K)
}

// PackWinograd arranges the filters w [3, 3, C, K] of a convolution for Winograd's algorithm, which for 16 outputs takes
// 36 products at stride 1 and 81 at stride 2, where the direct one takes 144. They are transformed in float64. The
// relative error (root mean square) of its results to the direct ones is 1e-6 to 5e-6.
func PackWinograd(g Conv, w []float32) *Packed {
	g.check("PackWinograd")
	checkLen("PackWinograd", "w", len(w), g.R*g.S*g.C*g.K)
	if !g.Winograd() {
		panic(fmt.Sprintf("kernel: PackWinograd: it takes a filter of 3 x 3 and stride 1 or 2, not %+v", g))
	}
	f, one := &winogradForms[g.Stride], PackedLen(g.C, g.K)
	p := &Packed{k: g.R * g.S * g.C, n: g.K, panels: make([]float32, WinogradLen(g)), winograd: g.Stride}
	values := make([]float32, f.reads*f.reads)
	for c := range g.C {
		for k := range g.K {
			var filter [3][3]float64
			for r := range filter {
				for s := range filter[r] {
					filter[r][s] = float64(w[((r*3+s)*g.C+c)*g.K+k])
				}
			}
			f.transform(filter, values)
			for _, q := range f.points {
				for t := range q.rows * q.cols {
					row := k/tileCols*q.rows*q.cols*g.C + t*g.C + c
					p.panels[q.before*one+row*tileCols+k%tileCols] = values[q.first+t/q.cols*f.reads+t%q.cols]
				}
			}
		}
	}
	return p
}

// winograd is a convolution by Winograd's algorithm: tiles of the input are transformed, multiplied with the filters
// point by point as matrices [tiles, C] [C, K] (of C for each value of the point), and transformed back.
type winograd struct {
	Conv
	*winogradForm
	oh, ow       int
	across, tile int // tiles of a row, and of an image
	// Values from one value of a tile to the next, and from one point to the next. One more cache line than the tiles
	// need keeps them apart in the cache, of which powers of two would use a small part.
	inStep, outStep int
	block           int // tiles that are multiplied at once
}

// winogradBlock is how many tiles are multiplied at once, of the smaller ones; the filters are read once for each.
const winogradBlock = 16 * tileRows

func (g Conv) winograd() winograd {
	oh, ow := g.Out()
	across := (ow + winogradStep - 1) / winogradStep
	w := winograd{
		Conv: g, winogradForm: &winogradForms[g.Stride],
		oh: oh, ow: ow, across: across, tile: across * ((oh + winogradStep - 1) / winogradStep),
	}
	w.block = min(winogradBlock/g.Stride, (g.N*w.tile+tileRows-1)/tileRows*tileRows)
	w.inStep, w.outStep = w.block*g.C+tileCols, w.block*g.K+tileCols
	return w
}

func (w winograd) run(x, panels []float32, e follow, y []float32, ws *Workspace) {
	in, out := grow(&ws.transformed, w.reads*w.reads*w.inStep), grow(&ws.products, len(w.points)*w.outStep)
	if e.shift == nil {
		e.shift = ws.zero(w.K)
	}
	for from := 0; from < w.N*w.tile; from += w.block {
		count := min(w.block, w.N*w.tile-from)
		for t := range count {
			w.input(from+t, x, in[t*w.C:], ws)
		}
		w.multiply(count, in, panels, out, ws)
		for t := range count {
			w.output(from+t, out[t*w.K:], e, y, ws)
		}
	}
}

// place splits the number of a tile into its image and its first output pixel.
func (w winograd) place(t int) (n, i, j int) {
	at := t % w.tile
	return t / w.tile, at / w.across * winogradStep, at % w.across * winogradStep
}

// scratch is what transforms keep meanwhile.
func (w winograd) scratch(ws *Workspace) []float32 {
	return grow(&ws.scratch, w.reads*w.reads*tileCols)
}

// input transforms the pixels that a tile reads; those outside of the image are zeros.
func (w winograd) input(t int, x, v []float32, ws *Workspace) {
	n, i, j := w.place(t)
	i, j = i*w.Stride-w.Pad, j*w.Stride-w.Pad
	image, pixels := x[n*w.H*w.W*w.C:][:w.H*w.W*w.C], []int(nil)
	if i >= 0 && j >= 0 && i+w.reads <= w.H && j+w.reads <= w.W {
		image = image[(i*w.W+j)*w.C:]
	} else {
		pixels = w.pixels(i, j, grow(&ws.pixels, w.reads*w.reads))
	}
	zero := ws.zero(w.C)
	if w.Stride == 2 {
		winogradInput2(w.C, image, w.W*w.C, zero, pixels, v, w.inStep, w.scratch(ws))
	} else {
		winogradInput(w.C, image, w.W*w.C, zero, pixels, v, w.inStep, w.scratch(ws))
	}
}

// pixels writes where the pixels of a tile lie in an image, the first of which is (i, j): -1 outside.
func (w winograd) pixels(i, j int, offsets []int) []int {
	for r := range w.reads {
		row := offsets[r*w.reads:][:w.reads]
		for s := range row {
			row[s] = -1
			if h, v := i+r, j+s; uint(h) < uint(w.H) && uint(v) < uint(w.W) {
				row[s] = (h*w.W + v) * w.C
			}
		}
	}
	return offsets
}

// multiply computes, for each point, the product of its tiles with its filters, of which the next are fetched meanwhile.
func (w winograd) multiply(count int, in, panels, out []float32, ws *Workspace) {
	tiles := (count + tileRows - 1) / tileRows
	outputs := grow(&ws.outputs, tiles*tileRows)
	for t := range outputs {
		if outputs[t] = t * w.K; t >= count {
			outputs[t] = -1
		}
	}
	zero, waste := ws.zero(max(w.C, w.K, maxPanels*tileCols)), ws.waste()
	one, step := PackedLen(w.C, w.K), productPanels()*tileCols
	var rows, cols int
	for i, p := range w.points {
		taps := p.rows * p.cols
		if p.rows != rows || p.cols != cols {
			rows, cols = p.rows, p.cols
			w.table(count, tiles, p, ws)
		}
		for j := 0; j < w.K; j += step {
			cols := min(step, w.K-j)
			at, next := p.before*one+j*taps*w.C, p.before*one+(j+panelsOf(cols)*tileCols)*taps*w.C
			ahead := panels[next:min(next+taps*w.C*step, len(panels))]
			multiplyRows(tiles, taps, w.C, in[p.first*w.inStep:], zero, ws.offsets, panels[at:], zero, nil,
				out[i*w.outStep+j:], waste, outputs, cols, Identity, ahead)
		}
	}
}

// table writes where the values of a point lie, [tile][value][row of tile], from its first one.
func (w winograd) table(count, tiles int, p winogradPoint, ws *Workspace) {
	taps := p.rows * p.cols
	offsets := grow(&ws.offsets, tiles*taps*tileRows)
	for i := range offsets {
		t := i/(taps*tileRows)*tileRows + i%tileRows
		tap := i / tileRows % taps
		if offsets[i] = (tap/p.cols*w.reads+tap%p.cols)*w.inStep + t*w.C; t >= count {
			offsets[i] = -1
		}
	}
}

// output transforms a tile of products to the pixels that lie within the map.
func (w winograd) output(t int, m []float32, e follow, y []float32, ws *Workspace) {
	n, i, j := w.place(t)
	row, at := w.ow*w.K, ((n*w.oh+i)*w.ow+j)*w.K
	h, v := min(winogradStep, w.oh-i), min(winogradStep, w.ow-j)*w.K
	if h == winogradStep && v == winogradStep*w.K {
		var old []float32
		if e.old != nil {
			old = e.old[at:]
		}
		w.transformBack(m, e, old, y[at:], row, ws)
		return
	}
	const wide = winogradStep
	patch := grow(&ws.patch, wide*wide*w.K)
	var old []float32
	if e.old != nil {
		old = patch
		clear(patch[:wide*wide*w.K])
		for r := range h {
			copy(patch[r*wide*w.K:][:v], e.old[at+r*row:])
		}
	}
	w.transformBack(m, e, old, patch, wide*w.K, ws)
	for r := range h {
		copy(y[at+r*row:][:v], patch[r*wide*w.K:])
	}
}

func (w winograd) transformBack(m []float32, e follow, old, y []float32, row int, ws *Workspace) {
	if w.Stride == 2 {
		winogradOutput2(w.K, m, w.outStep, e.shift, old, y, row, e.act, w.scratch(ws))
	} else {
		winogradOutput(w.K, m, w.outStep, e.shift, old, y, row, e.act, w.scratch(ws))
	}
}
