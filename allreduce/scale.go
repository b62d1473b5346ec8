package allreduce

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Bounds of exponents. The lowest gives every float32 exactly, the highest reaches above the largest.
const (
	MinExponent = -149
	MaxExponent = 128
)

const (
	// headroom is by how much a tensor's values may grow from step to step without saturating: 2^8.
	headroom = 8
	// widening is added to the exponent of a tensor that saturated: its range grows by 2^4 at once.
	widening = 4
	// narrowing is taken from the exponent of a tensor whose sums were all zero, which may have been too small for it,
	// down to a range of lowestRange.
	narrowing   = 8
	lowestRange = 0x1p-12
	// history is the number of steps over which the largest magnitude counts.
	history = 16
	// initialRange is the largest magnitude that a lane's value is expected to have before anything is known.
	initialRange = 256

	// The same for 16 bits, where a bit of range is a bit of precision, and error feedback gives what saturated, or was
	// too small, to the next steps.
	headroom16     = 1
	widening16     = 1
	initialRange16 = 1
)

// Format is the integer type of fixed-point sums.
type Format int

// The formats.
const (
	Fixed32 Format = iota // sums of 32 bits, for ReduceInt32; nothing is fed back
	Fixed16               // sums of 16 bits, for ReduceInt16, for lanes with error feedback
)

// MaxLanes is the largest number of lanes of a format. That of Fixed16 leaves a lane 7 bits and the sign.
func (f Format) MaxLanes() int {
	if f == Fixed16 {
		return math.MaxInt16 / 127
	}
	return 1 << 30
}

func (f Format) largest() int32 {
	if f == Fixed16 {
		return math.MaxInt16
	}
	return math.MaxInt32
}

func (f Format) headroom() int {
	if f == Fixed16 {
		return headroom16
	}
	return headroom
}

func (f Format) widening() int {
	if f == Fixed16 {
		return widening16
	}
	return widening
}

// Scaler chooses the exponents of fixed-point sums by delayed scaling: that of a step follows from what earlier steps
// reduced, so every worker knows it without a message (as in FP8 training: Micikevicius et al., "FP8 Formats for Deep
// Learning", 2022, and NVIDIA's Transformer Engine).
//
// A lane turns a value x of tensor i into the integer q = round(x * 2^-e), e = Exponents()[i], and clamps it to
// [-Limit, Limit], Limit = floor((2^31 - 1) / lanes), so that the sum of all lanes fits an int32.
//
// With M the largest magnitude of the tensor's sum in the last 16 steps, e is the smallest integer for which 2^8 M <=
// Limit 2^e: a value of 2^8 M, 256 times what the whole sum had, does not saturate. A tensor that saturated gets e + 4
// or more and keeps it for 16 steps. A tensor whose sums were zero in all of these steps may have values that are too
// small for its unit: its exponent falls by 8 a step, until values up to 2^-12 do not saturate.
//
// Precision: a unit of q is 2^e < 2^9 M / Limit, about 2^-22 lanes M. A lane's rounding is off by half a unit at most,
// so a sum over lanes by lanes/2 units: with 8 lanes a unit is under 2^-19 of M, and a sum is right to 2^-17 M (errors
// are independent, so the typical error is sqrt(lanes/12) units, 2^-19 M). This is relative to the tensor's largest
// value; a lane's value of less than half a unit becomes 0. Before the first Update a unit is under 2^-22 lanes, for
// values up to 256 (see NewScaler and Expect).
//
// With Fixed16, Limit is floor((2^15 - 1) / lanes), so that the sum of all lanes, and of any part of them, fits an
// int16. The headroom is one bit, a tensor that saturated gets e + 1 or more, and values up to 1 are expected at first.
// With 8 lanes a unit is under 2^-10 M, and a sum is right to 2^-8 M, typically 2^-10 M; with 64 lanes a unit is under
// 2^-7 M, and a sum is right to 2^-2 M, typically 2^-6 M. So a lane feeds its error back: it keeps r = (x + r) - q 2^e
// of each element, where q is made of x + r, and what a step rounded or clamped away comes with the next ones (Seide et
// al., "1-Bit Stochastic Gradient Descent", Interspeech 2014; Karimireddy et al., "Error Feedback Fixes SignSGD", ICML
// 2019). r is a function of the lane's own values and the exponents, in float32 as in the example, and so independent
// of where lanes are.
//
// The zero Scaler has no tensors; it is there to be decoded into. Scaler is not safe for concurrent use.
type Scaler struct {
	format    Format
	lanes     int
	exponents []int
	needs     [][]int // by step, the newest last, at most history: by tensor, the exponent that the step called for
}

