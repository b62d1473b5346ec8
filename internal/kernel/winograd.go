package kernel

import "fmt"

// winogradPoints is the number of products of a tile.
const winogradPoints = winogradTile * winogradTile

// winogradFilter is the matrix G of Lavin and Gray (2015), section 4.2: filters become G w G^T.
var winogradFilter = [winogradTile][3]float64{
	{1. / 4, 0, 0},
	{-1. / 6, -1. / 6, -1. / 6},
	{-1. / 6, 1. / 6, -1. / 6},
	{1. / 24, 1. / 12, 1. / 6},
	{1. / 24, -1. / 12, 1. / 6},
	{0, 0, 1},
}

// Winograd tells whether Winograd's algorithm can compute a convolution: a filter of 3 x 3 and stride 1.
func (g Conv) Winograd() bool { return g.R == 3 && g.S == 3 && g.Stride == 1 }

// What Winograd's algorithm costs beside its products, in products, as measured: the transforms of one channel of a tile
// in channels of the other side, and the reading of one transformed filter value from memory.
const (
	winogradTransform = 12
	winogradReading   = 16
)

// WinogradPays tells whether Winograd's algorithm can compute a convolution, and is expected to be faster than the
// direct one: with enough channels, a map of which tiles of 4 x 4 pixels do not waste too much, and enough tiles for four
// times as many filter values. g.N counts: it is the batch that will be run.
func (g Conv) WinogradPays() bool {
	if !g.Winograd() {
		return false
	}
	oh, ow := g.Out()
	tiles := g.N * ((oh + winogradStep - 1) / winogradStep) * ((ow + winogradStep - 1) / winogradStep)
	products := tiles * winogradPoints * (g.C*g.K + winogradTransform*(g.C+g.K))
	return products+(winogradPoints-9)*winogradReading*g.C*g.K < g.N*oh*ow*9*g.C*g.K
}

// WinogradLen is how many values PackWinograd keeps.
func WinogradLen(g Conv) int { return winogradPoints * PackedLen(g.C, g.K) }

// PackWinograd arranges the filters w [3, 3, C, K] of a convolution for Winograd's algorithm F(4x4, 3x3), which takes
// 36 products for 16 outputs where the direct one takes 144. They are transformed in float64. The relative error (root
// mean square) of its results to the direct ones is 1e-6 to 5e-6.
func PackWinograd(g Conv, w []float32) *Packed {
	g.check("PackWinograd")
	checkLen("PackWinograd", "w", len(w), g.R*g.S*g.C*g.K)
	if !g.Winograd() {
		panic(fmt.Sprintf("kernel: PackWinograd: it takes a filter of 3 x 3 and stride 1, not %+v", g))
	}
	one := PackedLen(g.C, g.K)
	p := &Packed{k: g.R * g.S * g.C, n: g.K, panels: make([]float32, WinogradLen(g)), winograd: true}
	for c := range g.C {
		for k := range g.K {
			var filter [3][3]float64
			for r := range filter {
				for s := range filter[r] {
					filter[r][s] = float64(w[((r*3+s)*g.C+c)*g.K+k])
				}
			}
			at := (k/tileCols*g.C+c)*tileCols + k%tileCols
			for i, v := range transformFilter(filter) {
				p.panels[i*one+at] = v
			}
		}
	}
	return p
}

// transformFilter computes G w G^T.
func transformFilter(w [3][3]float64) (points [winogradPoints]float32) {
	for i, a := range winogradFilter {
		var row [3]float64
		for s := range row {
			row[s] = float64(a[0]*w[0][s]) + float64(a[1]*w[1][s]) + float64(a[2]*w[2][s])
		}
		for j, b := range winogradFilter {
			points[i*winogradTile+j] = float32(float64(b[0]*row[0]) + float64(b[1]*row[1]) + float64(b[2]*row[2]))
		}
	}
	return points
}

// winograd is a convolution by Winograd's algorithm: tiles of the input are transformed, multiplied with the filters
// point by point as matrices [tiles, C] [C, K], and transformed back.
type winograd struct {
	Conv
	oh, ow       int
	across, tile int // tiles of a row, and of an image
	// Values from one of the 36 points to the next. One more cache line than the tiles need keeps points apart in the
	// cache, of which powers of two would use a small part.
	inStep, outStep int
}

// winogradBlock is how many tiles are multiplied at once; the filters are read once for each.
const winogradBlock = 16 * tileRows

