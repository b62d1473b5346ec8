package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// four emits a loop over four values at a time of dst and src, then one under a mask.
func four(body func(v lane, dst, src Mem)) {
	dst, src, left := pointer("dst"), pointer("src"), length("src")
	SUBQ(U32(4), left)
	JLT(LabelRef("tail"))
	Label("loop")
	body(lane{}, Mem{Base: dst}, Mem{Base: src})
	ADDQ(U32(16), dst)
	ADDQ(U32(16), src)
	SUBQ(U32(4), left)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(U32(4), left)
	JZ(LabelRef("end"))
	mask := YMM()
	loadMask(left, mask)
	body(lane{mask.AsX()}, Mem{Base: dst}, Mem{Base: src})
	Label("end")
}

func toFixed32() {
	begin("toFixed32", "(dst []int32, src []float32, scale float64, limit int32) (saturated int)",
		"toFixed32AVX2 is toFixed32Generic.")
	scale, count := YMM(), YMM()
	VBROADCASTSD(address("scale"), scale)
	limits := loadLimits(count)
	four(func(v lane, dst, src Mem) {
		x, r, over := XMM(), YMM(), YMM()
		v.load(src, x)
		VCVTPS2PD(x, r)
		VMULPD(scale, r, r)
		VROUNDPD(U8(0), r, r)
		limits.clamp(r, over, count)
		VCVTPD2DQY(r, x)
		v.store(x, dst)
	})
	storeCount(count)
	end()
}

// limits are the bounds of an integer, in float64, and the bits of a magnitude.
type limits struct{ upper, lower, absolute VecVirtual }

// loadLimits makes limits of the parameter limit, and count zero.
func loadLimits(count VecVirtual) limits {
	l := limits{YMM(), YMM(), YMM()}
	Comment("The bounds, and the bits of a magnitude.")
	limit := GP32()
	Load(Param("limit"), limit)
	VXORPS(count, count, count)
	VCVTSI2SDL(limit, count.AsX(), l.upper.AsX())
	VBROADCASTSD(l.upper.AsX(), l.upper)
	VSUBPD(l.upper, count, l.lower)
	VPCMPEQD(l.absolute, l.absolute, l.absolute)
	VPSRLQ(U8(1), l.absolute, l.absolute)
	return l
}

// clamp brings r within the limits, and adds to count where it was not.
func (l limits) clamp(r, over, count VecVirtual) {
	Comment("Over is -1 where the magnitude is not at most the limit. NaN becomes the limit.")
	VANDPD(l.absolute, r, over)
	VCMPPD(U8(6), l.upper, over, over)
	VPSUBQ(over, count, count)
	VMINPD(l.upper, r, r)
	VMAXPD(l.lower, r, r)
}

// storeCount returns the sum of the four counts.
func storeCount(count VecVirtual) {
	Comment("The sum of the lanes.")
	high := XMM()
	VEXTRACTI128(U8(1), count, high)
	VPADDQ(high, count.AsX(), high)
	total := XMM()
	VPSHUFD(U8(0xee), high, total)
	VPADDQ(high, total, total)
	n := GP64()
	VMOVQ(total, n)
	Store(n, ReturnIndex(0))
}

func addFixed32() {
	begin("addFixed32", "(dst, src []int32)", "addFixed32AVX2 is addFixed32Generic.")
	flat("values", []string{"src", "dst"}, "src", func(v lane, at []Mem) {
		x, y := YMM(), YMM()
		v.load(at[0], x)
		v.load(at[1], y)
		VPADDD(x, y, y)
		v.store(y, at[1])
	})
	end()
}

func fromFixed32() {
	begin("fromFixed32", "(dst []float32, src []int32, scale float64)", "fromFixed32AVX2 is fromFixed32Generic.")
	scale := YMM()
	VBROADCASTSD(address("scale"), scale)
	four(func(v lane, dst, src Mem) {
		x, r := XMM(), YMM()
		v.load(src, x)
		VCVTDQ2PD(x, r)
		VMULPD(scale, r, r)
		VCVTPD2PSY(r, x)
		v.store(x, dst)
	})
	end()
}

