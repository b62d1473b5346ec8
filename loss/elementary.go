package loss

import "math"

// The functions below are functions of their argument's bits alone. math.Exp and math.Log are not: they use assembly on
// some architectures and fused multiply-add where a processor has it. Every product that is followed by a sum is
// converted explicitly, which forbids the compiler to fuse the two; it may do so across statements otherwise.

const (
	floor    = 1e-12                // log x means log max(x, floor), with gradient 0 under it
	logFloor = -27.6310211159285482 // log(1e-12)

	ln2High = 0x1.62e42fefap-1    // 37 bits of log 2: a product with an exponent is exact
	ln2Low  = math.Ln2 - ln2High  // the rest
	lowest  = -0x1p1000           // stands for minus infinity where 0 times it must be 0
	minExp  = -745.13321910194122 // exp underflows to 0 under it
	maxExp  = 709.78271289338397  // exp overflows above it
)

// exp returns e^x, within about one unit in the last place, for any x but NaN.
//
// x = k log 2 + r with |r| <= log(2)/2; e^r is its Taylor series up to r^13, whose next term is under 2^-57.
func exp(x float64) float64 {
	switch {
	case x < minExp:
		return 0
	case x > maxExp:
		return math.Inf(1)
	}
	k := math.RoundToEven(x * math.Log2E)
	r := x - float64(k*ln2High) - float64(k*ln2Low)
	p := 1.0 / 6227020800
	p = float64(p*r) + 1.0/479001600
	p = float64(p*r) + 1.0/39916800
	p = float64(p*r) + 1.0/3628800
	p = float64(p*r) + 1.0/362880
	p = float64(p*r) + 1.0/40320
	p = float64(p*r) + 1.0/5040
	p = float64(p*r) + 1.0/720
	p = float64(p*r) + 1.0/120
	p = float64(p*r) + 1.0/24
	p = float64(p*r) + 1.0/6
	p = float64(p*r) + 1.0/2
	p = float64(float64(p*r)*r) + r
	return scale(1+p, int(k))
}

// scale returns v 2^k for 1/2 < v < 2 and k in [-1075, 1024].
func scale(v float64, k int) float64 {
	half := k / 2
	return v * power(half) * power(k-half)
}

// power returns 2^k for k in [-1022, 1023].
func power(k int) float64 { return math.Float64frombits(uint64(k+1023) << 52) }

// log returns the natural logarithm of a positive, finite x, within about one unit in the last place.
//
// x = 2^e u with u in [sqrt(1/2), sqrt(2)); log u = 2 artanh(v) with v = (u-1)/(u+1), |v| < 0.172, by its series up to
// v^23, whose next term is under 2^-64.
func log(x float64) float64 {
	e := 0
	if x < 0x1p-1022 {
		x *= 0x1p54
		e = -54
	}
	bits := math.Float64bits(x)
	e += int(bits>>52) - 1023
	u := math.Float64frombits(bits&(1<<52-1) | 1023<<52)
	if u >= math.Sqrt2 {
		u *= 0.5
		e++
	}
	f := u - 1
	v := f / (2 + f)
	w := v * v
	p := 2.0 / 23
	p = float64(p*w) + 2.0/21
	p = float64(p*w) + 2.0/19
	p = float64(p*w) + 2.0/17
	p = float64(p*w) + 2.0/15
	p = float64(p*w) + 2.0/13
	p = float64(p*w) + 2.0/11
	p = float64(p*w) + 2.0/9
	p = float64(p*w) + 2.0/7
	p = float64(p*w) + 2.0/5
	p = float64(p*w) + 2.0/3
	p = float64(float64(p*w) * v)
	k := float64(e)
	return float64(k*ln2High) + (float64(2*v) + (p + float64(k*ln2Low)))
}

// floorLog returns log max(x, floor) for x of 0 or more.
func floorLog(x float64) float64 {
	if x < floor {
		return logFloor
	}
	return log(x)
}

// softmax writes p = softmax(f / temperature) and its logarithm, for vectors of equal length and finite f. A logarithm
// is at least lowest.
func softmax(p, logP, f []float64, temperature float64) {
	top := f[0]
	for _, v := range f[1:] {
		top = max(top, v)
	}
	sum := 0.0
	for j, v := range f {
		x := max((v-top)/temperature, lowest)
		e := exp(x)
		logP[j], p[j] = x, e
		sum += e
	}
	logSum := log(sum)
	for j := range p {
		p[j] /= sum
		logP[j] -= logSum
	}
}

// logSoftmax replaces z by log softmax(z).
func logSoftmax(z []float64) {
	top := z[0]
	for _, v := range z[1:] {
		top = max(top, v)
	}
	sum := 0.0
	for j := range z {
		z[j] -= top
		sum += exp(z[j])
	}
	logSum := log(sum)
	for j := range z {
		z[j] -= logSum
	}
}
