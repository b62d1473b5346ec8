// Package elementary has the elementary functions that results are made with: functions of their argument's bits alone.
//
// Those of package math are not. They are assembly on some architectures and plain Go on others, and plain Go may fuse
// a product and a sum where the processor can. A weight or a crop that differs in its last bit between two
// architectures would break the promise that a job gives the same student on any machine. Here every product that is
// followed by a sum is converted explicitly, which forbids the compiler to fuse the two.
//
// The errors are about one unit in the last place. math.Sqrt, math.Floor, math.RoundToEven and their like are exact on
// every architecture and may be used as they are.
package elementary

import "math"

const (
	ln2High = 0x1.62e42fefap-1   // 37 bits of log 2: its product with an exponent is exact
	ln2Low  = math.Ln2 - ln2High // the rest

	halfPiHigh   = 0x1.921fb544p+0                       // 33 bits of pi/2: its product with k < 2^20 is exact
	halfPiMiddle = 0x1.0b4611a6p-34                      // the next 33 bits
	halfPiLow    = math.Pi/2 - halfPiHigh - halfPiMiddle // the rest

	minExp = -745.13321910194122 // Exp underflows to 0 under it
	maxExp = 709.78271289338397  // Exp overflows above it

	maxAngle = 0x1p20

	sqrt2 = 0x3ff6a09e667f3bcd // the bits of math.Sqrt2
)

// Log returns the natural logarithm of x: -Inf for 0, NaN for x < 0.
//
// x = 2^e u with u in [sqrt(1/2), sqrt(2)); log u = 2 artanh(v) with v = (u-1)/(u+1), |v| < 0.172, by its series up to
// v^23, whose next term is under 2^-64.
func Log(x float64) float64 {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 1):
		return x
	case x < 0:
		return math.NaN()
	case x == 0:
		return math.Inf(-1)
	}
	e := 0
	if x < 0x1p-1022 {
		x *= 0x1p54
		e = -54
	}
	bits := math.Float64bits(x)
	e += int(bits>>52) - 1023
	bits = bits&(1<<52-1) | 1023<<52
	// Whether u would be sqrt(2) or more is a coin's toss: no branch.
	half := (sqrt2 - 1 - bits) >> 63
	u := math.Float64frombits(bits - half<<52)
	e += int(half)
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

// Exp returns e^x.
//
// x = k log 2 + r with |r| <= log(2)/2; e^r is its Taylor series up to r^13, whose next term is under 2^-57.
func Exp(x float64) float64 {
	switch {
	case math.IsNaN(x):
		return x
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

// SinCos returns the sine and cosine of x radians, and NaN for |x| of 2^20 or more, where the reduction would lose
// bits.
//
// x = k pi/2 + r with |r| <= pi/4, pi/2 in three parts (Cody and Waite); the Taylor series end at r^17 and r^16, whose
// next terms are under 2^-63.
func SinCos(x float64) (sin, cos float64) {
	if !(math.Abs(x) < maxAngle) {
		return math.NaN(), math.NaN()
	}
	k := math.RoundToEven(x * (2 / math.Pi))
	r := x - float64(k*halfPiHigh) - float64(k*halfPiMiddle) - float64(k*halfPiLow)
	w := r * r
	s := 1.0 / 355687428096000
	for _, c := range [...]float64{
		-1.0 / 1307674368000, 1.0 / 6227020800, -1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6,
	} {
		s = float64(s*w) + c
	}
	s = float64(float64(s*w)*r) + r
	c := 1.0 / 20922789888000
	for _, a := range [...]float64{
		-1.0 / 87178291200, 1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -1.0 / 2,
	} {
		c = float64(c*w) + a
	}
	c = float64(c*w) + 1
	switch int(k) & 3 {
	case 0:
		return s, c
	case 1:
		return c, -s
	case 2:
		return -s, -c
	default:
		return -c, s
	}
}
