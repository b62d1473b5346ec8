package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Where the parts of type strip lie.
const (
	stripLanes    = 8
	stripMean     = 4 * stripLanes * 0
	stripScale    = 4 * stripLanes * 1
	stripShift    = 4 * stripLanes * 2
	stripSlope    = 4 * stripLanes * 3
	stripLast     = 4 * stripLanes * 4 // offset
	stripSums     = 4 * stripLanes * 5
	stripProducts = stripSums + 8*stripLanes
	stripSize     = stripProducts + 8*stripLanes
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

// step is the code for eight channels of some neighbouring rows: s is where their strip or other structure lies, at[i][r]
// where the values of slice i and row r are.
type step func(v lane, s Mem, at [][]Mem)

// rowsLoop is a loop over rows and their channels.
type rowsLoop struct {
	labels
	moving    []string // slices that the loop moves through
	structure string
	size      int // bytes of the structure for eight channels
	body      step

	p                      []Register
	s, rows, stride, third Register
}

const groupRows = 4 // that are summed in float32

// single emits a loop over single rows, in the order in which they lie in memory: the hardware fetches ahead of that.
func (l rowsLoop) single() {
	l.begin()
	l.over(1, 2)
}

// grouped emits a loop over groups of four rows, then over single ones.
func (l rowsLoop) grouped() {
	l.begin()
	l.third = GP64()
	LEAQ(Mem{Base: l.stride, Index: l.stride, Scale: 2}, l.third)
	l.over(groupRows, 1)
	l.over(1, 1)
}

func (l *rowsLoop) begin() {
	l.stride = bytes("stride")
	for _, m := range l.moving {
		l.p = append(l.p, pointer(m))
	}
	l.s, l.rows = integer(l.structure), integer("rows")
}

// over emits a loop over groups of `rows` rows, and in it over unroll times eight channels, then eight, then fewer.
func (l rowsLoop) over(rows, unroll int) {
	l.labels = labels(l.name(fmt.Sprintf("rows%d", rows)))
	SUBQ(U32(rows), l.rows)
	JLT(LabelRef(l.name("end")))
	Label(l.name("group"))
	part, left := GP64(), integer("n")
	MOVQ(l.s, part)
	for n := unroll; n > 0; n-- {
		by := labels(l.name(fmt.Sprintf("by%d", n)))
		SUBQ(U32(lanes*n), left)
		JLT(LabelRef(by.name("end")))
		Label(by.name("channels"))
		for i := range n {
			l.body(lane{}, Mem{Base: part, Disp: l.size * i}, l.at(rows, i))
		}
		for _, r := range l.p {
			ADDQ(U32(4*lanes*n), r)
		}
		ADDQ(U32(l.size*n), part)
		SUBQ(U32(lanes*n), left)
		JGE(LabelRef(by.name("channels")))
		Label(by.name("end"))
		ADDQ(U32(lanes*n), left)
	}
	JZ(LabelRef(l.name("next")))
	l.body(few(left), Mem{Base: part}, l.at(rows, 0))
	Label(l.name("next"))
	Comment("Back to the first channel, and on to the next rows.")
	back := integer("n")
	SUBQ(left, back)
	SHLQ(U8(2), back)
	for _, r := range l.p {
		SUBQ(back, r)
		if rows == groupRows {
			LEAQ(Mem{Base: r, Index: l.stride, Scale: 4}, r)
		} else {
			ADDQ(l.stride, r)
		}
	}
	SUBQ(U32(rows), l.rows)
	JGE(LabelRef(l.name("group")))
	Label(l.name("end"))
	ADDQ(U32(rows), l.rows)
}

// at is where eight channels lie, n times eight behind the pointers, of each slice and row of a group.
func (l rowsLoop) at(rows, n int) (at [][]Mem) {
	for _, r := range l.p {
		m := []Mem{
			{Base: r},
			{Base: r, Index: l.stride, Scale: 1},
			{Base: r, Index: l.stride, Scale: 2},
			{Base: r, Index: l.third, Scale: 1},
		}[:rows]
		for i := range m {
			m[i] = m[i].Offset(4 * lanes * n)
		}
		at = append(at, m)
	}
	return at
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

// minus returns m - v.
func (l lane) minus(m Mem, v VecVirtual) VecVirtual {
	d := YMM()
	l.load(m, d)
	VSUBPS(v, d, d)
	return d
}

// strips is a loop whose structure are strips.
func strips(l labels, body step, moving ...string) rowsLoop {
	return rowsLoop{labels: l, moving: moving, structure: "s", size: stripSize, body: body}
}

// addTo adds eight float32 numbers to float64 ones in memory.
func addTo(m Mem, v VecVirtual) {
	p := widen(v)
	VADDPD(m, p[0], p[0])
	VADDPD(m.Offset(32), p[1], p[1])
	p.store(m)
}

// addSums adds to the strip what each of some rows gives: the sum of a group is (0 + 1) + (2 + 3).
func addSums(s Mem, rows int, row func(i int) (v, d VecVirtual)) {
	var sum, half, product VecVirtual
	for i := range rows {
		v, d := row(i)
		if i == 0 {
			product = YMM()
			VMULPS(v, d, product)
		} else {
			VFMADD231PS(v, d, product)
		}
		switch i {
		case 0:
			sum = v
		case 1:
			VADDPS(v, sum, sum)
		case 2:
			half = v
		case 3:
			VADDPS(v, half, half)
			VADDPS(half, sum, sum)
		}
	}
	addTo(s.Offset(stripSums), sum)
	addTo(s.Offset(stripProducts), product)
}

func normSums() {
	begin("normSums", "(rows, n, stride int, x []float32, s *float32)", "normSumsAVX2 is normSumsGeneric.")
	strips("rows", func(v lane, s Mem, at [][]Mem) {
		mean := load(s, stripMean)
		addSums(s, len(at[0]), func(i int) (VecVirtual, VecVirtual) {
			d := v.minus(at[0][i], mean)
			return d, d
		})
	}, "x").grouped()
	end()
}

// normalised returns (m - mean) * scale + shift.
func (l lane) normalised(m Mem, mean, scale, shift VecVirtual) VecVirtual {
	z := l.minus(m, mean)
	VFMADD213PS(shift, scale, z)
	return z
}

func normApply() {
	begin("normApply", "(rows, n, stride int, x []float32, s *float32, act uint8, y []float32)",
		"normApplyAVX2 is normApplyGeneric.")
	eachActivation(func(l labels, a activation) {
		a.hold()
		strips(l, func(v lane, s Mem, at [][]Mem) {
			mean, scale, shift := load(s, stripMean), load(s, stripScale), load(s, stripShift)
			for i, m := range at[0] {
				z := v.normalised(m, mean, scale, shift)
				a.forward(z)
				v.store(z, at[1][i])
			}
		}, "x", "y").single()
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
		strips(l, func(v lane, s Mem, at [][]Mem) {
			mean := load(s, stripMean)
			addSums(s, len(at[0]), func(i int) (VecVirtual, VecVirtual) {
				d := v.minus(at[0][i], mean)
				if a.kind == identity {
					dz := YMM()
					v.load(at[1][i], dz)
					return dz, d
				}
				z := load(s, stripShift)
				VFMADD231PS(s.Offset(stripScale), d, z)
				dz := a.backwardFrom(v, at[1][i], base, z)
				v.store(dz, at[2][i])
				return dz, d
			})
		}, moving...).grouped()
	})
}

// backward returns dz * scale + (x - mean) * slope + offset.
type backwardApply struct{ mean, slope, offset, scale VecVirtual }

func newBackwardApply(s Mem) backwardApply {
	return backwardApply{load(s, stripMean), load(s, stripSlope), load(s, stripLast), load(s, stripScale)}
}

func (b backwardApply) value(v lane, x, dz Mem) VecVirtual {
	d := v.minus(x, b.mean)
	VFMADD213PS(b.offset, b.slope, d)
	v.fma(dz, b.scale, d)
	return d
}

func normBackwardApply() {
	begin("normBackwardApply", "(rows, n, stride int, x, dz []float32, s *float32, dx []float32)",
		"normBackwardApplyAVX2 is normBackwardApplyGeneric.")
	strips("rows", func(v lane, s Mem, at [][]Mem) {
		b := newBackwardApply(s)
		for i := range at[0] {
			v.store(b.value(v, at[0][i], at[1][i]), at[2][i])
		}
	}, "x", "dz", "dx").single()
	end()
}

func scaleShift() {
	begin("scaleShift", "(rows, n, stride int, x []float32, s *float32, act uint8, y []float32)",
		"scaleShiftAVX2 is scaleShiftGeneric.")
	eachActivation(func(l labels, a activation) {
		a.hold()
		strips(l, func(v lane, s Mem, at [][]Mem) {
			scale, shift := load(s, stripScale), load(s, stripShift)
			for i, m := range at[0] {
				z := YMM()
				v.load(m, z)
				VFMADD213PS(shift, scale, z)
				a.forward(z)
				v.store(z, at[1][i])
			}
		}, "x", "y").single()
		release()
	})
}

// sumsLoop adds what each row gives to float64 sums, row by row.
func sumsLoop(add func(v lane, sums pair, at [][]Mem, row int), moving ...string) {
	rowsLoop{labels: "rows", moving: moving, structure: "sums", size: 8 * lanes, body: func(v lane, s Mem, at [][]Mem) {
		sums := newPair()
		sums.load(s)
		for i := range at[0] {
			add(v, sums, at, i)
		}
		sums.store(s)
	}}.grouped()
	end()
}

func sumRows() {
	begin("sumRows", "(rows, n, stride int, x []float32, sums *[128]float64)", "sumRowsAVX2 is sumRowsGeneric.")
	sumsLoop(func(v lane, sums pair, at [][]Mem, i int) { sums.add(v.widen(at[0][i])) }, "x")
}

func dotRows() {
	begin("dotRows", "(rows, n, stride int, x, y []float32, sums *[128]float64)", "dotRowsAVX2 is dotRowsGeneric.")
	sumsLoop(func(v lane, sums pair, at [][]Mem, i int) {
		sums.fma(v.widen(at[0][i]), v.widen(at[1][i]))
	}, "x", "y")
}
