package kernel

// gradient computes the indirect matrix of x, transposed, times dy [pixels, cols], into dw: for
// tap p, value c and column k the sum over output pixels goes to dw[p.filter + c*cols + k]. It is for lattices whose
// output has no gaps. in is a norm of x, a plain matrix, or nil.
func (l *lattice) gradient(x []float32, in *Norm, dy []float32, cols int, dw []float32, ws *Workspace) {
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
			input := x[image*l.inImage:]
			if in != nil {
				input = in.block(input[:b.images*l.inImage], ws)
			}
			pixels := dy[(image*one+from)*cols:][:b.count*cols]
			for t, p := range l.taps {
				left := transposedLeft{input, ws.offsets[t*b.count:][:b.count], l.depth}
				left.multiply(right{values: pixels, ld: cols}, cols, image+from > 0, dw[p.filter:], cols, ws)
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
	if cols >= packColumnsFrom && a.crowded() {
		a = a.pack(tiles, ws)
	}
	depth, zero, waste := len(a.offsets), ws.zero(tileRows), ws.waste()
	step := productPanels() * tileCols
	for j := 0; j < cols; j += step {
		n := min(step, cols-j)
		b, ld, beside := w.values, w.ld, tileCols
		if w.transposed || a.m >= packRowsFrom || n%(tileCols/2) != 0 {
			ld, beside = tileCols, depth*tileCols
			b = grow(&ws.panels, panelsOf(n)*beside)
			w.pack([]tap{{}}, depth, j, n, b)
		} else {
			b = b[j:]
		}
		var old []float32
		if accumulate {
			old = c[j:]
		}
		ahead := ws.next(tiles * depth * panelsOf(n))
		multiplyColumns(tiles, a.values, zero, a.offsets, ws.starts, b, ld, beside, n, old, c[j:], waste, ws.outputs, ahead)
	}
}

// packColumnsFrom is the number of columns of the product from which on packing the left matrix pays, if it is crowded.
const packColumnsFrom = 8 * tileCols

// crowded tells whether the columns of the matrix lie such powers of two apart that they compete for few places of the
// cache.
func (a transposedLeft) crowded() bool {
	for k := 1; k < len(a.offsets); k++ {
		if from, to := a.offsets[k-1], a.offsets[k]; from >= 0 && to >= 0 {
			return (to-from)%512 == 0
		}
	}
	return false
}

// pack returns a copy in which the tiles that tiling laid out lie one after the other: [tile][column][6].
func (a transposedLeft) pack(tiles int, ws *Workspace) transposedLeft {
	one := len(a.offsets) * tileRows
	values := grow(&ws.gathered, tiles*one)
	for t, start := range ws.starts {
		tile := values[t*one:][:one]
		for k, at := range a.offsets {
			column := (*[tileRows]float32)(tile[k*tileRows:])
			if at < 0 {
				*column = [tileRows]float32{}
			} else {
				*column = [tileRows]float32(a.values[at+start:])
			}
		}
		ws.starts[t] = t * one
	}
	offsets := grow(&ws.gatheredOffsets, len(a.offsets))
	for k := range offsets {
		offsets[k] = k * tileRows
	}
	return transposedLeft{values, offsets, a.m}
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
