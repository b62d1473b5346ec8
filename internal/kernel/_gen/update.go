package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// factors are float32 numbers behind each other from f on, each in all lanes.
func factors(n int) (list []VecVirtual) {
	f := Load(Param("f"), GP64())
	for i := range n {
		v := YMM()
		VBROADCASTSS(Mem{Base: f, Disp: 4 * i}, v)
		list = append(list, v)
	}
	return list
}

// eights emits a loop over eight values at a time of vectors that are as long as the first one, a multiple of eight.
func eights(l labels, vectors []string, body func(at []Mem)) {
	i, left := GP64(), length(vectors[0])
	var at []Mem
	for _, v := range vectors {
		at = append(at, Mem{Base: pointer(v), Index: i, Scale: 4})
	}
	XORQ(i, i)
	Label(l.name("loop"))
	SUBQ(U32(lanes), left)
	JLT(LabelRef(l.name("end")))
	body(at)
	ADDQ(U32(lanes), i)
	JMP(LabelRef(l.name("loop")))
	Label(l.name("end"))
	end()
}

func adamW() {
	begin("adamW", "(p, g, m, v []float32, f *float32)", "adamWAVX2 is adamWGeneric for a multiple of eight values.")
	f := factors(8)
	beta1, rest1, beta2, rest2, unbias, epsilon, rise, keep := f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]
	eights("adam", []string{"p", "g", "m", "v"}, func(at []Mem) {
		p, g, m, v, t := YMM(), YMM(), YMM(), YMM(), YMM()
		VMOVUPS(at[1], g)
		VMULPS(at[2], beta1, m)
		VMULPS(g, rest1, t)
		VADDPS(t, m, m)
		VMOVUPS(m, at[2])
		VMULPS(at[3], beta2, v)
		VMULPS(g, rest2, t)
		VMULPS(g, t, t)
		VADDPS(t, v, v)
		VMOVUPS(v, at[3])
		VSQRTPS(v, v)
		VMULPS(unbias, v, v)
		VADDPS(epsilon, v, v)
		VMULPS(rise, m, m)
		VDIVPS(v, m, m)
		VMULPS(at[0], keep, p)
		VSUBPS(m, p, p)
		VMOVUPS(p, at[0])
	})
}

func momentum() {
	begin("momentum", "(p, g, v []float32, f *float32, nesterov bool)",
		"momentumAVX2 is momentumGeneric for a multiple of eight values.")
	f := factors(4)
	decay, ratio, share, rate := f[0], f[1], f[2], f[3]
	nesterov := GP32()
	Load(Param("nesterov"), nesterov.As8())
	TESTB(nesterov.As8(), nesterov.As8())
	JNZ(LabelRef("nesterov_begin"))
	for _, l := range []labels{"plain", "nesterov"} {
		Label(l.name("begin"))
		eights(l, []string{"p", "g", "v"}, func(at []Mem) {
			p, d, v := YMM(), YMM(), YMM()
			VMOVUPS(at[0], p)
			VMULPS(p, decay, d)
			VADDPS(at[1], d, d)
			VMULPS(d, ratio, d)
			VMULPS(at[2], share, v)
			VADDPS(d, v, v)
			VMOVUPS(v, at[2])
			if l == "nesterov" {
				VMULPS(v, share, v)
				VADDPS(d, v, v)
			}
			VMULPS(v, rate, v)
			VSUBPS(v, p, p)
			VMOVUPS(p, at[0])
		})
	}
}
