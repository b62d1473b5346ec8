package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// winogradOut is the width of the outputs of a tile.
const winogradOut = 4

// winogradForm is a variant of Winograd's algorithm: tiles of in x in pixels, whose products are points x points.
type winogradForm struct {
	name       string // that of the functions ends so
	in, points int
	input      func(f inputFactors, d []VecVirtual) []VecVirtual
	output     func(f outputFactors, m []VecVirtual) [winogradOut]VecVirtual
}

// winogradForms are F(4x4, 3x3) and what winogradForms of the package says for stride 2.
var winogradForms = []winogradForm{
	{"", 6, 6, inputTransform, outputTransform},
	{"2", 9, 5, phasesTransform, outputTransform2},
}

// inputFactors are the constants of inputTransform.
type inputFactors struct{ two, four, five VecVirtual }

// inputTransform multiplies six values by the input matrix, as transformInput says.
func inputTransform(f inputFactors, d []VecVirtual) []VecVirtual {
	a, b, c, e := vector(), vector(), vector(), vector()
	VMOVAPS(d[4], a)
	VFNMADD231PS(d[2], f.four, a)
	VMOVAPS(d[3], b)
	VFNMADD231PS(d[1], f.four, b)
	VSUBPS(d[2], d[4], c)
	VSUBPS(d[1], d[3], e)
	VFNMADD231PS(d[2], f.five, d[4])
	VFMADD231PS(d[0], f.four, d[4])
	VFNMADD231PS(d[3], f.five, d[5])
	VFMADD231PS(d[1], f.four, d[5])
	sum, difference, third := vector(), vector(), vector()
	VADDPS(b, a, sum)
	VSUBPS(b, a, difference)
	VMOVAPS(c, third)
	VFMADD231PS(e, f.two, third)
	VFNMADD231PS(e, f.two, c)
	return []VecVirtual{d[4], sum, difference, third, c, d[5]}
}

// inputTransform2 multiplies four values, as transformInput2 says.
func inputTransform2(f inputFactors, d []VecVirtual) []VecVirtual {
	VSUBPS(d[2], d[0], d[0])
	a, b := vector(), vector()
	VSUBPS(d[1], d[3], a)
	VFMADD213PS(a, f.two, d[0])
	VSUBPS(d[2], d[3], b)
	VSUBPS(d[2], d[1], d[2])
	VFMADD213PS(b, f.two, d[2])
	VFNMADD231PS(d[1], f.two, b)
	return []VecVirtual{d[0], b, d[2], a}
}

// phasesTransform makes the even and the odd value of each point, as transformPhases says.
func phasesTransform(f inputFactors, d []VecVirtual) []VecVirtual {
	VSUBPS(d[4], d[8], d[8])
	even := inputTransform2(f, []VecVirtual{d[0], d[2], d[4], d[6]})
	VFNMADD231PS(even[3], f.two, d[8])
	odd := inputTransform2(f, []VecVirtual{d[1], d[3], d[5], d[7]})
	return []VecVirtual{even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3], d[8]}
}

func (w winogradForm) values() []VecVirtual {
	d := make([]VecVirtual, w.in)
	for i := range d {
		d[i] = vector()
	}
	return d
}

func (w winogradForm) transformInput() {
	name := "winogradInput" + w.name
	begin(name, "(c int, x []float32, row int, v []float32, step int, scratch []float32)", name+set+" is "+name+"Generic.")
	x, v, scratch := pointer("x"), pointer("v"), pointer("scratch")
	row, col, step := bytes("row"), bytes("c"), bytes("step")
	f := inputFactors{two: constant(2)}
	if w.in == 6 {
		f.four, f.five = constant(4), constant(5)
	}
	channels("channels", "c", func(_ labels, l lane) {
		column := GP64()
		MOVQ(x, column)
		for j := range w.in {
			d, from := w.values(), GP64()
			MOVQ(column, from)
			for _, v := range d {
				l.load(Mem{Base: from}, v)
				ADDQ(row, from)
			}
			for i, t := range w.input(f, d) {
				VMOVUPS(t, Mem{Base: scratch, Disp: 4 * lanes * (i*w.in + j)})
			}
			ADDQ(col, column)
		}
		to := GP64()
		MOVQ(v, to)
		for i := range w.in {
			d := w.values()
			for j, v := range d {
				VMOVUPS(Mem{Base: scratch, Disp: 4 * lanes * (i*w.in + j)}, v)
			}
			for _, t := range w.input(f, d) {
				l.store(t, Mem{Base: to})
				ADDQ(step, to)
			}
		}
		ADDQ(U32(4*lanes), x)
		ADDQ(U32(4*lanes), v)
	})
	end()
}

// outputFactors are the constants of outputTransform.
type outputFactors struct{ two, four, eight VecVirtual }