// whole emits a loop over n values at a time, of as many as src has, a multiple of n; sizes are those of a value at each
// pointer, in bytes.
func whole(n int, names []string, sizes []int, body func(at []Mem)) {
	pointers := make([]Register, len(names))
	at := make([]Mem, len(names))
	for i, name := range names {
		pointers[i] = pointer(name)
		at[i] = Mem{Base: pointers[i]}
	}
	left := length("src")
	SUBQ(U32(uint32(n)), left)
	JLT(LabelRef("end"))
	Label("loop")
	body(at)
	for i, p := range pointers {
		ADDQ(U32(uint32(n*sizes[i])), p)
	}
	SUBQ(U32(uint32(n)), left)
	JGE(LabelRef("loop"))
	Label("end")
}

func toFixed16() {
	begin("toFixed16", "(dst []int16, after, src, before []float32, scale, unit float64, limit int32) (saturated int)",
		"toFixed16AVX2 is toFixed16Generic for a multiple of four values.")
	scale, unit, count := YMM(), YMM(), YMM()
	VBROADCASTSD(address("scale"), scale)
	VBROADCASTSD(address("unit"), unit)
	limits := loadLimits(count)
	whole(4, []string{"dst", "after", "src", "before"}, []int{2, 4, 4, 4}, func(at []Mem) {
		x, v, r, over := XMM(), YMM(), YMM(), YMM()
		VMOVUPS(at[2], x)
		VADDPS(at[3], x, x)
		VCVTPS2PD(x, v)
		VMULPD(scale, v, r)
		VROUNDPD(U8(0), r, r)
		limits.clamp(r, over, count)
		VCVTPD2DQY(r, x)
		VPACKSSDW(x, x, x)
		VMOVQ(x, at[0])
		Comment("What is left.")
		VMULPD(unit, r, r)
		VSUBPD(r, v, v)
		VCVTPD2PSY(v, x)
		VMOVUPS(x, at[1])
	})
	storeCount(count)
	end()
}

func addFixed16() {
	begin("addFixed16", "(dst, src []int16) (overflow uint64)",
		"addFixed16AVX2 is addFixed16Generic for a multiple of 16 values; overflow is 0 or not.")
	over := YMM()
	VPXOR(over, over, over)
	whole(16, []string{"dst", "src"}, []int{2, 2}, func(at []Mem) {
		x, sum := YMM(), YMM()
		VMOVDQU(at[1], x)
		VPADDW(at[0], x, sum)
		Comment("A sum that saturates is another one.")
		VPADDSW(at[0], x, x)
		VMOVDQU(sum, at[0])
		VPXOR(sum, x, x)
		VPOR(x, over, over)
	})
	Comment("All of it in one word.")
	high := XMM()
	VEXTRACTI128(U8(1), over, high)
	VPOR(high, over.AsX(), high)
	other := XMM()
	VPSHUFD(U8(0xee), high, other)
	VPOR(high, other, other)
	n := GP64()
	VMOVQ(other, n)
	Store(n, ReturnIndex(0))
	end()
}

func fromFixed16() {
	begin("fromFixed16", "(dst []float32, src []int16, scale float64)",
		"fromFixed16AVX2 is fromFixed16Generic for a multiple of four values.")
	scale := YMM()
	VBROADCASTSD(address("scale"), scale)
	whole(4, []string{"dst", "src"}, []int{4, 2}, func(at []Mem) {
		x, r := XMM(), YMM()
		VPMOVSXWD(at[1], x)
		VCVTDQ2PD(x, r)
		VMULPD(scale, r, r)
		VCVTPD2PSY(r, x)
		VMOVUPS(x, at[0])
	})
	end()
}
