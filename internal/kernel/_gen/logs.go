package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// logs follows elementary.Log to the bit, for positive numbers that are not subnormal.
func logs() {
	begin("logs", "(dst, src []float64, floor, logFloor float64)", "logsAVX2 is logsGeneric for a multiple of four values.")
	floor, lowest, one, two := YMM(), YMM(), YMM(), YMM()
	VBROADCASTSD(address("floor"), floor)
	VBROADCASTSD(address("logFloor"), lowest)
	VMOVUPD(quad(1), one)
	VMOVUPD(quad(2), two)
	wholeOf("src", 4, []string{"dst", "src"}, []int{8, 8}, func(at []Mem) {
		x, under, u, k, half := YMM(), YMM(), YMM(), YMM(), YMM()
		VMOVUPD(at[1], x)
		VCMPPD(U8(1), floor, x, under)
		VMAXPD(floor, x, x)
		Comment("x = 2^k u with u in [sqrt(1/2), sqrt(2)).")
		VPSRLQ(U8(52), x, k)
		VPAND(quadBits(1<<52-1), x, u)
		VPOR(one, u, u)
		VMOVUPD(quadBits(math.Float64bits(math.Sqrt2)-1), half)
		VPSUBQ(u, half, half)
		VPSRLQ(U8(63), half, half)
		VPADDQ(half, k, k)
		VPSLLQ(U8(52), half, half)
		VPSUBQ(half, u, u)
		VPOR(quad(0x1p52), k, k)
		VSUBPD(quad(0x1p52+1023), k, k)
		Comment("v = (u - 1) / (u + 1), w = v^2, and the series of 2 artanh(v).")
		v, w, p, t := YMM(), YMM(), YMM(), YMM()
		VSUBPD(one, u, v)
		VADDPD(v, two, t)
		VDIVPD(t, v, v)
		VMULPD(v, v, w)
		VMOVUPD(quad(2.0/23), p)
		for n := 21.0; n >= 3; n -= 2 {
			VMULPD(w, p, p)
			VADDPD(quad(2/n), p, p)
		}
		VMULPD(w, p, p)
		VMULPD(v, p, p)
		const high = 0x1.62e42fefap-1
		VMULPD(quad(math.Ln2-high), k, t)
		VADDPD(t, p, p)
		VADDPD(v, v, v)
		VADDPD(p, v, v)
		VMULPD(quad(high), k, k)
		VADDPD(v, k, v)
		VBLENDVPD(under, lowest, v, v)
		VMOVUPD(v, at[0])
	})
	end()
}

// quads are four times the same number of 64 bits in memory, by its bits.
var quads = map[uint64]Mem{}

func quadBits(bits uint64) Mem {
	m, ok := quads[bits]
	if !ok {
		m = GLOBL(fmt.Sprintf("quad%d", len(quads)), RODATA|NOPTR)
		for i := range 4 {
			DATA(8*i, U64(bits))
		}
		quads[bits] = m
	}
	return m
}

func quad(v float64) Mem { return quadBits(math.Float64bits(v)) }
