package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// activation is the code of one kernel.Activation, by its value.
type activation struct {
	kind int
}

// The values of kernel.Activation.
const (
	identity = iota
	relu
	relu6
	hardSwish
	hardSigmoid
	activations
)

// eachActivation emits a copy of a kernel for each activation, and the choice among them by the parameter act.
func eachActivation(emit func(l labels, a activation)) {
	kind := GP32()
	Load(Param("act"), kind.As8())
	MOVBLZX(kind.As8(), kind)
	for k := 1; k < activations; k++ {
		CMPL(kind, U32(k))
		JEQ(LabelRef(fmt.Sprintf("act%d_begin", k)))
	}
	for k := range activations {
		l := labels(fmt.Sprintf("act%d", k))
		Label(l.name("begin"))
		emit(l, activation{kind: k})
		end()
	}
}

func (a activation) forward(v VecVirtual) {
	switch a.kind {
	case relu, relu6:
		low(v, 0)
	case hardSwish, hardSigmoid:
		t := vector()
		VADDPS(constant(3), v, t)
		low(t, 0)
		high(t, 6)
		if a.kind == hardSwish {
			VMULPS(t, v, t)
		}
		VMULPS(constant(1.0/6), t, v)
	}
	if a.kind == relu6 {
		high(v, 6)
	}
}

// hold keeps the constants of forward in registers.
func (a activation) hold() {
	switch a.kind {
	case relu:
		hold(0)
	case relu6:
		hold(0, 6)
	case hardSwish, hardSigmoid:
		hold(3, 0, 6, 1.0/6)
	}
}

// low computes v = max(v, bound) and high v = min(v, bound); NaN stays.
func low(v VecVirtual, bound float32)  { VMAXPS(v, bounds(bound), v) }
func high(v VecVirtual, bound float32) { VMINPS(v, bounds(bound), v) }

func bounds(v float32) VecVirtual {
	if r, ok := held[v]; ok {
		return r
	}
	if v == 0 {
		return zero()
	}
	return constant(v)
}

// Predicates of VCMPPS.
const (
	lessThan    = 0x11
	greaterThan = 0x1e
	unordered   = 0x03 // one is NaN
	ordered     = 0x07
)

// compare returns a mask of v p bound.
func compare(v VecVirtual, p int, bound float32) VecVirtual {
	m := YMM()
	VCMPPS(U8(p), eight(bound), v, m)
	return m
}

// backward computes d = d * act'(v).
func (a activation) backward(v, d VecVirtual) {
	switch a.kind {
	case relu:
		VANDPS(compare(v, greaterThan, 0), d, d)
	case relu6:
		VANDPS(compare(v, greaterThan, 0), d, d)
		VANDPS(compare(v, lessThan, 6), d, d)
	case hardSigmoid:
		VMULPS(constant(1.0/6), d, d)
		VANDPS(compare(v, greaterThan, -3), d, d)
		VANDPS(compare(v, lessThan, 3), d, d)
	case hardSwish:
		f := YMM()
		VMULPS(constant(1.0/3), v, f)
		VADDPS(constant(0.5), f, f)
		VBLENDVPS(compare(v, greaterThan, 3), eight(1), f, f)
		VMULPS(f, d, d)
		VANDNPS(d, compare(v, lessThan, -3), d)
	}
}

// backwardFrom loads d and computes d = d * act'(v). base is what backwardBase returned.
func (a activation) backwardFrom(l lane, m Mem, base, v VecVirtual) VecVirtual {
	d := YMM()
	if a.kind != relu && a.kind != relu6 || l.mask != nil {
		l.load(m, d)
		a.backward(v, d)
		return d
	}
	if a.kind == relu {
		VCMPPS(U8(greaterThan), eight(0), v, d)
	} else {
		Comment("As integers: 0 < v < 6 where 2^31 - v > 2^31 - 6, which wraps around for v <= 0.")
		VPSUBD(v, base, d)
		VPCMPGTD(table(1<<31-math.Float32bits(6)), d, d)
	}
	VANDPS(m, d, d)
	return d
}

// backwardBase is the constant of backwardFrom, or nil where it has none.
func (a activation) backwardBase() VecVirtual {
	if a.kind != relu6 {
		return nil
	}
	r := YMM()
	VMOVUPS(table(1<<31), r)
	return r
}

