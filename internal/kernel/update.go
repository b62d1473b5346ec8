package kernel

// Updates of weights round every operation by itself: all implementations give the same bits.

// AdamW are the factors of AdamWStep, see there.
type AdamW struct{ Beta1, Rest1, Beta2, Rest2, Unbias, Epsilon, Rise, Keep float32 }

// AdamWStep updates weights p by their gradients g with the moments m and v, all of one length, value by value:
//
//	m = Beta1 * m + Rest1 * g
//	v = Beta2 * v + Rest2 * g * g
//	p = Keep * p - Rise * m / (sqrt(v) * Unbias + Epsilon)
//
// (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019).
func AdamWStep(p, g, m, v []float32, f AdamW) {
	checkUpdate("AdamWStep", p, g, m, v)
	adamW(p, g[:len(p)], m[:len(p)], v[:len(p)], &f)
}

// Momentum are the factors of MomentumStep, see there.
type Momentum struct {
	Decay, Ratio, Momentum, Rate float32
	Nesterov                     bool
}

// MomentumStep updates weights p by their gradients g with the velocity v, all of one length, value by value:
//
//	d = Ratio * (g + Decay * p)
//	v = Momentum * v + d
//	p = p - Rate * v                      or, with Nesterov,     p = p - Rate * (d + Momentum * v)
func MomentumStep(p, g, v []float32, f Momentum) {
	checkUpdate("MomentumStep", p, g, v, v)
	momentum(p, g[:len(p)], v[:len(p)], &f)
}

func checkUpdate(function string, p, g, m, v []float32) {
	checkLen(function, "g", len(g), len(p))
	checkLen(function, "m", len(m), len(p))
	checkLen(function, "v", len(v), len(p))
}
