package kernel

// multiplyRowsGeneric is the micro-kernel of products with an indirect left matrix. For each tile t, row i and column
// j < cols:
//
//	y[outputs[t*6+i] + j] = act(shift[j] + sum_pk x[offsets[(t*taps+p)*6+i] + k] * panel[(p*depth+k)*16 + j] +
//	                            old[outputs[t*6+i] + j])
//
// An offset of -1 reads zero [depth] instead of x, an output of -1 writes waste [16] instead of y. The sum starts with
// shift [16] and runs over p, then k. old may be y; nil is none.
func multiplyRowsGeneric(
	tiles, taps, depth int, x, zero []float32, offsets []int, panel, shift, old, y, waste []float32, outputs []int,
	cols int, act Activation,
) {
	for t := range tiles {
		table := offsets[t*taps*tileRows:][:taps*tileRows]
		for i := 0; i < tileRows; i += 2 {
			at0, at1 := outputs[t*tileRows+i], outputs[t*tileRows+i+1]
			if at0 < 0 && at1 < 0 {
				continue
			}
			for j := 0; j < cols; j += 4 {
				start := [4]float32(shift[j:])
				s := quads{start, start}
				for p := range taps {
					a := indirect(x, zero, table[p*tileRows+i], depth)
					b := indirect(x, zero, table[p*tileRows+i+1], depth)
					s.add(a, b, panel[p*depth*tileCols:][:depth*tileCols], tileCols, j)
				}
				finish(&s.top, old, y, at0, j, cols, act)
				finish(&s.bottom, old, y, at1, j, cols, act)
			}
		}
	}
}

func indirect(x, zero []float32, at, n int) []float32 {
	if at < 0 {
		return zero[:n]
	}
	return x[at:][:n]
}

// quads are two rows of four sums.
type quads struct{ top, bottom [4]float32 }

// add adds the products of two rows with columns j..j+4 of a panel.
func (s *quads) add(a, b, panel []float32, ld, j int) {
	t0, t1, t2, t3 := s.top[0], s.top[1], s.top[2], s.top[3]
	b0, b1, b2, b3 := s.bottom[0], s.bottom[1], s.bottom[2], s.bottom[3]
	b = b[:len(a)]
	for k, u := range a {
		v := b[k]
		w := (*[4]float32)(panel[k*ld+j:])
		t0 += float32(u * w[0])
		t1 += float32(u * w[1])
		t2 += float32(u * w[2])
		t3 += float32(u * w[3])
		b0 += float32(v * w[0])
		b1 += float32(v * w[1])
		b2 += float32(v * w[2])
		b3 += float32(v * w[3])
	}
	s.top, s.bottom = [4]float32{t0, t1, t2, t3}, [4]float32{b0, b1, b2, b3}
}

// finish writes a row of sums, with what was there in old and the activation, to columns j.. of the row at y[at:],
// unless at is -1.
func finish(sums *[4]float32, old, y []float32, at, j, cols int, act Activation) {
	if at < 0 {
		return
	}
	n := min(4, cols-j)
	if old != nil {
		for i, v := range old[at+j:][:n] {
			sums[i] += v
		}
	}
	activateGeneric(act, sums[:n], y[at+j:][:n])
}

// multiplyColumnsGeneric is the micro-kernel of products with an indirect, transposed left matrix. For each tile t,
// row i and column j < cols:
//
//	y[outputs[t*6+i] + j] = sum_k x[offsets[k] + starts[t] + i] * panel[k*ld + j] + old[outputs[t*6+i] + j]
//
// An offset of -1 reads zero [6] instead of x, an output of -1 writes waste [16] instead of y. old is y or nil. Rows of
// panel have cols values if that is 8 or 16, else 16.
func multiplyColumnsGeneric(
	tiles int, x, zero []float32, offsets, starts []int, panel []float32, ld, cols int, old, y, waste []float32,
	outputs []int,
) {
	for t := range tiles {
		for i := 0; i < tileRows; i += 2 {
			at0, at1 := outputs[t*tileRows+i], outputs[t*tileRows+i+1]
			if at0 < 0 && at1 < 0 {
				continue
			}
			for j := 0; j < cols; j += 4 {
				var s quads
				s.addColumns(x, zero, offsets, starts[t]+i, panel, ld, j)
				finish(&s.top, old, y, at0, j, cols, Identity)
				finish(&s.bottom, old, y, at1, j, cols, Identity)
			}
		}
	}
}

// addColumns adds the products of rows i and i+1 of a transposed matrix with columns j..j+4 of a panel.
func (s *quads) addColumns(x, zero []float32, offsets []int, i int, panel []float32, ld, j int) {
	var t0, t1, t2, t3, b0, b1, b2, b3 float32
	for k, at := range offsets {
		if at < 0 {
			continue
		}
		a := (*[2]float32)(x[at+i:])
		w := (*[4]float32)(panel[k*ld+j:])
		u, v := a[0], a[1]
		t0 += float32(u * w[0])
		t1 += float32(u * w[1])
		t2 += float32(u * w[2])
		t3 += float32(u * w[3])
		b0 += float32(v * w[0])
		b1 += float32(v * w[1])
		b2 += float32(v * w[2])
		b3 += float32(v * w[3])
	}
	s.top, s.bottom = [4]float32{t0, t1, t2, t3}, [4]float32{b0, b1, b2, b3}
}

// transposeGeneric copies the first depth values of 8 rows of x, ld apart, to 8 neighbouring columns of a panel y:
//
//	y[k*16 + i] = x[i*ld + k]
func transposeGeneric(depth int, x []float32, ld int, y []float32) {
	for i := range 8 {
		for k, v := range x[i*ld:][:depth] {
			y[k*tileCols+i] = v
		}
	}
}
