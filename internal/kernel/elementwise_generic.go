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

// maximumAtGeneric computes y = max(x, y) for slices of one length, and writes pixel to at where x is larger. NaN
// wins, and of equals y.
func maximumAtGeneric(pixel int32, x, y []float32, at []int32) {
	y, at = y[:len(x)], at[:len(x)]
	for i, v := range x {
		if w := y[i]; v > w || v != v && w == w {
			y[i], at[i] = v, pixel
		}
	}
}

// sumRowsGeneric adds n neighbouring channels of rows that lie stride values apart to sums.
func sumRowsGeneric(rows, n, stride int, x []float32, sums *[sumsWidth]float64) {
	for r := range rows {
		for i, v := range x[r*stride:][:n] {
			sums[i] += float64(v)
		}
	}
}

// dotRowsGeneric adds the products of n neighbouring channels of x and y to sums.
func dotRowsGeneric(rows, n, stride int, x, y []float32, sums *[sumsWidth]float64) {
	for r := range rows {
		other := y[r*stride:][:n]
		for i, v := range x[r*stride:][:n] {
			sums[i] += float64(float64(v) * float64(other[i]))
		}
	}
}

// streamGeneric copies x to y, which will not be read soon.
func streamGeneric(x, y []float32) { copy(y, x) }
