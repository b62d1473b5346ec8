//go:build amd64 && !noasm

package kernel

// What is here gives the same bits in assembly and in plain Go. The assembly takes whole registers, and the plain code what is left.

func toFixed16(dst []int16, after, src, before []float32, scale, unit float64, limit int16) (saturated int) {
	n := 0
	if chosen != generic {
		n = len(src) &^ 3
		saturated = toFixed16AVX2(dst[:n], after[:n], src[:n], before[:n], scale, unit, int32(limit))
	}
	return saturated + toFixed16Generic(dst[n:], after[n:], src[n:], before[n:], scale, unit, limit)
}

func addFixed16(dst, src []int16) (overflow bool) {
	n := 0
	if chosen != generic {
		n = len(src) &^ 15
		overflow = addFixed16AVX2(dst[:n], src[:n]) != 0
	}
	return addFixed16Generic(dst[n:], src[n:]) || overflow
}

func fromFixed16(dst []float32, src []int16, scale float64) {
	n := 0
	if chosen != generic {
		n = len(src) &^ 3
		fromFixed16AVX2(dst[:n], src[:n], scale)
	}
	fromFixed16Generic(dst[n:], src[n:], scale)
}

func packFixed24(dst []byte, src []int32) (fits bool) {
	n, beyond := 0, uint64(0)
	if chosen != generic {
		n = len(src) &^ 7
		beyond = packFixed24AVX2(dst[:3*n], src[:n])
	}
	return packFixed24Generic(dst[3*n:], src[n:]) == 0 && beyond == 0
}

func addFixed24(dst []byte, src []int32) (fits bool) {
	n, beyond := 0, uint64(0)
	if chosen != generic {
		n = len(src) &^ 7
		beyond = addFixed24AVX2(dst[:3*n], src[:n])
	}
	return addFixed24Generic(dst[3*n:], src[n:]) == 0 && beyond == 0
}

func unpackFixed24(dst []int32, src []byte) {
	n := 0
	if chosen != generic {
		n = len(dst) &^ 7
		unpackFixed24AVX2(dst[:n], src[:3*n])
	}
	unpackFixed24Generic(dst[n:], src[3*n:])
}

func addRounded(sums []int64, w float64, v []float64) {
	n := 0
	if chosen != generic {
		n = len(v) &^ 3
		addRoundedAVX2(sums[:n], w, v[:n])
	}
	addRoundedGeneric(sums[n:], w, v[n:])
}

func logs(dst, src []float64, floor, logFloor float64) {
	n := 0
	if chosen != generic {
		n = len(src) &^ 3
		logsAVX2(dst[:n], src[:n], floor, logFloor)
	}
	logsGeneric(dst[n:], src[n:], floor, logFloor)
}

func exps(dst, src []float64) {
	n := 0
	if chosen != generic {
		n = len(src) &^ 3
		expsAVX2(dst[:n], src[:n])
	}
	expsGeneric(dst[n:], src[n:])
}

func adamW(p, g, m, v []float32, f *AdamW) {
	n := 0
	if chosen != generic {
		n = len(p) &^ 7
		adamWAVX2(p[:n], g, m, v, &f.Beta1)
	}
	adamWGeneric(p[n:], g[n:], m[n:], v[n:], f)
}

func momentum(p, g, v []float32, f *Momentum) {
	n := 0
	if chosen != generic {
		n = len(p) &^ 7
		momentumAVX2(p[:n], g, v, &f.Decay, f.Nesterov)
	}
	momentumGeneric(p[n:], g[n:], v[n:], f)
}
