package kernel

import "math"

// stripWidth is how many channels are handled at once, and stripRows how many of their rows: the sums of a strip live
// on the stack, its pixels stay in the nearest cache while a kernel runs over them, eight channels at a time.
const (
	stripWidth = 128
	stripRows  = 16
)

// strip is what kernels need and make of neighbouring channels. Kernels in assembly know this layout.
type strip struct {
	mean, scale, shift [stripWidth]float32 // z = (x - mean) * scale + shift
	slope, offset      [stripWidth]float32 // dx = dz * scale + (x - mean) * slope + offset
	sums, products     [stripWidth]float64
}

// eachStrip calls f with each strip of channels and a few rows at a time of x [rows, c]; strips are the strips' own.
func eachStrip(strips []strip, c int, x []float32, f func(s *strip, rows, n int, x []float32)) {
	rows := len(x) / c
	for r := 0; r < rows; r += stripRows {
		for i := range strips {
			at := i * stripWidth
			f(&strips[i], min(stripRows, rows-r), min(stripWidth, c-at), x[r*c+at:])
		}
	}
}

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
	for c0 := 0; c0 < c; c0 += stripWidth {
		n := min(stripWidth, c-c0)
		var s strip
		copy(s.mean[:n], x[c0:])
		for r := 0; r < rows; r += stripRows {
			normSums(min(stripRows, rows-r), n, c, x[r*c+c0:], &s)
		}
		s.statistics(rows, c0, n, gamma, beta, eps, mean, invStd, variance)
		for r := 0; r < rows; r += stripRows {
			at := r*c + c0
			normApply(min(stripRows, rows-r), n, c, x[at:], &s, act, y[at:])
		}
	}
}

// statistics turns the sums of rows, for the n channels from c0, into mean, invStd and variance, and into the mean, scale
// and shift of s.
func (s *strip) statistics(rows, c0, n int, gamma, beta []float32, eps float32, mean, invStd, variance []float32) {
	copy(s.shift[:n], beta[c0:])
	for i := range n {
		m, v, unbiased := moments(float64(rows), float64(s.mean[i]), s.sums[i], s.products[i])
		mean[c0+i], invStd[c0+i] = float32(m), float32(1/math.Sqrt(v+float64(eps)))
		variance[c0+i] = float32(unbiased)
		s.mean[i], s.scale[i] = mean[c0+i], normScale(gamma[c0+i], invStd[c0+i])
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
	for c0 := 0; c0 < c; c0 += stripWidth {
		n := min(stripWidth, c-c0)
		var s strip
		copy(s.mean[:n], mean[c0:])
		copy(s.shift[:n], beta[c0:])
		for i := range n {
			s.scale[i] = normScale(gamma[c0+i], invStd[c0+i])
		}
		for r := 0; r < rows; r += stripRows {
			at := r*c + c0
			normBackwardSums(min(stripRows, rows-r), n, c, x[at:], dy[at:], &s, act, dx[at:])
		}
		s.gradients(rows, c0, n, invStd, dgamma, dbeta)
		for r := 0; r < rows; r += stripRows {
			at := r*c + c0
			normBackwardApply(min(stripRows, rows-r), n, c, x[at:], dz[at:], &s, dx[at:])
		}
	}
}

// gradients turns the sums of rows, for the n channels from c0, into dgamma and dbeta, and into the slope and offset of s.
func (s *strip) gradients(rows, c0, n int, invStd, dgamma, dbeta []float32) {
	for i := range n {
		deviation, scale := float64(invStd[c0+i]), float64(s.scale[i])/float64(rows)
		dgamma[c0+i], dbeta[c0+i] = float32(s.products[i]*deviation), float32(s.sums[i])
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
	for c0 := 0; c0 < c; c0 += stripWidth {
		n := min(stripWidth, c-c0)
		var s strip
		copy(s.scale[:n], scale[c0:])
		copy(s.shift[:n], shift[c0:])
		for r := 0; r < rows; r += stripRows {
			at := r*c + c0
			scaleShift(min(stripRows, rows-r), n, c, x[at:], &s, act, y[at:])
		}
	}
}
