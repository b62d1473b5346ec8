package kernel

// These kernels work on the n channels of a strip, in rows that lie stride values apart.

// normSumsGeneric adds, for each channel, x - mean to s.sums and (x - mean)^2 to s.products.
func normSumsGeneric(rows, n, stride int, x []float32, s *strip) {
	pivot, sums, squares := s.mean[:n], s.sums[:n], s.products[:n]
	for r := range rows {
		for i, v := range x[r*stride:][:len(pivot)] {
			d := float64(v) - float64(pivot[i])
			sums[i] += d
			squares[i] += float64(d * d)
		}
	}
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
// dz = dy * act'((x - mean) * scale + shift).
func normBackwardSumsGeneric(rows, n, stride int, x, dy []float32, s *strip, act Activation) {
	var buffer [stripWidth]float32
	dz := buffer[:n]
	mean, sums, products := s.mean[:n], s.sums[:n], s.products[:n]
	for r := range rows {
		row := x[r*stride:][:n]
		s.normalise(row, dz)
		activateBackwardGeneric(act, dz, dy[r*stride:][:n], dz)
		for i, v := range row {
			d := float64(dz[i])
			sums[i] += d
			products[i] += float64(d * float64(v-mean[i]))
		}
	}
}

// normBackwardApplyGeneric computes dx = dz * scale + (x - mean) * slope + offset, with dz as above.
func normBackwardApplyGeneric(rows, n, stride int, x, dy []float32, s *strip, act Activation, dx []float32) {
	var buffer [stripWidth]float32
	dz := buffer[:n]
	mean, scale, slope, offset := s.mean[:n], s.scale[:n], s.slope[:n], s.offset[:n]
	for r := range rows {
		row, dst := x[r*stride:][:n], dx[r*stride:][:n]
		s.normalise(row, dz)
		activateBackwardGeneric(act, dz, dy[r*stride:][:n], dz)
		for i, v := range row {
			dst[i] = float32(dz[i]*scale[i]) + (float32((v-mean[i])*slope[i]) + offset[i])
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
