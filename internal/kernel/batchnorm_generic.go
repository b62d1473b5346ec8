package kernel

// These kernels work on the n channels of a strip, in rows that lie stride values apart.

// sumGroups is how many float32 sums a block of rows has: row r goes to sum r % 4, those behind the last whole four to
// the first. Blocks have stripRows rows, so that a float32 sum has 4 terms, 7 at the most.
const sumGroups = 4

// totals are the float32 sums of a block for the channels of a strip.
type totals [sumGroups][stripWidth]float32

// group is the sum that row r of a block of rows goes to.
func group(r, rows int) int {
	if r < rows/sumGroups*sumGroups {
		return r % sumGroups
	}
	return 0
}

// addTo adds the sums to float64 ones, in order.
func (t *totals) addTo(sums []float64) {
	for g := range t {
		for i, v := range t[g][:len(sums)] {
			sums[i] += float64(v)
		}
	}
}

// normSumsGeneric adds, for each channel, x - mean to s.sums and (x - mean)^2 to s.products.
func normSumsGeneric(rows, n, stride int, x []float32, s *strip) {
	var sums, squares totals
	pivot := s.mean[:n]
	for r := range rows {
		g := group(r, rows)
		total, square := sums[g][:n], squares[g][:n]
		for i, v := range x[r*stride:][:len(pivot)] {
			d := v - pivot[i]
			total[i] += d
			square[i] += float32(d * d)
		}
	}
	sums.addTo(s.sums[:n])
	squares.addTo(s.products[:n])
}

// normalise computes z = (x - mean) * scale + shift for one row.
func (s *strip) normalise(x, z []float32) {
	mean, scale, shift := s.mean[:len(x)], s.scale[:len(x)], s.shift[:len(x)]
	z = z[:len(x)]
	for i, v := range x {
		z[i] = float32((v-mean[i])*scale[i]) + shift[i]
	}
}

// normApplyGeneric computes y = act((x - mean) * scale + shift).
func normApplyGeneric(rows, n, stride int, x []float32, s *strip, act Activation, y []float32) {
	for r := range rows {
		dst := y[r*stride:][:n]
		s.normalise(x[r*stride:][:n], dst)
		if act != Identity {
			activateGeneric(act, dst, dst)
		}
	}
}

// normBackwardSumsGeneric adds, for each channel, dz to s.sums and dz * (x - mean) to s.products, where
// dz = dy * act'((x - mean) * scale + shift), which it writes unless the activation is Identity. dz may be dy.
func normBackwardSumsGeneric(rows, n, stride int, x, dy []float32, s *strip, act Activation, dz []float32) {
	var sums, products totals
	mean := s.mean[:n]
	for r := range rows {
		g := group(r, rows)
		total, product := sums[g][:n], products[g][:n]
		row, gradient := x[r*stride:][:n], dy[r*stride:][:n]
		if act != Identity {
			var z [stripWidth]float32
			s.normalise(row, z[:n])
			out := dz[r*stride:][:n]
			activateBackwardGeneric(act, z[:n], gradient, out)
			gradient = out
		}
		for i, v := range row {
			total[i] += gradient[i]
			product[i] += float32(gradient[i] * (v - mean[i]))
		}
	}
	sums.addTo(s.sums[:n])
	products.addTo(s.products[:n])
}

// normBackwardApplyGeneric computes dx = dz * scale + (x - mean) * slope + offset. dx may be dz.
func normBackwardApplyGeneric(rows, n, stride int, x, dz []float32, s *strip, dx []float32) {
	mean, scale, slope, offset := s.mean[:n], s.scale[:n], s.slope[:n], s.offset[:n]
	for r := range rows {
		gradient, dst := dz[r*stride:][:n], dx[r*stride:][:n]
		for i, v := range x[r*stride:][:n] {
			dst[i] = float32(gradient[i]*scale[i]) + (float32((v-mean[i])*slope[i]) + offset[i])
		}
	}
}

// scaleShiftGeneric computes y = act(x * scale + shift).
func scaleShiftGeneric(rows, n, stride int, x []float32, s *strip, act Activation, y []float32) {
	scale, shift := s.scale[:n], s.shift[:n]
	for r := range rows {
		dst := y[r*stride:][:n]
		for i, v := range x[r*stride:][:n] {
			dst[i] = float32(v*scale[i]) + shift[i]
		}
		if act != Identity {
			activateGeneric(act, dst, dst)
		}
	}
}
