package loss

import "math"

// minNorm bounds the norms that a cosine is divided by, as torch.nn.functional.cosine_similarity does.
const minNorm = 1e-8

// squaredDistance is (1/C) sum_j (s_j - t_j)^2.
func squaredDistance(t, s []float64) float64 {
	v := 0.0
	for j, x := range s {
		d := x - t[j]
		v += float64(d * d)
	}
	return v / float64(len(s))
}

// addSquaredGradient adds weight * 2 (s - t) / C.
func addSquaredGradient(g, t, s []float64, weight float64) {
	weight = 2 * weight / float64(len(s))
	for j, x := range s {
		g[j] += float64(weight * (x - t[j]))
	}
}

// cosines are what a cosine is made of.
type cosines struct{ product, teacher, student float64 } // t.s, max(|t|, minNorm), max(|s|, minNorm)

func cosinesOf(t, s []float64) cosines {
	var c cosines
	for j, x := range s {
		c.product += float64(x * t[j])
		c.teacher += float64(t[j] * t[j])
		c.student += float64(x * x)
	}
	c.teacher = max(math.Sqrt(c.teacher), minNorm)
	c.student = max(math.Sqrt(c.student), minNorm)
	return c
}

// cosineDistance is 1 - t.s / (|t| |s|), in [0, 2].
func cosineDistance(t, s []float64) float64 {
	c := cosinesOf(t, s)
	return 1 - c.product/c.teacher/c.student
}

// addCosineGradient adds weight * ((t.s) s / |s|^2 - t) / (|t| |s|); with |s| under minNorm, the first part is 0.
func addCosineGradient(g, t, s []float64, weight float64) {
	c := cosinesOf(t, s)
	along := 0.0
	if c.student > minNorm {
		along = c.product / c.student / c.student
	}
	weight = weight / c.teacher / c.student
	for j, x := range s {
		g[j] += float64(weight * (float64(along*x) - t[j]))
	}
}
