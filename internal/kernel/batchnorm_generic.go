package kernel

// These kernels work on n neighbouring channels of rows that lie stride values apart; n is at most strip where they keep
// a row.

// normSumsGeneric adds, for each channel, the differences of x to its first row to sums, and their squares to squares.
func normSumsGeneric(rows, n, stride int, x []float32, sums, squares []float64) {
	squares = squares[:n]
	sums = sums[:n]
	pivot := x[:n]
	for r := range rows {
		row := x[r*stride:][:n]
		for i, v := range row {
			d := float64(v) - float64(pivot[i])
			sums[i] += d
			squares[i] += float64(d * d)
		}
	}
}

// normalised computes z = (x - mean) * scale + beta for one row.
func normalised(x, mean, scale, beta, z []float32) {
	mean, scale, beta, z = mean[:len(x)], scale[:len(x)], beta[:len(x)], z[:len(x)]
	for i, v := range x {
		z[i] = float32((v-mean[i])*scale[i]) + beta[i]
	}
}

// normApplyGeneric computes y = act((x - mean) * scale + beta).
func normApplyGeneric(rows, n, stride int, x, mean, scale, beta []float32, act Activation, y []float32) {
	for r := range rows {
		dst := y[r*stride:][:n]
		normalised(x[r*stride:][:n], mean, scale, beta, dst)
		if act != Identity {
			activateGeneric(act, dst, dst)
		}
	}
}

// normBackwardSumsGeneric adds, for each channel, dz to sums and dz * (x - mean) to products, where
// dz = dy * act'((x - mean) * scale + beta).
func normBackwardSumsGeneric(
	rows, n, stride int, x, dy, mean, scale, beta []float32, act Activation, sums, products []float64,
) {
	var z [strip]float32
	sums, products, mean = sums[:n], products[:n], mean[:n]
	for r := range rows {
		row := x[r*stride:][:n]
		normalised(row, mean, scale, beta, z[:n])
		activateBackwardGeneric(act, z[:n], dy[r*stride:][:n], z[:n])
		for i, dz := range z[:n] {
			sums[i] += float64(dz)
			products[i] += float64(float64(dz) * float64(row[i]-mean[i]))
		}
	}
}

// normBackwardApplyGeneric computes dx = dz * scale + (x - mean) * slope + offset, with dz as above.
func normBackwardApplyGeneric(
	rows, n, stride int, x, dy, mean, scale, beta, slope, offset []float32, act Activation, dx []float32,
) {
	var z [strip]float32
	mean, scale, slope, offset = mean[:n], scale[:n], slope[:n], offset[:n]
	for r := range rows {
		row := x[r*stride:][:n]
		normalised(row, mean, scale, beta, z[:n])
		activateBackwardGeneric(act, z[:n], dy[r*stride:][:n], z[:n])
		dst := dx[r*stride:][:n]
		for i, dz := range z[:n] {
			dst[i] = float32(dz*scale[i]) + float32(float32((row[i]-mean[i])*slope[i])+offset[i])
		}
	}
}

// scaleShiftGeneric computes y = act(x * scale + shift).
func scaleShiftGeneric(rows, n, stride int, x, scale, shift []float32, act Activation, y []float32) {
	scale, shift = scale[:n], shift[:n]
	for r := range rows {
		row, dst := x[r*stride:][:n], y[r*stride:][:n]
		for i, v := range row {
			dst[i] = float32(v*scale[i]) + shift[i]
		}
		if act != Identity {
			activateGeneric(act, dst, dst)
		}
	}
}