// noNeed is the need of a tensor whose sum was zero. It is below every exponent.
const noNeed = MinExponent - 1

// NewScaler returns the Scaler before the first step, for values of a lane up to 256; Expect says otherwise for a
// tensor.
// lanes under 1 count as 1, more than 2^30 as 2^30.
func NewScaler(tensors, lanes int) *Scaler {
	s := &Scaler{lanes: min(max(lanes, 1), 1<<30), exponents: make([]int, max(tensors, 0))}
	for i := range s.exponents {
		s.Expect(i, initialRange)
	}
	return s
}

// NewScaler16 is NewScaler for Fixed16 and values of a lane up to 1. The error tells of too many lanes.
func NewScaler16(tensors, lanes int) (*Scaler, error) {
	if most := Fixed16.MaxLanes(); lanes > most {
		return nil, fmt.Errorf("scaler: %d lanes leave fewer than 8 bits to each in sums of 16 bits; take %d lanes or "+
			"fewer, or sums of 32 bits", lanes, most)
	}
	s := &Scaler{format: Fixed16, lanes: max(lanes, 1), exponents: make([]int, max(tensors, 0))}
	for i := range s.exponents {
		s.Expect(i, initialRange16)
	}
	return s, nil
}

// Format is the type of the sums.
func (s *Scaler) Format() Format { return s.format }

// Expect sets the largest magnitude that a lane's values of a tensor are expected to have before the first Update: they
// do not saturate. It takes no further headroom. Not a number counts as infinite.
func (s *Scaler) Expect(tensor int, largest float64) {
	s.exponents[tensor] = exponentFor(largest, 0, s.Limit())
}

// Limit is the largest magnitude of a lane's integer.
func (s *Scaler) Limit() int32 { return s.format.largest() / int32(max(s.lanes, 1)) }

// Exponents are those of the next step, by tensor. The slice is the caller's.
func (s *Scaler) Exponents() []int { return slices.Clone(s.exponents) }

// Update takes what a step has reduced, by tensor: the largest magnitude of its sum in real units, and the number of
// values of all lanes that saturated. It is a function of its arguments and the Scaler's state: all workers that give
// it the same get the same exponents. The error tells of a wrong number of tensors; the state is then as it was.
func (s *Scaler) Update(largest []float64, saturated []int) error {
	if len(largest) != len(s.exponents) || len(saturated) != len(s.exponents) {
		return fmt.Errorf("scaler: %d magnitudes and %d counts for %d tensors",
			len(largest), len(saturated), len(s.exponents))
	}
	step := make([]int, len(s.exponents))
	for i, x := range largest {
		step[i] = noNeed
		if x != 0 {
			step[i] = exponentFor(x, s.format.headroom(), s.Limit())
		}
		if saturated[i] > 0 {
			step[i] = min(max(step[i], s.exponents[i]+s.format.widening()), MaxExponent)
		}
	}
	s.needs = append(s.needs, step)
	s.needs = s.needs[max(0, len(s.needs)-history):]
	for i := range s.exponents {
		need := noNeed
		for _, n := range s.needs {
			need = max(need, n[i])
		}
		if lowest := exponentFor(lowestRange, 0, s.Limit()); need > noNeed {
			s.exponents[i] = need
		} else if s.exponents[i] > lowest {
			s.exponents[i] = max(s.exponents[i]-narrowing, lowest)
		}
	}
	return nil
}

