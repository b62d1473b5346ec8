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

// column is the code for eight channels: first loads what it needs, row handles a row's values at the pointers, last
// stores what it gathered. s is where the strip's float32 parts for these channels are, wide where its float64 parts
// are.
type column interface {
	first(s, wide Mem)
	row(v lane, at []Mem)
	last(wide Mem)
}

// prefetchRows is how many rows ahead memory is fetched: as many as there are in the blocks that callers give.
const prefetchRows = 16

// columnsLoop emits a loop over channels, 16 at a time (which fill a line of the cache, and whose sums do not wait for
// each other), then 8, then fewer; and in it one over rows, which the pointers in moving follow.
func columnsLoop(l labels, moving []string, structure string, make func() column) {
	var base []Register
	for _, m := range moving {
		base = append(base, pointer(m))
	}
	s := integer(structure)
	wide := GP64()
	MOVQ(s, wide)
	stride := bytes("stride")
	ahead := GP64()
	MOVQ(stride, ahead)
	SHLQ(U8(4), ahead)
	rows, left := integer("rows"), integer("n")
	TESTQ(rows, rows)
	JLE(LabelRef(l.name("end")))
	block := func(part string, v lane, count int) {
		l := labels(l.name(part))
		cols := []column{}
		for i := range count {
			c := make()
			c.first(Mem{Base: s, Disp: 4 * lanes * i}, Mem{Base: wide, Disp: 8 * lanes * i})
			cols = append(cols, c)
		}
		var p []GPVirtual
		for _, b := range base {
			r := GP64()
			MOVQ(b, r)
			p = append(p, r)
		}
		n := GP64()
		MOVQ(rows, n)
		Label(l.name("row"))
		for _, r := range p {
			PREFETCHT0(Mem{Base: r, Index: ahead, Scale: 1})
		}
		for i, c := range cols {
			var at []Mem
			for _, r := range p {
				at = append(at, Mem{Base: r, Disp: 4 * lanes * i})
			}
			c.row(v, at)
		}
		for _, r := range p {
			ADDQ(stride, r)
		}
		DECQ(n)
		JNZ(LabelRef(l.name("row")))
		for i, c := range cols {
			c.last(Mem{Base: wide, Disp: 8 * lanes * i})
		}
		for _, b := range base {
			ADDQ(U32(4*lanes*count), b)
		}
		ADDQ(U32(4*lanes*count), s)
		ADDQ(U32(8*lanes*count), wide)
	}
	SUBQ(U32(2*lanes), left)
	JLT(LabelRef(l.name("tail")))
	Label(l.name("sixteen"))
	block("sixteen", lane{}, 2)
	SUBQ(U32(2*lanes), left)
	JGE(LabelRef(l.name("sixteen")))
	Label(l.name("tail"))
	ADDQ(U32(lanes), left)
	JLT(LabelRef(l.name("few")))
	block("eight", lane{}, 1)
	SUBQ(U32(lanes), left)
	Label(l.name("few"))
	ADDQ(U32(lanes), left)
	JZ(LabelRef(l.name("end")))
	mask := YMM()
	loadMask(left, mask)
	block("masked", lane{mask}, 1)
	Label(l.name("end"))
}

// load reads eight channels of a part of the strip.
func load(s Mem, part int) VecVirtual {
	v := YMM()
	VMOVUPS(s.Offset(part), v)
	return v
}

// widen converts eight numbers in memory.
func (l lane) widen(m Mem) pair {
	if l.mask != nil {
		v := YMM()
		l.load(m, v)
		return widen(v)
	}
	p := newPair()
	VCVTPS2PD(m, p[0])
	VCVTPS2PD(m.Offset(16), p[1])
	return p
}

// sumGroups is how many rows sum a block of rows side by side: row r goes to sum r % 4.
const sumGroups = 4

// totals are float32 sums of two kinds over the rows of a block.
type totals [sumGroups]struct{ sum, product VecVirtual }

