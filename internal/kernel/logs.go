package kernel

import "pupil/internal/random/elementary"

// Logs overwrites dst by the natural logarithms of src, and by logFloor where src is under floor. The bits are those of
// elementary.Log. floor is at least 2^-1022; src has no NaN and is finite. dst has the length of src, and may be src.
func Logs(dst, src []float64, floor, logFloor float64) {
	checkLen("Logs", "dst", len(dst), len(src))
	logs(dst, src, floor, logFloor)
}

func logsGeneric(dst, src []float64, floor, logFloor float64) {
	dst = dst[:len(src)]
	for i, x := range src {
		if x < floor {
			dst[i] = logFloor
		} else {
			dst[i] = elementary.Log(x)
		}
	}
}
