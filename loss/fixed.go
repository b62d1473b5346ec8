package loss

import (
	"math"
	"math/bits"
)

// maxWhole bounds the whole part of one sample's value, in nats; with up to maxGlobal samples a sum stays under 2^62.
const (
	maxWhole  = 1 << 32
	maxGlobal = 1 << 30
)

// fixed is a fixed-point format: a number is counted in units of 1/scale.
type fixed struct {
	scale float64 // a power of two
	unit  float64 // 1 / scale
}

// newFixed returns the finest format in which a sum over samples of numbers of at most 2^boundBits fits 62 bits.
func newFixed(samples, boundBits int) fixed {
	k := 62 - bits.Len(uint(samples-1)) - boundBits
	return fixed{scale: math.Ldexp(1, k), unit: math.Ldexp(1, -k)}
}

// count rounds v to a number of units, half to even. v must be within the format's bound.
func (f fixed) count(v float64) int64 { return int64(math.RoundToEven(v * f.scale)) }

// value is the inverse of count, rounded once to float64.
func (f fixed) value(q int64) float64 { return float64(q) * f.unit }

// addValue adds one sample's value, in nats, to a sum of two words: whole nats, clamped to maxWhole, and units.
func (f fixed) addValue(sum []int64, v float64) {
	whole := math.Floor(min(max(v, -maxWhole), maxWhole))
	sum[0] += int64(whole)
	sum[1] += f.count(min(max(v-whole, 0), 1))
}

// readValue returns the sum that addValue made.
func (f fixed) readValue(sum []int64) float64 { return float64(sum[0]) + float64(f.value(sum[1])) }
