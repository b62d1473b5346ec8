package kernel

// addGeneric computes z = x + y, for slices of one length.
func addGeneric(x, y, z []float32) {
	y, z = y[:len(x)], z[:len(x)]
	for i, v := range x {
		z[i] = v + y[i]
	}
}

// multiplyGeneric computes z = x * y, for slices of one length.
func multiplyGeneric(x, y, z []float32) {
	y, z = y[:len(x)], z[:len(x)]
	for i, v := range x {
		z[i] = v * y[i]
	}
}

// maximumGeneric computes y = max(x, y), for slices of one length. NaN wins.
func maximumGeneric(x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] = max(v, y[i])
	}
}

// sumRowsGeneric adds n neighbouring channels of rows that lie stride values apart to sums.
func sumRowsGeneric(rows, n, stride int, x []float32, sums *[stripWidth]float64) {
	for r := range rows {
		for i, v := range x[r*stride:][:n] {
			sums[i] += float64(v)
		}
	}
}

// dotRowsGeneric adds the products of n neighbouring channels of x and y to sums.
func dotRowsGeneric(rows, n, stride int, x, y []float32, sums *[stripWidth]float64) {
	for r := range rows {
		other := y[r*stride:][:n]
		for i, v := range x[r*stride:][:n] {
			sums[i] += float64(float64(v) * float64(other[i]))
		}
	}
}
