package kernel

// The left matrix of every product here is indirect: row m is the concatenation, over taps, of `depth` consecutive
// values of an input, and a table says where each piece lies. A plain matrix has one tap and one row an "image".

// The tile of the micro-kernels: rows times columns of the product that are held in registers.
const (
	tileRows = 6
	tileCols = 16
)

// maxPanels is how many panels of the right matrix, of tileCols columns each, a micro-kernel may be given.
const maxPanels = 2

const (
	packedValues = 1 << 18 // values of packed right matrix that stay in the second-level cache
	blockValues  = 1 << 16 // values of left matrix that a pass over the packed columns reads again and again
	tableEntries = 1 << 12 // entries of an offset table
	depthBlock   = 1 << 10 // rows of the right matrix that are summed without touching the product in memory
	pixelBlock   = 384     // the same for weight gradients
)

// tap is one piece of a row: the input pixel relative to the row's own, and the first weight that belongs to it.
type tap struct{ row, col, filter int }

// lattice is a grid of output pixels over a grid of input pixels. Output pixel (i, j) reads, for each tap, depth values
// from input pixel (i*step + tap.row, j*step + tap.col), which is all zeros when it lies outside.
type lattice struct {
	images, rows, cols int // output pixels
	step               int
	inRows, inCols     int // input pixels
	inWidth            int // values from an input pixel to the next
	inImage            int // values from an input image to the next
	depth              int
	taps               []tap
	// Values from the output's start to the first pixel, and from an image, row, column to the next.
	out, outImage, outRow, outCol int
}

// matrix describes a plain matrix of m rows of k values that lie lda apart, and a product whose rows lie ldc apart.
func matrix(m, k, lda, ldc int, taps []tap) lattice {
	return lattice{
		images: m, rows: 1, cols: 1, step: 1, inRows: 1, inCols: 1, inWidth: lda, inImage: lda, depth: k, taps: taps,
		outImage: ldc, outRow: ldc, outCol: ldc,
	}
}

// block is a set of rows that are computed together: the rows from..from+count of a group of images.
type block struct{ images, from, count int }

// blocking returns how many images make a group, and how many rows of a group make a block.
func (l *lattice) blocking(rows int) (images, count int) {
	one := l.rows * l.cols
	if one > rows {
		return 1, rows
	}
	images = min(rows/one, max(l.images, 1))
	return images, images * one
}

// table writes where the rows of b lie: offsets [tile][tap][row of tile] relative to the first image of the group, -1
// for zeros, and outputs [tile][row of tile], -1 for rows that only fill the last tile.
func (l *lattice) table(b block, ws *Workspace) {
	tiles := (b.count + tileRows - 1) / tileRows
	taps := len(l.taps)
	offsets, outputs := grow(&ws.offsets, tiles*taps*tileRows), grow(&ws.outputs, tiles*tileRows)
	n, i, j := l.pixel(b.from)
	for m := range tiles * tileRows {
		row := offsets[min(m/tileRows*taps*tileRows+m%tileRows, len(offsets)):] // none without taps
		if m >= b.count {
			for t := range taps {
				row[t*tileRows] = -1
			}
			outputs[m] = -1
			continue
		}
		image := n * l.inImage
		for t, p := range l.taps {
			h, v := i*l.step+p.row, j*l.step+p.col
			at := -1
			if uint(h) < uint(l.inRows) && uint(v) < uint(l.inCols) {
				at = image + (h*l.inCols+v)*l.inWidth
			}
			row[t*tileRows] = at
		}
		outputs[m] = n*l.outImage + i*l.outRow + j*l.outCol
		if j++; j == l.cols {
			if i, j = i+1, 0; i == l.rows {
				n, i = n+1, 0
			}
		}
	}
}

// pixel splits a row number of a group.
func (l *lattice) pixel(m int) (image, row, col int) {
	one := l.rows * l.cols
	return m / one, m % one / l.cols, m % l.cols
}

// right is a right matrix: for tap p of the left one, value k and column c it is values[p.filter + k*ld + c], or
// values[p.filter + c*ld + k] when it is transposed. With panels it is packed already.
type right struct {
	values     []float32
	ld         int
	transposed bool
	panels     []float32
}

