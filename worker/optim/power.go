package optim

// power is b^n for n >= 0, by repeated squaring: at most 2 log2(n) products, the same bits on every architecture. The
// relative error is under n * 2^-53 (a product's error doubles when it is squared) while the result is normal; for b in
// (0, 1) the absolute error is then under 2^-54 / (1 - b): 6e-14 for 0.999.
func power(b float64, n int) float64 {
	p := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			p *= b
		}
		b *= b
	}
	return p
}
