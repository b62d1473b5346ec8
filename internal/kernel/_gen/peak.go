package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// peakChains is how many sums are under way at once: more than the CPU needs to hide the latency of an addition.
const peakChains = 12

func multiplyAdds() {
	begin("multiplyAdds", "(rounds int)", "multiplyAdds"+set+" is multiplyAddsGeneric.")
	left := integer("rounds")
	factor := zero()
	var sums []VecVirtual
	for range peakChains {
		sums = append(sums, zero())
	}
	Label("round")
	for range 16 / lanes { // a round is as long with narrow registers
		for _, s := range sums {
			VFMADD231PS(factor, factor, s)
		}
	}
	DECQ(left)
	JNZ(LabelRef("round"))
	end()
}
