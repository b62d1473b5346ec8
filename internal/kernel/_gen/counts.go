package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Added to a float64 below 2^51, shift rounds it to an integer, half to even, and leaves that in the lower bits.
const shift = 0x1.8p52

func addRounded() {
	begin("addRounded", "(sums []int64, w float64, v []float64)", "addRoundedAVX2 is addRoundedGeneric for a multiple of four values.")
	w := YMM()
	VBROADCASTSD(address("w"), w)
	down, up, magic := double(0x1p-32), double(0x1p32), double(shift)
	Comment("What both shifts leave in the sum of upper and lower part.")
	sum, bits := GP64(), YMM()
	whole := math.Float64bits(shift)
	MOVQ(U64(whole<<32+whole), sum)
	VMOVQ(sum, bits.AsX())
	VPBROADCASTQ(bits.AsX(), bits)
	wholeOf("v", 4, []string{"sums", "v"}, []int{8, 8}, func(at []Mem) {
		x, high, low := YMM(), YMM(), YMM()
		VMULPD(at[1], w, x)
		Comment("The upper part is even, so that halves of the whole are those of the lower part.")
		VMULPD(down, x, high)
		VADDPD(magic, high, high)
		VSUBPD(magic, high, low)
		VMULPD(up, low, low)
		VSUBPD(low, x, low)
		VADDPD(magic, low, low)
		VPSLLQ(U8(32), high, high)
		VPADDQ(high, low, low)
		VPSUBQ(bits, low, low)
		VPADDQ(at[0], low, low)
		VMOVDQU(low, at[0])
	})
	end()
}

// double is a float64 in all lanes.
func double(v float64) VecVirtual {
	bits, r := GP64(), YMM()
	MOVQ(U64(math.Float64bits(v)), bits)
	VMOVQ(bits, r.AsX())
	VPBROADCASTQ(r.AsX(), r)
	return r
}
