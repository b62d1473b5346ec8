package kernel

import "math"

// strip is how many channels batch norm handles at once: the sums of a strip live on the stack, and its pixels stay in
// the cache from the pass that takes the statistics to the one that uses them.
const strip = 64

func checkNorm(function string, act Activation, rows, c int) {
	act.check(function)
	if rows < 0 || c < 1 {
		panic("kernel: " + function + ": impossible shape")
	}
}

// BatchNormForward normalises each channel of x [rows, c] by its own mean and deviation over the rows, applies gamma and
// beta [c] and an activation, and overwrites y [rows, c] (which may be x):
//
//	y = act((x - mean) * invStd * gamma + beta),  invStd = 1 / sqrt(var + eps),  var = sum (x - mean)^2 / rows
//
// It writes mean and invStd [c], which the backward pass needs, and variance [c], unbiased as running statistics want it:
// sum (x - mean)^2 / (rows - 1), with 0 for one row. (Ioffe and Szegedy, "Batch Normalization", 2015.)
//
// The sums are float64, in one pass over x less its first row: with K a sample, the textbook formula on x - K has a
// relative error under rows * 2^-52 (Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance", 1983).
func BatchNormForward(
	rows, c int, x, gamma, beta []float32, eps float32, act Activation, y, mean, invStd, variance []float32,
) {
	const function = "BatchNormForward"
	checkNorm(function, act, rows, c)
	checkLen(function, "x", len(x), rows*c)
	checkLen(function, "y", len(y), rows*c)
	for _, v := range [][]float32{gamma, beta, mean, invStd, variance} {
		checkLen(function, "a parameter or statistic", len(v), c)
	}
	if rows == 0 {
		return
	}
	for c0 := 0; c0 < c; c0 += strip {
		n := min(strip, c-c0)
		var sums, squares [strip]float64
		var scale [strip]float32
		normSums(rows, n, c, x[c0:], sums[:n], squares[:n])
		for i := range n {
			m, v, unbiased := moments(float64(rows), float64(x[c0+i]), sums[i], squares[i])
			s := 1 / math.Sqrt(v+float64(eps))
			mean[c0+i], invStd[c0+i], variance[c0+i] = float32(m), float32(s), float32(unbiased)
			scale[i] = normScale(gamma[c0+i], invStd[c0+i])
		}
		normApply(rows, n, c, x[c0:], mean[c0:c0+n], scale[:n], beta[c0:c0+n], act, y[c0:])
	}
}

// moments returns the mean and the biased and unbiased variance of n values, from the sums of their differences to a pivot
// and of the squares of these.
func moments(n, pivot, sum, squares float64) (mean, variance, unbiased float64) {
	d := sum / n
	total := max(squares-float64(sum*d), 0)
	return pivot + d, total / n, total / max(n-1, 1)
}

// normScale is the factor of x - mean. Forward and backward compute it alike, so that they agree on the sign of an
// activation's input.
func normScale(gamma, invStd float32) float32 { return gamma * invStd }

// BatchNormBackward computes the gradients of BatchNormForward, from the gradient dy [rows, c] of its output and what it
// was given and returned. It overwrites dx [rows, c] (which may be dy), dgamma and dbeta [c]:
//
//	dz = dy * act'(z),  z = (x - mean) * invStd * gamma + beta,  xhat = (x - mean) * invStd
//	dbeta = sum dz,  dgamma = sum dz * xhat
//	dx = gamma * invStd * (dz - dbeta / rows - xhat * dgamma / rows)
func BatchNormBackward(
	rows, c int, x, dy, gamma, beta, mean, invStd []float32, act Activation, dx, dgamma, dbeta []float32,
) {
	const function = "BatchNormBackward"
	checkNorm(function, act, rows, c)
	for _, v := range [][]float32{x, dy, dx} {
		checkLen(function, "x, dy or dx", len(v), rows*c)
	}
	for _, v := range [][]float32{gamma, beta, mean, invStd, dgamma, dbeta} {
		checkLen(function, "a parameter, statistic or gradient", len(v), c)
	}
	for c0 := 0; c0 < c; c0 += strip {
		n := min(strip, c-c0)
		var sums, products [strip]float64
		var scale, slope, offset [strip]float32
		for i := range n {
			scale[i] = normScale(gamma[c0+i], invStd[c0+i])
		}
		m, b := mean[c0:c0+n], beta[c0:c0+n]
		normBackwardSums(rows, n, c, x[c0:], dy[c0:], m, scale[:n], b, act, sums[:n], products[:n])
		for i := range n {
			s, count := float64(invStd[c0+i]), float64(rows)
			dgamma[c0+i], dbeta[c0+i] = float32(products[i]*s), float32(sums[i])
			slope[i] = float32(-float64(scale[i]) * products[i] * s * s / count)
			offset[i] = float32(-float64(scale[i]) * sums[i] / count)
		}
		normBackwardApply(rows, n, c, x[c0:], dy[c0:], m, scale[:n], b, slope[:n], offset[:n], act, dx[c0:])
	}
}

// ScaleShift computes y = act(x * scale + shift) for x and y [rows, c], scale and shift [c]: batch norm with frozen
// statistics, or a bias, with its activation. y may be x.
func ScaleShift(rows, c int, x, scale, shift []float32, act Activation, y []float32) {
	const function = "ScaleShift"
	checkNorm(function, act, rows, c)
	checkLen(function, "x", len(x), rows*c)
	checkLen(function, "y", len(y), rows*c)
	checkLen(function, "scale", len(scale), c)
	checkLen(function, "shift", len(shift), c)
	for c0 := 0; c0 < c; c0 += strip {
		n := min(strip, c-c0)
		if rows > 0 {
			scaleShift(rows, n, c, x[c0:], scale[c0:c0+n], shift[c0:c0+n], act, y[c0:])
		}
	}
}
