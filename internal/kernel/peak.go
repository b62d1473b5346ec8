package kernel

// peakWidth is how many multiplications with an addition a round of multiplyAdds has: 12 registers of 16 values, or twice 12
// of 8.
const peakWidth = 12 * 16

// MultiplyAdds multiplies and adds in registers, without memory and without waiting for a result, and returns how many
// multiplications and additions that were: at most how fast a product of matrices can be on this CPU. rounds is above 0.
func MultiplyAdds(rounds int) (operations float64) {
	if rounds < 1 {
		panic("kernel: MultiplyAdds: rounds must be above 0")
	}
	multiplyAdds(rounds)
	return 2 * peakWidth * float64(rounds)
}

// peakSink keeps the compiler from leaving the arithmetic out.
var peakSink [peakWidth]float32

func multiplyAddsGeneric(rounds int) {
	sums := peakSink
	for range rounds {
		for i, s := range sums {
			sums[i] = s + float32(s*s)
		}
	}
	peakSink = sums
}