// outputTransform multiplies six values by the output matrix, as transformOutput says.
func outputTransform(f outputFactors, m []VecVirtual) [winogradOut]VecVirtual {
	near, far, nearer, farther := vector(), vector(), vector(), vector()
	VADDPS(m[2], m[1], near)
	VSUBPS(m[2], m[1], nearer)
	VADDPS(m[4], m[3], far)
	VSUBPS(m[4], m[3], farther)
	VADDPS(near, m[0], m[0])
	VADDPS(far, m[0], m[0])
	VADDPS(nearer, m[5], m[5])
	VFMADD231PS(farther, f.eight, m[5])
	VFMADD231PS(far, f.four, near)
	VFMADD231PS(farther, f.two, nearer)
	return [winogradOut]VecVirtual{m[0], nearer, near, m[5]}
}

// outputTransform2 multiplies five values, as transformOutput2 says.
func outputTransform2(f outputFactors, m []VecVirtual) [winogradOut]VecVirtual {
	near, nearer := vector(), vector()
	VADDPS(m[2], m[1], near)
	VSUBPS(m[2], m[1], nearer)
	VADDPS(near, m[0], m[0])
	VADDPS(m[3], m[0], m[0])
	VADDPS(nearer, m[4], m[4])
	VFMADD231PS(m[3], f.eight, m[4])
	VFMADD231PS(m[3], f.four, near)
	VFMADD231PS(m[3], f.two, nearer)
	return [winogradOut]VecVirtual{m[0], nearer, near, m[4]}
}

func (w winogradForm) transformOutput() {
	name := "winogradOutput" + w.name
	begin(name, "(k int, m []float32, step int, shift, old, y []float32, row int, act uint8, scratch []float32)",
		name+set+" is "+name+"Generic.")
	eachActivation(func(l labels, a activation) {
		m, shift, old, y, scratch := pointer("m"), pointer("shift"), pointer("old"), pointer("y"), pointer("scratch")
		col := bytes("k")
		channels(l, "k", func(l labels, v lane) {
			w.columns(m, scratch, v)
			f := outputFactors{constant(2), constant(4), constant(8)}
			row := bytes("row")
			at := GP64()
			XORQ(at, at)
			for i := range winogradOut {
				w.row(labels(l.name(fmt.Sprint("row", i))), v, a, f, i, scratch, shift, old, y, at, col)
				ADDQ(row, at)
			}
			ADDQ(U32(4*lanes), m)
			ADDQ(U32(4*lanes), shift)
			ADDQ(U32(4*lanes), y)
			next := GP64()
			LEAQ(Mem{Base: old, Disp: 4 * lanes}, next)
			TESTQ(old, old)
			CMOVQNE(next, old)
		})
	})
}

// columns transforms the columns of a tile of products into scratch [4][points].
func (w winogradForm) columns(m, scratch Register, v lane) {
	step, down := bytes("step"), GP64()
	if w.points == 6 {
		LEAQ(Mem{Base: step, Index: step, Scale: 2}, down)
		ADDQ(down, down)
	} else {
		LEAQ(Mem{Base: step, Index: step, Scale: 4}, down)
	}
	f := outputFactors{constant(2), constant(4), constant(8)}
	column := GP64()
	MOVQ(m, column)
	for j := range w.points {
		from := GP64()
		MOVQ(column, from)
		d := make([]VecVirtual, w.points)
		for i := range d {
			d[i] = vector()
			v.load(Mem{Base: from}, d[i])
			ADDQ(down, from)
		}
		for i, t := range w.output(f, d) {
			VMOVUPS(t, Mem{Base: scratch, Disp: 4 * lanes * (i*w.points + j)})
		}
		ADDQ(step, column)
	}
}

// row makes row i of the output, at bytes behind y.
func (w winogradForm) row(
	l labels, v lane, a activation, f outputFactors, i int, scratch, shift, old, y, at, col Register,
) {
	d := make([]VecVirtual, w.points)
	for j := range d {
		d[j] = vector()
		VMOVUPS(Mem{Base: scratch, Disp: 4 * lanes * (i*w.points + j)}, d[j])
	}
	out := w.output(f, d)
	bias := vector()
	v.load(Mem{Base: shift}, bias)
	for _, o := range out {
		VADDPS(bias, o, o)
	}
	from := GP64()
	LEAQ(Mem{Base: old, Index: at, Scale: 1}, from)
	TESTQ(old, old)
	JZ(LabelRef(l.name("added")))
	for _, o := range out {
		before := vector()
		v.load(Mem{Base: from}, before)
		VADDPS(before, o, o)
		ADDQ(col, from)
	}
	Label(l.name("added"))
	to := GP64()
	LEAQ(Mem{Base: y, Index: at, Scale: 1}, to)
	for _, o := range out {
		a.forward(o)
		v.store(o, Mem{Base: to})
		ADDQ(col, to)
	}
}