// totalsLoop emits a loop over eight channels at a time: first loads what it needs from the strip, row handles a row. What row adds to sums is added to the
// strip in float64 when the rows have ended.
func totalsLoop(
	l labels, moving []string, first func(s Mem), row func(v lane, at []Mem, sum, product VecVirtual),
) {
	var base []Register
	for _, m := range moving {
		base = append(base, pointer(m))
	}
	s, stride := integer("s"), bytes("stride")
	wide, third := GP64(), GP64()
	MOVQ(s, wide)
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, third)
	rows := integer("rows")
	TESTQ(rows, rows)
	JLE(LabelRef(l.name("end")))
	ahead := GP64()
	MOVQ(stride, ahead)
	SHLQ(U8(4), ahead)
	n := GP64()
	block := func(l labels, v lane, fetch bool) {
		first(Mem{Base: s})
		var t totals
		for i := range t {
			t[i].sum, t[i].product = zero(), zero()
		}
		var p []GPVirtual
		for _, b := range base {
			r := GP64()
			MOVQ(b, r)
			p = append(p, r)
		}
		step := func(group int) {
			var at []Mem
			for _, r := range p {
				at = append(at, []Mem{
					{Base: r},
					{Base: r, Index: stride, Scale: 1},
					{Base: r, Index: stride, Scale: 2},
					{Base: r, Index: third, Scale: 1},
				}[group])
			}
			row(v, at, t[group].sum, t[group].product)
		}
		MOVQ(rows, n)
		SUBQ(U32(sumGroups), n)
		JLT(LabelRef(l.name("rest")))
		Label(l.name("rows"))
		for i := range sumGroups {
			step(i)
		}
		for i, r := range p {
			if fetch && i < 2 { // a third is mostly the second
				next := GP64()
				LEAQ(Mem{Base: r, Index: ahead, Scale: 1}, next)
				PREFETCHT0(Mem{Base: next})
				PREFETCHT0(Mem{Base: next, Index: stride, Scale: 1})
				PREFETCHT0(Mem{Base: next, Index: stride, Scale: 2})
				PREFETCHT0(Mem{Base: next, Index: third, Scale: 1})
			}
			LEAQ(Mem{Base: r, Index: stride, Scale: 4}, r)
		}
		SUBQ(U32(sumGroups), n)
		JGE(LabelRef(l.name("rows")))
		Label(l.name("rest"))
		ADDQ(U32(sumGroups), n)
		JZ(LabelRef(l.name("summed")))
		Label(l.name("row"))
		step(0)
		for _, r := range p {
			ADDQ(stride, r)
		}
		DECQ(n)
		JNZ(LabelRef(l.name("row")))
		Label(l.name("summed"))
		sums, products := newPair(), newPair()
		sums.load(Mem{Base: wide, Disp: stripSums})
		products.load(Mem{Base: wide, Disp: stripMore})
		for _, g := range t {
			sums.add(widen(g.sum))
			products.add(widen(g.product))
		}
		sums.store(Mem{Base: wide, Disp: stripSums})
		products.store(Mem{Base: wide, Disp: stripMore})
		for _, b := range base {
			ADDQ(U32(4*lanes), b)
		}
		ADDQ(U32(4*lanes), s)
		ADDQ(U32(8*lanes), wide)
	}
	left := integer("n")
	SUBQ(U32(lanes), left)
	JLT(LabelRef(l.name("few")))
	Comment("Every second eight channels begin a line of the cache.")
	Label(l.name("channels"))
	block(labels(l.name("even")), lane{}, true)
	SUBQ(U32(lanes), left)
	JLT(LabelRef(l.name("few")))
	block(labels(l.name("odd")), lane{}, false)
	SUBQ(U32(lanes), left)
	JGE(LabelRef(l.name("channels")))
	Label(l.name("few"))
	ADDQ(U32(lanes), left)
	JZ(LabelRef(l.name("end")))
	mask := YMM()
	loadMask(left, mask)
	block(labels(l.name("masked")), lane{mask}, false)
	Label(l.name("end"))
}

func normSums() {
	begin("normSums", "(rows, n, stride int, x []float32, s *float32)", "normSumsAVX2 is normSumsGeneric.")
	var minus VecVirtual
	totalsLoop("channels", []string{"x"}, func(s Mem) {
		minus = negated(load(s, stripMean))
	}, func(v lane, at []Mem, sum, product VecVirtual) {
		d := v.plus(at[0], minus)
		VADDPS(d, sum, sum)
		VFMADD231PS(d, d, product)
	})
	end()
}

// negated changes the sign of eight numbers.
func negated(v VecVirtual) VecVirtual {
	VXORPS(table(1<<31), v, v)
	return v
}

// plus returns m + v.
func (l lane) plus(m Mem, v VecVirtual) VecVirtual {
	d := YMM()
	if l.mask == nil {
		VADDPS(m, v, d)
	} else {
		l.load(m, d)
		VADDPS(v, d, d)
	}
	return d
}

// stateless is the part of columns that gather nothing.
type stateless struct{}

func (stateless) last(Mem) {}

type normApplyColumn struct {
	stateless
	a                   activation
	minus, scale, shift VecVirtual
}

func (c *normApplyColumn) first(s, _ Mem) {
	c.minus, c.scale, c.shift = negated(load(s, stripMean)), load(s, stripScale), load(s, stripShift)
}

func (c *normApplyColumn) row(v lane, at []Mem) {
	z := v.plus(at[0], c.minus)
	VFMADD213PS(c.shift, c.scale, z)
	c.a.forward(z)
	v.store(z, at[1])
}