func (g Conv) winograd() winograd {
	oh, ow := g.Out()
	across := (ow + winogradStep - 1) / winogradStep
	w := winograd{Conv: g, oh: oh, ow: ow, across: across, tile: across * ((oh + winogradStep - 1) / winogradStep)}
	block := min(winogradBlock, (g.N*w.tile+tileRows-1)/tileRows*tileRows)
	w.inStep, w.outStep = block*g.C+tileCols, block*g.K+tileCols
	return w
}

func (w winograd) run(x, panels []float32, e follow, y []float32, ws *Workspace) {
	in, out := grow(&ws.transformed, winogradPoints*w.inStep), grow(&ws.products, winogradPoints*w.outStep)
	if e.shift == nil {
		e.shift = ws.zero(w.K)
	}
	for from := 0; from < w.N*w.tile; from += winogradBlock {
		count := min(winogradBlock, w.N*w.tile-from)
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

// input transforms the pixels that a tile reads. Tiles that reach over an edge are copied to where zeros surround them.
func (w winograd) input(t int, x, v []float32, ws *Workspace) {
	n, i, j := w.place(t)
	i, j = i-w.Pad, j-w.Pad
	scratch := grow(&ws.scratch, winogradPoints*8)
	image := x[n*w.H*w.W*w.C:][:w.H*w.W*w.C]
	if i >= 0 && j >= 0 && i+winogradTile <= w.H && j+winogradTile <= w.W {
		winogradInput(w.C, image[(i*w.W+j)*w.C:], w.W*w.C, v, w.inStep, scratch)
		return
	}
	patch := grow(&ws.patch, winogradPoints*max(w.C, w.K))
	left, right := min(max(-j, 0), winogradTile), max(min(w.W-j, winogradTile), 0)
	for r := range winogradTile {
		row := patch[r*winogradTile*w.C:][:winogradTile*w.C]
		if h := i + r; h < 0 || h >= w.H || left >= right {
			clear(row)
			continue
		}
		clear(row[:left*w.C])
		copy(row[left*w.C:right*w.C], image[((i+r)*w.W+j+left)*w.C:])
		clear(row[right*w.C:])
	}
	winogradInput(w.C, patch, winogradTile*w.C, v, w.inStep, scratch)
}

// multiply computes, for each point, the product of its tiles with its filters.
func (w winograd) multiply(count int, in, panels, out []float32, ws *Workspace) {
	tiles := (count + tileRows - 1) / tileRows
	offsets, outputs := grow(&ws.offsets, tiles*tileRows), grow(&ws.outputs, tiles*tileRows)
	for t := range offsets {
		offsets[t], outputs[t] = t*w.C, t*w.K
		if t >= count {
			offsets[t], outputs[t] = -1, -1
		}
	}
	zero, waste := ws.zero(max(w.C, w.K, tileCols)), ws.waste()
	one := PackedLen(w.C, w.K)
	for p := range winogradPoints {
		for j := 0; j < w.K; j += tileCols {
			multiplyRows(tiles, 1, w.C, in[p*w.inStep:], zero, offsets, panels[p*one+j*w.C:], zero, nil,
				out[p*w.outStep+j:], waste, outputs, min(tileCols, w.K-j), Identity, nil)
		}
	}
}

// output transforms a tile of products to the pixels that lie within the map.
func (w winograd) output(t int, m []float32, e follow, y []float32, ws *Workspace) {
	n, i, j := w.place(t)
	row, at := w.ow*w.K, ((n*w.oh+i)*w.ow+j)*w.K
	scratch := grow(&ws.scratch, winogradPoints*8)
	h, v := min(winogradStep, w.oh-i), min(winogradStep, w.ow-j)*w.K
	if h == winogradStep && v == winogradStep*w.K {
		var old []float32
		if e.old != nil {
			old = e.old[at:]
		}
		winogradOutput(w.K, m, w.outStep, e.shift, old, y[at:], row, e.act, scratch)
		return
	}
	const wide = winogradStep
	patch := grow(&ws.patch, winogradPoints*max(w.C, w.K))
	var old []float32
	if e.old != nil {
		old = patch
		clear(patch[:wide*wide*w.K])
		for r := range h {
			copy(patch[r*wide*w.K:][:v], e.old[at+r*row:])
		}
	}
	winogradOutput(w.K, m, w.outStep, e.shift, old, patch, wide*w.K, e.act, scratch)
	for r := range h {
		copy(y[at+r*row:][:v], patch[r*wide*w.K:])
	}
}
