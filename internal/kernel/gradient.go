package kernel

// gradient computes the indirect matrix of x, transposed, times dy [pixels, cols], into dw: for
// tap p, value c and column k the sum over output pixels goes to dw[p.filter + c*cols + k]. It is for lattices whose
// output has no gaps.
func (l *lattice) gradient(x, dy []float32, cols int, dw []float32, ws *Workspace) {
	one := l.rows * l.cols
	group, count := l.blocking(pixelBlock)
	if l.images == 0 {
		for _, p := range l.taps {
			clear(dw[p.filter:][:l.depth*cols])
		}
	}
	var last block
	for image := 0; image < l.images; image += group {
		for from := 0; from < group*one && image*one+from < l.images*one; from += count {
			b := block{min(group, l.images-image), from, count}
			b.count = min(count, b.images*one-from)
			if b != last {
				l.pixelTable(b, ws)
				last = b
			}
			pixels := dy[(image*one+from)*cols:][:b.count*cols]
			for t, p := range l.taps {
				left := transposedLeft{x[image*l.inImage:], ws.offsets[t*b.count:][:b.count], l.depth}
				left.multiply(right{pixels, cols, false}, cols, image+from > 0, dw[p.filter:], cols, ws)
			}
		}
	}
}

// pixelTable writes where the pixels of b lie, for each tap: offsets [tap][pixel] relative to the first image of the
// group, -1 for zeros.
func (l *lattice) pixelTable(b block, ws *Workspace) {
	offsets := grow(&ws.offsets, len(l.taps)*b.count)
	n0, i0, j0 := l.pixel(b.from)
	for t, p := range l.taps {
		n, i, j := n0, i0, j0
		row := offsets[t*b.count:][:b.count]
		for m := range row {
			h, v := i*l.step+p.row, j*l.step+p.col
			row[m] = -1
			if uint(h) < uint(l.inRows) && uint(v) < uint(l.inCols) {
				row[m] = n*l.inImage + (h*l.inCols+v)*l.inWidth
			}
			if j++; j == l.cols {
				if i, j = i+1, 0; i == l.rows {
					n, i = n+1, 0
				}
			}
		}
	}
}

// transposedLeft is a left matrix of m rows by its columns: column k lies at values[offsets[k]:], or is zeros for -1.
type transposedLeft struct {
	values  []float32
	offsets []int
	m       int
}

// packRowsFrom is the number of rows of the left matrix from which on packing the right one pays: its rows, often a
// power of two apart, compete for the same places of the cache.
const packRowsFrom = 256

// multiply computes the product with w, which has as many rows as the left matrix has columns.
func (a transposedLeft) multiply(w right, cols int, accumulate bool, c []float32, ldc int, ws *Workspace) {
	if a.m < tileRows {
		a = a.gather(ws)
	}
	tiles := (a.m + tileRows - 1) / tileRows
	a.tiling(tiles, ldc, ws)
	depth, zero, waste := len(a.offsets), ws.zero(max(a.m, tileRows)), ws.waste()
	for j := 0; j < cols; j += tileCols {
		n := min(tileCols, cols-j)
		b, ld := w.values[j:], w.ld
		if w.transposed || a.m >= packRowsFrom || n != tileCols && n != tileCols/2 {
			b, ld = grow(&ws.panels, depth*tileCols), tileCols
			if w.transposed {
				packTransposed(b, w.values[j*w.ld:], w.ld, depth, n)
			} else {
				packRows(b, w.values[j:], w.ld, depth, n)
			}
		}
		multiplyColumns(tiles, a.values, zero, a.offsets, ws.starts, b, ld, c[j:], waste, ws.outputs, n, accumulate)
	}
}

// tiling writes where tiles start in a column, and where their rows lie in the product. The last tile is moved back
// into the matrix; the rows that it has in common with the one before go to waste.
func (a transposedLeft) tiling(tiles, ldc int, ws *Workspace) {
	starts, outputs := grow(&ws.starts, tiles), grow(&ws.outputs, tiles*tileRows)
	for t := range starts {
		starts[t] = max(min(t*tileRows, a.m-tileRows), 0)
		for i := range tileRows {
			m := starts[t] + i
			outputs[t*tileRows+i] = m * ldc
			if m < t*tileRows || m >= a.m {
				outputs[t*tileRows+i] = -1
			}
		}
	}
}

// gather returns a copy of a matrix of fewer than tileRows rows in which a whole tile can be read.
func (a transposedLeft) gather(ws *Workspace) transposedLeft {
	values := grow(&ws.gathered, len(a.offsets)*tileRows)
	offsets := grow(&ws.gatheredOffsets, len(a.offsets))
	for k, at := range a.offsets {
		offsets[k] = k * tileRows
		column := values[k*tileRows:][:tileRows]
		if at >= 0 {
			column = column[copy(column, a.values[at:][:a.m]):]
		}
		clear(column)
	}
	return transposedLeft{values, offsets, a.m}
}
