package kernel_test

import (
	"fmt"
	"math"
	"testing"

	"pupil/internal/kernel"
)

// TestUpdates holds that all implementations of the optimisers' updates give the bits of the formulas, at all lengths.
func TestUpdates(t *testing.T) {
	each(t, func(t *testing.T) {
		for n := range 70 {
			a, next := newArena(t), normal(50, uint64(n))
			size := n
			if n > 50 {
				size = 50 + 97*(n-50)
			}
			p, g, m := input[float32](a, size, next), input[float32](a, size, next), input[float32](a, size, next)
			v := input[float32](a, size, func() float64 { x := next(); return x * x })
			for i := range v {
				if i%11 == 3 {
					g[i], m[i], v[i] = 0, 0, 0 // a gradient that never was
				}
			}
			clone := func(x []float32) []float32 { return append([]float32{}, x...) }
			wantP, wantM, wantV := clone(p), clone(m), clone(v)
			gotP, gotM, gotV := copied(a, p), copied(a, m), copied(a, v)
			f := kernel.AdamW{
				Beta1: 0.9, Rest1: 0.1, Beta2: 0.999, Rest2: 0.001, Unbias: 3.3, Epsilon: 1e-8, Rise: 0.02, Keep: 0.9999,
			}
			for i := range wantP {
				wantM[i] = float32(f.Beta1*wantM[i]) + float32(f.Rest1*g[i])
				wantV[i] = float32(f.Beta2*wantV[i]) + float32(float32(f.Rest2*g[i])*g[i])
				wantP[i] = float32(f.Keep*wantP[i]) - float32(f.Rise*wantM[i])/(float32(root(wantV[i])*f.Unbias)+f.Epsilon)
			}
			kernel.AdamWStep(gotP, g, gotM, gotV, f)
			same(t, fmt.Sprintf("AdamW's p of %d", size), gotP, wantP)
			same(t, "AdamW's m", gotM, wantM)
			same(t, "AdamW's v", gotV, wantV)
			for _, f := range []kernel.Momentum{
				{Decay: 1e-2, Ratio: 0.7, Momentum: 0.9, Rate: 0.1},
				{Decay: 1e-2, Ratio: 1, Momentum: 0.9, Rate: 0.1, Nesterov: true},
			} {
				wantP, wantV = clone(p), clone(m)
				gotP, gotV = copied(a, p), copied(a, m)
				for i := range wantP {
					d := float32(f.Ratio * (g[i] + float32(f.Decay*wantP[i])))
					wantV[i] = float32(f.Momentum*wantV[i]) + d
					if f.Nesterov {
						d += float32(f.Momentum * wantV[i])
					} else {
						d = wantV[i]
					}
					wantP[i] -= float32(f.Rate * d)
				}
				kernel.MomentumStep(gotP, g, gotV, f)
				same(t, fmt.Sprintf("p of %d with %+v", size, f), gotP, wantP)
				same(t, "v", gotV, wantV)
			}
		}
	})
}

// copied is a copy between guard bands.
func copied(a *arena, x []float32) []float32 {
	i := -1
	return input[float32](a, len(x), func() float64 { i++; return float64(x[i]) })
}

func root(x float32) float32 { return float32(math.Sqrt(float64(x))) }
