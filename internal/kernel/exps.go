package kernel

import "pupil/internal/random/elementary"

// Exps overwrites dst by e to the power of src, for softmaxes. The bits are those of elementary.Exp; src has no NaN. dst has the
// length of src, and may be src.
func Exps(dst, src []float64) {
	checkLen("Exps", "dst", len(dst), len(src))
	exps(dst, src)
}

func expsGeneric(dst, src []float64) {
	dst = dst[:len(src)]
	for i, x := range src {
		dst[i] = elementary.Exp(x)
	}
}