func normApply() {
	begin("normApply", "(rows, n, stride int, x []float32, s *float32, act uint8, y []float32)",
		"normApplyAVX2 is normApplyGeneric.")
	eachActivation(func(l labels, a activation) {
		a.hold()
		columnsLoop(l, []string{"x", "y"}, "s", func() column { return &normApplyColumn{a: a} })
		release()
	})
}

func normBackwardSums() {
	begin("normBackwardSums", "(rows, n, stride int, x, dy []float32, s *float32, act uint8, dz []float32)",
		"normBackwardSumsAVX2 is normBackwardSumsGeneric.")
	eachActivation(func(l labels, a activation) {
		moving := []string{"x", "dy", "dz"}
		if a.kind == identity {
			moving = moving[:2]
		}
		base := a.backwardBase()
		var minus, shift VecVirtual
		var strip Mem
		totalsLoop(l, moving, func(s Mem) {
			strip, minus = s, negated(load(s, stripMean))
			if a.kind == relu || a.kind == relu6 {
				shift = load(s, stripShift)
			}
		}, func(v lane, at []Mem, sum, product VecVirtual) {
			d := v.plus(at[0], minus)
			var dz VecVirtual
			if a.kind == identity {
				dz = YMM()
				v.load(at[1], dz)
			} else {
				z := YMM()
				if shift != nil {
					VMOVAPS(shift, z)
				} else {
					VMOVUPS(strip.Offset(stripShift), z) // registers are short
				}
				VFMADD231PS(strip.Offset(stripScale), d, z)
				dz = a.backwardFrom(v, at[1], base, z)
				v.store(dz, at[2])
			}
			VADDPS(dz, sum, sum)
			VFMADD231PS(dz, d, product)
		})
	})
}

type normBackwardApplyColumn struct {
	stateless
	minus, slope, offset, scale VecVirtual
}

func (c *normBackwardApplyColumn) first(s, _ Mem) {
	c.minus, c.scale = negated(load(s, stripMean)), load(s, stripScale)
	c.slope, c.offset = load(s, stripSlope), load(s, stripLast)
}

func (c *normBackwardApplyColumn) row(v lane, at []Mem) {
	d := v.plus(at[0], c.minus)
	VFMADD213PS(c.offset, c.slope, d)
	v.fma(at[1], c.scale, d)
	v.store(d, at[2])
}

func normBackwardApply() {
	begin("normBackwardApply", "(rows, n, stride int, x, dz []float32, s *float32, dx []float32)",
		"normBackwardApplyAVX2 is normBackwardApplyGeneric.")
	columnsLoop("channels", []string{"x", "dz", "dx"}, "s", func() column { return &normBackwardApplyColumn{} })
	end()
}

type scaleShiftColumn struct {
	stateless
	a            activation
	scale, shift VecVirtual
}

func (c *scaleShiftColumn) first(s, _ Mem) {
	c.scale, c.shift = load(s, stripScale), load(s, stripShift)
}

func (c *scaleShiftColumn) row(v lane, at []Mem) {
	z := YMM()
	v.load(at[0], z)
	VFMADD213PS(c.shift, c.scale, z)
	c.a.forward(z)
	v.store(z, at[1])
}

func scaleShift() {
	begin("scaleShift", "(rows, n, stride int, x []float32, s *float32, act uint8, y []float32)",
		"scaleShiftAVX2 is scaleShiftGeneric.")
	eachActivation(func(l labels, a activation) {
		a.hold()
		columnsLoop(l, []string{"x", "y"}, "s", func() column { return &scaleShiftColumn{a: a} })
		release()
	})
}

// rowSums is one sum of eight channels in float64.
type rowSums struct{ sums pair }

func (c *rowSums) first(_, wide Mem) {
	c.sums = newPair()
	c.sums.load(wide)
}

func (c *rowSums) last(wide Mem) { c.sums.store(wide) }

func (c *rowSums) row(v lane, at []Mem) { c.sums.add(v.widen(at[0])) }

func sumRows() {
	begin("sumRows", "(rows, n, stride int, x []float32, sums *[128]float64)", "sumRowsAVX2 is sumRowsGeneric.")
	columnsLoop("channels", []string{"x"}, "sums", func() column { return &rowSums{} })
	end()
}

type dotSums struct{ rowSums }

func (c *dotSums) row(v lane, at []Mem) { c.sums.fma(v.widen(at[0]), v.widen(at[1])) }

func dotRows() {
	begin("dotRows", "(rows, n, stride int, x, y []float32, sums *[128]float64)", "dotRowsAVX2 is dotRowsGeneric.")
	columnsLoop("channels", []string{"x", "y"}, "sums", func() column { return &dotSums{} })
	end()
}
