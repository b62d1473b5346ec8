package kernel

import "math"

// adamWGeneric is AdamWStep.
func adamWGeneric(p, g, m, v []float32, f *AdamW) {
	for i := range p {
		x := g[i]
		m[i] = float32(f.Beta1*m[i]) + float32(f.Rest1*x)
		v[i] = float32(f.Beta2*v[i]) + float32(float32(f.Rest2*x)*x)
		root := float32(math.Sqrt(float64(v[i]))) // correctly rounded
		p[i] = float32(f.Keep*p[i]) - float32(f.Rise*m[i])/(float32(root*f.Unbias)+f.Epsilon)
	}
}

// momentumGeneric is MomentumStep.
func momentumGeneric(p, g, v []float32, f *Momentum) {
	for i := range p {
		d := float32(f.Ratio * (g[i] + float32(f.Decay*p[i])))
		v[i] = float32(f.Momentum*v[i]) + d
		if f.Nesterov {
			d += float32(f.Momentum * v[i])
		} else {
			d = v[i]
		}
		p[i] -= float32(f.Rate * d)
	}
}