// multiply computes the indirect matrix of x times the cols columns of w, and what follows it, into y.
func (l *lattice) multiply(x []float32, w right, cols int, e follow, y []float32, ws *Workspace) {
	depth := len(l.taps) * l.depth
	rows, wide := l.blockRows(), l.wide()
	if e.then != nil {
		rows = max(min(rows, e.rows)/tileRows, 1) * tileRows
	}
	group, count := l.blocking(rows)
	for first := 0; first < cols; first += wide {
		n := min(wide, cols-first)
		panels := w.panels
		if panels == nil {
			panels = grow(&ws.panels, (n+tileCols-1)/tileCols*tileCols*depth)
			w.pack(l.taps, l.depth, first, n, panels)
		} else {
			panels = panels[first*depth:]
		}
		for from := 0; from < group*l.rows*l.cols; from += count {
			var last block
			for image := 0; image < l.images; image += group {
				b := block{min(group, l.images-image), from, count}
				b.count = min(count, b.images*l.rows*l.cols-from)
				if b != last {
					l.table(b, ws)
					last = b
				}
				input := x[image*l.inImage:]
				if e.in != nil {
					input = e.in.block(input[:b.images*l.inImage], ws)
				}
				if next := image + b.images; l.plain(cols) {
					last := min(next+group, l.images)
					ws.ahead[0], ws.ahead[1] = x[next*l.inImage:last*l.inImage], y[next*l.outImage:last*l.outImage]
				}
				l.pass(b, first, n, input, panels, e, y, l.out+image*l.outImage, ws)
				ws.ahead = [4][]float32{}
				if e.then != nil {
					e.then(image*l.rows*l.cols+from, b.count)
				}
			}
		}
	}
}

// plain tells whether the left matrix and a product of cols columns lie in memory row by row without gaps.
func (l *lattice) plain(cols int) bool {
	return l.rows*l.cols == 1 && len(l.taps) == 1 && l.inImage == l.depth && l.outImage == cols
}

// wide is how many columns of the right matrix are packed at once.
func (l *lattice) wide() int {
	return max(packedValues/max(len(l.taps)*l.depth, 1)/tileCols, 1) * tileCols
}

// blockRows is how many rows of the left matrix are multiplied with all packed columns before the next.
func (l *lattice) blockRows() int {
	rows := min(blockValues/max(l.depth, 1), tableEntries/max(len(l.taps), 1))
	return max(rows, 8*tileRows) / tileRows * tileRows
}

// pass multiplies the rows of a block with n packed columns.
func (l *lattice) pass(
	b block, first, n int, x, panels []float32, e follow, y []float32, y0 int, ws *Workspace,
) {
	tiles, depth := (b.count+tileRows-1)/tileRows, len(l.taps)*l.depth
	zero, waste := ws.zero(max(l.depth, maxPanels*tileCols)), ws.waste()
	step := productPanels() * tileCols
	for j := 0; j < n; j += step {
		shift, old, at := zero, []float32(nil), y0+first+j
		if e.shift != nil {
			shift = e.shift[first+j:]
		}
		if e.old != nil {
			old = e.old[at:]
		}
		cols := min(step, n-j)
		multiplyRows(tiles, len(l.taps), l.depth, x, zero, ws.offsets, panels[j*depth:], shift, old, y[at:], waste,
			ws.outputs, cols, e.act, ws.next(tiles*depth*panelsOf(cols)))
	}
}

// panelsOf is how many panels some columns take.
func panelsOf(cols int) int { return (cols + tileCols - 1) / tileCols }

// pack copies columns first..first+n of the right matrix to panels [n/16][taps*depth][16], with zeros behind the last.
func (w right) pack(taps []tap, depth, first, n int, panels []float32) {
	for j := 0; j < n; j += tileCols {
		cols := min(tileCols, n-j)
		for _, p := range taps {
			dst := panels[:depth*tileCols]
			panels = panels[depth*tileCols:]
			if w.transposed {
				packTransposed(dst, w.values[p.filter+(first+j)*w.ld:], w.ld, depth, cols)
			} else {
				packRows(dst, w.values[p.filter+first+j:], w.ld, depth, cols)
			}
		}
	}
}

// packRows copies the first cols values of depth rows.
func packRows(dst, src []float32, ld, depth, cols int) {
	if cols == tileCols {
		for k := range depth {
			*(*[tileCols]float32)(dst[k*tileCols:]) = *(*[tileCols]float32)(src[k*ld:])
		}
		return
	}
	for k := range depth {
		row := dst[k*tileCols:][:tileCols]
		clear(row[copy(row, src[k*ld:][:cols]):])
	}
}

// packTransposed copies the first depth values of cols rows, each to a column.
func packTransposed(dst, src []float32, ld, depth, cols int) {
	j := 0
	for ; j+8 <= cols; j += 8 {
		transpose(depth, src[j*ld:], ld, dst[j:])
	}
	for ; j < tileCols; j++ {
		if j >= cols {
			for k := range depth {
				dst[k*tileCols+j] = 0
			}
			continue
		}
		for k, v := range src[j*ld:][:depth] {
			dst[k*tileCols+j] = v
		}
	}
}