// flat emits a loop over all values of slices, many at a time: body is given, for each slice, an address.
func flat(l labels, slices []string, size string, body func(v lane, at []Mem)) {
	const unroll = 4
	var p []Register
	for _, s := range slices {
		p = append(p, pointer(s))
	}
	left := length(size)
	at := func(n int) []Mem {
		var m []Mem
		for _, r := range p {
			m = append(m, Mem{Base: r, Disp: 4 * lanes * n})
		}
		return m
	}
	step := func(n int) {
		for i := range n {
			body(lane{}, at(i))
		}
		for _, r := range p {
			ADDQ(U32(4*lanes*n), r)
		}
		SUBQ(U32(lanes*n), left)
	}
	for _, n := range []int{unroll, 1} {
		part := fmt.Sprintf("by%d", n)
		Label(l.name(part))
		CMPQ(left, U32(lanes*n))
		JLT(LabelRef(l.name(part + "_end")))
		step(n)
		JMP(LabelRef(l.name(part)))
		Label(l.name(part + "_end"))
	}
	TESTQ(left, left)
	JZ(LabelRef(l.name("end")))
	body(few(left), at(0))
	Label(l.name("end"))
}

func activate() {
	begin("activate", "(act uint8, x, y []float32)", "activateAVX2 is activateGeneric.")
	eachActivation(func(l labels, a activation) {
		flat(l, []string{"x", "y"}, "x", func(v lane, at []Mem) {
			x := YMM()
			v.load(at[0], x)
			a.forward(x)
			v.store(x, at[1])
		})
	})
}

func activateBackward() {
	begin("activateBackward", "(act uint8, x, dy, dx []float32)", "activateBackwardAVX2 is activateBackwardGeneric.")
	eachActivation(func(l labels, a activation) {
		flat(l, []string{"x", "dy", "dx"}, "x", func(v lane, at []Mem) {
			x, d := YMM(), YMM()
			v.load(at[0], x)
			v.load(at[1], d)
			a.backward(x, d)
			v.store(d, at[2])
		})
	})
}

// elementwise emits z = x op y.
func elementwise(name string, op func(...Op)) {
	begin(name, "(x, y, z []float32)", name+"AVX2 is "+name+"Generic.")
	flat("values", []string{"x", "y", "z"}, "x", func(v lane, at []Mem) {
		x, y := YMM(), YMM()
		v.load(at[0], x)
		v.load(at[1], y)
		op(y, x, x)
		v.store(x, at[2])
	})
	end()
}

func maximum() {
	begin("maximum", "(x, y []float32)", "maximumAVX2 is maximumGeneric.")
	flat("values", []string{"x", "y"}, "x", func(v lane, at []Mem) {
		x, y, nan := YMM(), YMM(), YMM()
		v.load(at[0], x)
		v.load(at[1], y)
		Comment("VMAXPS returns its second source, here x, when either is NaN.")
		VCMPPS(U8(unordered), y, y, nan)
		largest := YMM()
		VMAXPS(x, y, largest)
		VBLENDVPS(nan, y, largest, largest)
		v.store(largest, at[1])
	})
	end()
}

func maximumAt() {
	begin("maximumAt", "(pixel int32, x, y []float32, at []int32)", "maximumAtAVX2 is maximumAtGeneric.")
	pixel := YMM()
	VMOVD(Load(Param("pixel"), GP32()), pixel.AsX())
	VPBROADCASTD(pixel.AsX(), pixel)
	flat("values", []string{"x", "y", "at"}, "x", func(v lane, at []Mem) {
		x, y, old, wins, nan := YMM(), YMM(), YMM(), YMM(), YMM()
		v.load(at[0], x)
		v.load(at[1], y)
		v.load(at[2], old)
		VCMPPS(U8(unordered), x, x, nan)
		VCMPPS(U8(ordered), y, y, wins)
		VANDPS(wins, nan, nan)
		VCMPPS(U8(greaterThan), y, x, wins)
		VORPS(nan, wins, wins)
		VBLENDVPS(wins, x, y, y)
		VBLENDVPS(wins, pixel, old, old)
		v.store(y, at[1])
		v.store(old, at[2])
	})
	end()
}

func stream() {
	begin("stream", "(x, y []float32)", "streamAVX2 is streamGeneric, past the caches. y begins at a multiple of 32 bytes.")
	flat("values", []string{"x", "y"}, "x", func(v lane, at []Mem) {
		r := YMM()
		v.load(at[0], r)
		if v.mask == nil {
			VMOVNTPS(r, at[1])
		} else {
			v.store(r, at[1])
		}
	})
	Comment("What comes after must not be seen before what was written here.")
	SFENCE()
	end()
}