// exponentFor is the smallest exponent e within the bounds for which |largest| 2^bits <= limit 2^e.
func exponentFor(largest float64, bits int, limit int32) int {
	largest = math.Abs(largest)
	if math.IsNaN(largest) || math.IsInf(largest, 0) {
		return MaxExponent
	}
	f, e := math.Frexp(largest) // largest = f 2^e, f in [1/2, 1) or 0
	if f == 0 {
		return MinExponent
	}
	// f/limit is rounded, but never over or under a power of two: f 2^53 and limit are integers, and a quotient of such
	// that is no power of two differs from one by more than half a unit in the last place.
	g, d := math.Frexp(f / float64(limit)) // largest/limit = g 2^(d+e)
	if g == 0.5 {
		d--
	}
	return min(max(d+e+bits, MinExponent), MaxExponent)
}

// scalerState is the JSON form. Integers only, so it is exact.
type scalerState struct {
	Format    string  `json:"format,omitempty"` // "fixed16", or nothing for Fixed32
	Lanes     int     `json:"lanes"`
	Exponents []int   `json:"exponents"`
	Needs     [][]int `json:"needs"`
}

// fixed16 is the name of Fixed16 in the state.
const fixed16 = "fixed16"

// MarshalJSON gives the whole state; the same state gives the same bytes.
func (s *Scaler) MarshalJSON() ([]byte, error) {
	x := scalerState{Lanes: s.lanes, Exponents: append([]int{}, s.exponents...), Needs: append([][]int{}, s.needs...)}
	if s.format == Fixed16 {
		x.Format = fixed16
	}
	return json.Marshal(x)
}

// UnmarshalJSON sets the whole state. A Scaler that has tensors refuses a state of other tensors or lanes, and is then
// as it was.
func (s *Scaler) UnmarshalJSON(data []byte) error {
	var x scalerState
	if err := json.Unmarshal(data, &x); err != nil {
		return fmt.Errorf("scaler: %w", err)
	}
	if err := x.validate(); err != nil {
		return fmt.Errorf("scaler: %w", err)
	}
	format := Fixed32
	if x.Format == fixed16 {
		format = Fixed16
	}
	if len(s.exponents) > 0 && format != s.format {
		return fmt.Errorf("scaler: the state is one of the format %q, which is not that of the job", x.Format)
	}
	if n := len(s.exponents); n > 0 && (n != len(x.Exponents) || s.lanes != x.Lanes) {
		return fmt.Errorf("scaler: the state is one of %d tensors and %d lanes; here there are %d tensors and %d lanes",
			len(x.Exponents), x.Lanes, n, s.lanes)
	}
	*s = Scaler{format: format, lanes: x.Lanes, exponents: x.Exponents, needs: x.Needs}
	return nil
}

func (x scalerState) validate() error {
	most := Fixed32.MaxLanes()
	switch x.Format {
	case "":
	case fixed16:
		most = Fixed16.MaxLanes()
	default:
		return fmt.Errorf("format is %q; it must be %q or nothing", x.Format, fixed16)
	}
	if x.Lanes < 1 || x.Lanes > most {
		return fmt.Errorf("lanes is %d; it must be 1 to %d", x.Lanes, most)
	}
	if len(x.Needs) > history {
		return fmt.Errorf("needs has %d steps; at most %d count", len(x.Needs), history)
	}
	for i, e := range x.Exponents {
		if e < MinExponent || e > MaxExponent {
			return fmt.Errorf("exponent %d is %d; it must be %d to %d", i, e, MinExponent, MaxExponent)
		}
	}
	for k, step := range x.Needs {
		if len(step) != len(x.Exponents) {
			return fmt.Errorf("needs %d has %d tensors; there are %d exponents", k, len(step), len(x.Exponents))
		}
		for _, e := range step {
			if e < noNeed || e > MaxExponent {
				return fmt.Errorf("needs %d has an exponent of %d; it must be %d to %d", k, e, noNeed, MaxExponent)
			}
		}
	}
	return nil
}
