package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Where the parts of type strip lie.
const (
	width      = 128
	stripMean  = 4 * width * 0
	stripScale = 4 * width * 1
	stripShift = 4 * width * 2
	stripSlope = 4 * width * 3
	stripLast  = 4 * width * 4 // offset
	stripSums  = 4 * width * 5
	stripMore  = stripSums + 8*width // products
)

// pair is eight float64 numbers: channels 0..4 and 4..8.
type pair [2]VecVirtual

func newPair() pair { return pair{YMM(), YMM()} }

// widen converts eight float32 numbers.
func widen(v VecVirtual) pair {
	p := newPair()
	VCVTPS2PD(v.AsX(), p[0])
	VEXTRACTF128(U8(1), v, p[1].AsX())
	VCVTPS2PD(p[1].AsX(), p[1])
	return p
}

func (p pair) load(m Mem) {
	VMOVUPD(m, p[0])
	VMOVUPD(m.Offset(32), p[1])
}

func (p pair) store(m Mem) {
	VMOVUPD(p[0], m)
	VMOVUPD(p[1], m.Offset(32))
}

func (p pair) add(q pair) {
	for i := range p {
		VADDPD(q[i], p[i], p[i])
	}
}

// fma computes p += a * b.
func (p pair) fma(a, b pair) {
	for i := range p {
		VFMADD231PD(a[i], b[i], p[i])
	}
}

// columnsLoop emits, for eight channels at a time, first(), then row() for each row, then last(). Pointers in moving
// follow the rows. s is the address of the strip's part for these channels; its float64 parts are at wide.
func columnsLoop(
	l labels, moving []string, structure string, first func(s, wide Register), row func(v lane, p []GPVirtual),
	last func(s, wide Register),
) {
	var base []Register
	for _, m := range moving {
		base = append(base, pointer(m))
	}
	s := integer(structure)
	wide := GP64()
	MOVQ(s, wide)
	stride := bytes("stride")
	rows := integer("rows")
	TESTQ(rows, rows)
	JLE(LabelRef(l.name("end")))
	channels(l, "n", func(l labels, v lane) {
		first(s, wide)
		var p []GPVirtual
		for _, b := range base {
			r := GP64()
			MOVQ(b, r)
			p = append(p, r)
		}
		left := GP64()
		MOVQ(rows, left)
		Label(l.name("row"))
		row(v, p)
		for _, r := range p {
			ADDQ(stride, r)
		}
		DECQ(left)
		JNZ(LabelRef(l.name("row")))
		last(s, wide)
		for _, b := range base {
			ADDQ(U32(4*lanes), b)
		}
		ADDQ(U32(4*lanes), s)
		ADDQ(U32(8*lanes), wide)
	})
}

func none(_, _ Register) {}

// load reads eight channels of a part of the strip.
func load(s Register, part int) VecVirtual {
	v := YMM()
	VMOVUPS(Mem{Base: s, Disp: part}, v)
	return v
}

func normSums() {
	begin("normSums", "(rows, n, stride int, x []float32, s *float32)", "normSumsAVX2 is normSumsGeneric.")
	var pivot, sums, squares pair
	columnsLoop("channels", []string{"x"}, "s", func(s, wide Register) {
		pivot = widen(load(s, stripMean))
		sums, squares = newPair(), newPair()
		sums.load(Mem{Base: wide, Disp: stripSums})
		squares.load(Mem{Base: wide, Disp: stripMore})
	}, func(v lane, p []GPVirtual) {
		x := YMM()
		v.load(Mem{Base: p[0]}, x)
		d := widen(x)
		for i := range d {
			VSUBPD(pivot[i], d[i], d[i])
		}
		sums.add(d)
		squares.fma(d, d)
	}, func(_, wide Register) {
		sums.store(Mem{Base: wide, Disp: stripSums})
		squares.store(Mem{Base: wide, Disp: stripMore})
	})
	end()
}

// normalise holds mean, scale and shift of eight channels.
type normalise struct{ mean, scale, shift VecVirtual }

func loadNormalise(s Register) normalise {
	return normalise{load(s, stripMean), load(s, stripScale), load(s, stripShift)}
}

// apply returns d = x - mean and z = d * scale + shift.
func (n normalise) apply(v lane, x Mem) (d, z VecVirtual) {
	d, z = YMM(), YMM()
	v.load(x, d)
	VSUBPS(n.mean, d, d)
	VMOVAPS(d, z)
	VFMADD213PS(n.shift, n.scale, z)
	return d, z
}

