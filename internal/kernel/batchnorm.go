package kernel

import "math"

// stripWidth is how many channels a strip has.
const stripWidth = 8

// strip is what kernels need and make of neighbouring channels. Kernels in assembly know this layout.
type strip struct {
	mean, scale, shift [stripWidth]float32 // z = (x - mean) * scale + shift
	slope, offset      [stripWidth]float32 // dx = dz * scale + (x - mean) * slope + offset
	sums, products     [stripWidth]float64
}

// passWidth is how many channels functions handle that have their strips on the stack.
const passWidth = 128

// passStrips are their strips.
type passStrips [passWidth / stripWidth]strip

// callRows is how many rows of c channels a kernel in assembly is given at a time: while it runs nothing can stop it.
func callRows(c int) int { return max(1<<14/c/momentsRows, 1) * momentsRows }

// BatchNormForward normalises each channel of x [rows, c] by its own mean and deviation over the rows, applies gamma
// and beta [c] and an activation, and overwrites y [rows, c] (which may be x):
//
//	y = act((x - mean) * invStd * gamma + beta),  invStd = 1 / sqrt(var + eps),  var = sum (x - mean)^2 / rows
//
// It writes mean and invStd [c], which the backward pass needs, and variance [c], unbiased as running statistics want
// it: sum (x - mean)^2 / (rows - 1), with 0 for one row. (Ioffe and Szegedy, "Batch Normalization", 2015.)
//
// The sums are taken in one pass of the differences to the first row. Since that is a sample itself, the square of its
// distance to the mean is at most rows times the variance, and little cancels however far the mean is from 0 (Chan,
// Golub and LeVeque, "Algorithms for Computing the Sample Variance", 1983). Four rows at a time (up to seven at the end)
// are summed in float32, all of these in float64.
func BatchNormForward(
	rows, c int, x, gamma, beta []float32, eps float32, act Activation, y, mean, invStd, variance []float32,
) {
	const function = "BatchNormForward"
	act.check(function)
	checkLen(function, "x", len(x), rows*c)
	checkLen(function, "y", len(y), rows*c)
	for _, v := range [...][]float32{gamma, beta, mean, invStd, variance} {
		checkLen(function, "a parameter or statistic", len(v), c)
	}
	if rows < 1 {
		return
	}
	for c0 := 0; c0 < c; c0 += passWidth {
		n := min(passWidth, c-c0)
		var pass passStrips
		strips := pass[:(n+stripWidth-1)/stripWidth]
		for i := range strips {
			copy(strips[i].mean[:], x[c0+i*stripWidth:c0+n])
		}
		block := callRows(n)
		for r := 0; r < rows; r += block {
			normSums(min(block, rows-r), n, c, x[r*c+c0:], strips)
		}
		statistics(strips, rows, c0, n, gamma, beta, eps, mean, invStd, variance)
		for r := 0; r < rows; r += block {
			at := r*c + c0
			normApply(min(block, rows-r), n, c, x[at:], strips, act, y[at:])
		}
	}
}

// statistics turns the sums of rows, for the n channels from c0, into mean, invStd and variance, and into the mean, scale
// and shift of strips.
func statistics(strips []strip, rows, c0, n int, gamma, beta []float32, eps float32, mean, invStd, variance []float32) {
	for k := range n {
		s, i := of(strips, k)
		m, v, unbiased := moments(float64(rows), float64(s.mean[i]), s.sums[i], s.products[i])
		mean[c0+k], invStd[c0+k] = float32(m), float32(1/math.Sqrt(v+float64(eps)))
		variance[c0+k] = float32(unbiased)
		s.mean[i], s.scale[i], s.shift[i] = mean[c0+k], normScale(gamma[c0+k], invStd[c0+k]), beta[c0+k]
	}
}

// moments returns the mean and the biased and unbiased variance of n values, from the sums of their differences to a
// pivot and of the squares of these.
func moments(n, pivot, sum, squares float64) (mean, variance, unbiased float64) {
	d := sum / n
	total := max(squares-float64(sum*d), 0)
	return pivot + d, total / n, total / max(n-1, 1)
}

