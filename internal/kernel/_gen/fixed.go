package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
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
	scale, upper, lower, absolute, count := YMM(), YMM(), YMM(), YMM(), YMM()
	VBROADCASTSD(address("scale"), scale)
	Comment("The bounds, and the bits of a magnitude.")
	limit := GP32()
	Load(Param("limit"), limit)
	VXORPS(count, count, count)
	VCVTSI2SDL(limit, count.AsX(), upper.AsX())
	VBROADCASTSD(upper.AsX(), upper)
	VSUBPD(upper, count, lower)
	VPCMPEQD(absolute, absolute, absolute)
	VPSRLQ(U8(1), absolute, absolute)
	four(func(v lane, dst, src Mem) {
		x, r, over := XMM(), YMM(), YMM()
		v.load(src, x)
		VCVTPS2PD(x, r)
		VMULPD(scale, r, r)
		VROUNDPD(U8(0), r, r)
		Comment("Over is -1 where the magnitude is not at most the limit. NaN becomes the limit.")
		VANDPD(absolute, r, over)
		VCMPPD(U8(6), upper, over, over)
		VPSUBQ(over, count, count)
		VMINPD(upper, r, r)
		VMAXPD(lower, r, r)
		VCVTPD2DQY(r, x)
		v.store(x, dst)
	})
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
	end()
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