func normApply() {
	begin("normApply", "(rows, n, stride int, x []float32, s *float32, act uint8, y []float32)",
		"normApplyAVX2 is normApplyGeneric.")
	eachActivation(func(l labels, a activation) {
		var n normalise
		columnsLoop(l, []string{"x", "y"}, "s", func(s, _ Register) { n = loadNormalise(s) },
			func(v lane, p []GPVirtual) {
				_, z := n.apply(v, Mem{Base: p[0]})
				a.forward(z)
				v.store(z, Mem{Base: p[1]})
			}, none)
	})
}

func normBackwardSums() {
	begin("normBackwardSums", "(rows, n, stride int, x, dy []float32, s *float32, act uint8)",
		"normBackwardSumsAVX2 is normBackwardSumsGeneric.")
	eachActivation(func(l labels, a activation) {
		var n normalise
		var sums, products pair
		columnsLoop(l, []string{"x", "dy"}, "s", func(s, wide Register) {
			n = loadNormalise(s)
			sums, products = newPair(), newPair()
			sums.load(Mem{Base: wide, Disp: stripSums})
			products.load(Mem{Base: wide, Disp: stripMore})
		}, func(v lane, p []GPVirtual) {
			d, z := n.apply(v, Mem{Base: p[0]})
			dz := YMM()
			v.load(Mem{Base: p[1]}, dz)
			a.backward(z, dz)
			wide := widen(dz)
			sums.add(wide)
			products.fma(wide, widen(d))
		}, func(_, wide Register) {
			sums.store(Mem{Base: wide, Disp: stripSums})
			products.store(Mem{Base: wide, Disp: stripMore})
		})
	})
}

func normBackwardApply() {
	begin("normBackwardApply", "(rows, n, stride int, x, dy []float32, s *float32, act uint8, dx []float32)",
		"normBackwardApplyAVX2 is normBackwardApplyGeneric.")
	eachActivation(func(l labels, a activation) {
		var n normalise
		var slope, offset VecVirtual
		columnsLoop(l, []string{"x", "dy", "dx"}, "s", func(s, _ Register) {
			n, slope, offset = loadNormalise(s), load(s, stripSlope), load(s, stripLast)
		}, func(v lane, p []GPVirtual) {
			d, z := n.apply(v, Mem{Base: p[0]})
			dz := YMM()
			v.load(Mem{Base: p[1]}, dz)
			a.backward(z, dz)
			VFMADD213PS(offset, slope, d)
			VFMADD231PS(dz, n.scale, d)
			v.store(d, Mem{Base: p[2]})
		}, none)
	})
}

func scaleShift() {
	begin("scaleShift", "(rows, n, stride int, x []float32, s *float32, act uint8, y []float32)",
		"scaleShiftAVX2 is scaleShiftGeneric.")
	eachActivation(func(l labels, a activation) {
		var scale, shift VecVirtual
		columnsLoop(l, []string{"x", "y"}, "s", func(s, _ Register) {
			scale, shift = load(s, stripScale), load(s, stripShift)
		}, func(v lane, p []GPVirtual) {
			z := YMM()
			v.load(Mem{Base: p[0]}, z)
			VFMADD213PS(shift, scale, z)
			a.forward(z)
			v.store(z, Mem{Base: p[1]})
		}, none)
	})
}

func sumRows() {
	begin("sumRows", "(rows, n, stride int, x []float32, sums *[128]float64)", "sumRowsAVX2 is sumRowsGeneric.")
	var sums pair
	columnsLoop("channels", []string{"x"}, "sums", func(_, wide Register) {
		sums = newPair()
		sums.load(Mem{Base: wide})
	}, func(v lane, p []GPVirtual) {
		x := YMM()
		v.load(Mem{Base: p[0]}, x)
		sums.add(widen(x))
	}, func(_, wide Register) { sums.store(Mem{Base: wide}) })
	end()
}

func dotRows() {
	begin("dotRows", "(rows, n, stride int, x, y []float32, sums *[128]float64)", "dotRowsAVX2 is dotRowsGeneric.")
	var sums pair
	columnsLoop("channels", []string{"x", "y"}, "sums", func(_, wide Register) {
		sums = newPair()
		sums.load(Mem{Base: wide})
	}, func(v lane, p []GPVirtual) {
		x, y := YMM(), YMM()
		v.load(Mem{Base: p[0]}, x)
		v.load(Mem{Base: p[1]}, y)
		sums.fma(widen(x), widen(y))
	}, func(_, wide Register) { sums.store(Mem{Base: wide}) })
	end()
}