// normScale is the factor of x - mean. Forward and backward compute it alike, so that they agree on the sign of an
// activation's input.
func normScale(gamma, invStd float32) float32 { return gamma * invStd }

// BatchNormBackward computes the gradients of BatchNormForward, from the gradient dy [rows, c] of its output and what
// it was given and returned. It overwrites dx [rows, c] (which may be dy, but does not overlap x), dgamma and dbeta [c]:
//
//	dz = dy * act'(z),  z = (x - mean) * invStd * gamma + beta,  xhat = (x - mean) * invStd
//	dbeta = sum dz,  dgamma = sum dz * xhat
//	dx = gamma * invStd * (dz - dbeta / rows - xhat * dgamma / rows)
//
// Sums are taken as in the forward pass.
func BatchNormBackward(
	rows, c int, x, dy, gamma, beta, mean, invStd []float32, act Activation, dx, dgamma, dbeta []float32,
) {
	const function = "BatchNormBackward"
	act.check(function)
	for _, v := range [...][]float32{x, dy, dx} {
		checkLen(function, "x, dy or dx", len(v), rows*c)
	}
	for _, v := range [...][]float32{gamma, beta, mean, invStd, dgamma, dbeta} {
		checkLen(function, "a parameter, statistic or gradient", len(v), c)
	}
	dz := dx // dx holds dz between the two passes
	if act == Identity {
		dz = dy
	}
	for c0 := 0; c0 < c; c0 += passWidth {
		n := min(passWidth, c-c0)
		var pass passStrips
		strips := pass[:(n+stripWidth-1)/stripWidth]
		for k := range n {
			s, i := of(strips, k)
			s.mean[i], s.shift[i], s.scale[i] = mean[c0+k], beta[c0+k], normScale(gamma[c0+k], invStd[c0+k])
		}
		block := callRows(n)
		for r := 0; r < rows; r += block {
			at := r*c + c0
			normBackwardSums(min(block, rows-r), n, c, x[at:], dy[at:], strips, act, dx[at:])
		}
		gradients(strips, rows, c0, n, invStd, dgamma, dbeta)
		for r := 0; r < rows; r += block {
			at := r*c + c0
			normBackwardApply(min(block, rows-r), n, c, x[at:], dz[at:], strips, dx[at:])
		}
	}
}

// gradients turns the sums of rows, for the n channels from c0, into dgamma and dbeta, and into the slope and offset of
// strips.
func gradients(strips []strip, rows, c0, n int, invStd, dgamma, dbeta []float32) {
	for k := range n {
		s, i := of(strips, k)
		deviation, scale := float64(invStd[c0+k]), float64(s.scale[i])/float64(rows)
		dgamma[c0+k], dbeta[c0+k] = float32(s.products[i]*deviation), float32(s.sums[i])
		s.slope[i] = float32(-scale * s.products[i] * deviation * deviation)
		s.offset[i] = float32(-scale * s.sums[i])
	}
}

// ScaleShift computes y = act(x * scale + shift) for x and y [rows, c], scale and shift [c]: batch norm with frozen
// statistics, or a bias, with its activation. y may be x.
func ScaleShift(rows, c int, x, scale, shift []float32, act Activation, y []float32) {
	const function = "ScaleShift"
	act.check(function)
	checkLen(function, "x", len(x), rows*c)
	checkLen(function, "y", len(y), rows*c)
	checkLen(function, "scale", len(scale), c)
	checkLen(function, "shift", len(shift), c)
	for c0 := 0; c0 < c; c0 += passWidth {
		n := min(passWidth, c-c0)
		var pass passStrips
		strips := pass[:(n+stripWidth-1)/stripWidth]
		for k := range n {
			s, i := of(strips, k)
			s.scale[i], s.shift[i] = scale[c0+k], shift[c0+k]
		}
		block := callRows(n)
		for r := 0; r < rows; r += block {
			at := r*c + c0
			scaleShift(min(block, rows-r), n, c, x[at:], strips, act, y[at:])
		}
	}
}
