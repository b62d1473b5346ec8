package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// exps follows elementary.Exp to the bit, for all but NaN.
func exps() {
	begin("exps", "(dst, src []float64)", "expsAVX2 is expsGeneric for a multiple of four values.")
	const (
		least, most = -745.13321910194122, 709.78271289338397
		high        = 0x1.62e42fefap-1
		bias        = 2048
	)
	factorial := 6227020800.0 // 13!
	wholeOf("src", 4, []string{"dst", "src"}, []int{8, 8}, func(at []Mem) {
		x, under, over, k, r, p, t := YMM(), YMM(), YMM(), YMM(), YMM(), YMM(), YMM()
		VMOVUPD(at[1], x)
		VCMPPD(U8(1), quad(least), x, under)
		VCMPPD(U8(14), quad(most), x, over)
		VMAXPD(quad(least), x, x)
		VMINPD(quad(most), x, x)
		Comment("x = k log 2 + r, and the series of e^r.")
		VMULPD(quad(math.Log2E), x, k)
		VROUNDPD(U8(0), k, k)
		VMULPD(quad(high), k, t)
		VSUBPD(t, x, r)
		VMULPD(quad(math.Ln2-high), k, t)
		VSUBPD(t, r, r)
		VMOVUPD(quad(1/factorial), p)
		for n := 13.0; n >= 3; n-- {
			factorial /= n
			VMULPD(r, p, p)
			VADDPD(quad(1/factorial), p, p)
		}
		VMULPD(r, p, p)
		VMULPD(r, p, p)
		VADDPD(r, p, p)
		VADDPD(quad(1), p, p)
		Comment("k as an integer, its half, towards 0, and the rest; twice a power of 2.")
		half, sign := YMM(), YMM()
		VADDPD(quad(shift), k, k)
		VPSUBQ(quad(shift), k, k)
		VPSRLQ(U8(63), k, sign)
		VPADDQ(quadBits(bias), k, half)
		VPADDQ(sign, half, half)
		VPSRLQ(U8(1), half, half)
		VPSUBQ(quadBits(bias/2), half, half)
		VPSUBQ(half, k, k)
		for _, e := range []Op{half, k} {
			VPADDQ(quadBits(1023), e, e)
			VPSLLQ(U8(52), e, e)
			VMULPD(e, p, p)
		}
		VBLENDVPD(over, quad(math.Inf(1)), p, p)
		VANDNPD(p, under, p)
		VMOVUPD(p, at[0])
	})
	end()
}
