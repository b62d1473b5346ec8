package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Winograd's algorithm F(4x4, 3x3) works on tiles of 6 x 6 values that give 4 x 4 outputs.
const (
	winogradIn  = 6
	winogradOut = 4
)

// inputFactors are the constants of inputTransform.
type inputFactors struct{ two, four, five VecVirtual }

// inputTransform multiplies six values by the input matrix, as transformInput says.
func inputTransform(f inputFactors, d [winogradIn]VecVirtual) [winogradIn]VecVirtual {
	a, b, c, e := YMM(), YMM(), YMM(), YMM()
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
	sum, difference, third := YMM(), YMM(), YMM()
	VADDPS(b, a, sum)
	VSUBPS(b, a, difference)
	VMOVAPS(c, third)
	VFMADD231PS(e, f.two, third)
	VFNMADD231PS(e, f.two, c)
	return [winogradIn]VecVirtual{d[4], sum, difference, third, c, d[5]}
}

func winogradInput() {
	begin("winogradInput", "(c int, x []float32, row int, v []float32, step int, scratch []float32)",
		"winogradInputAVX2 is winogradInputGeneric.")
	x, v, scratch := pointer("x"), pointer("v"), pointer("scratch")
	row, col, step := bytes("row"), bytes("c"), bytes("step")
	f := inputFactors{constant(2), constant(4), constant(5)}
	channels("channels", "c", func(_ labels, l lane) {
		column := GP64()
		MOVQ(x, column)
		for j := range winogradIn {
			var d [winogradIn]VecVirtual
			from := GP64()
			MOVQ(column, from)
			for i := range d {
				d[i] = YMM()
				l.load(Mem{Base: from}, d[i])
				ADDQ(row, from)
			}
			for i, t := range inputTransform(f, d) {
				VMOVUPS(t, Mem{Base: scratch, Disp: 4 * lanes * (i*winogradIn + j)})
			}
			ADDQ(col, column)
		}
		to := GP64()
		MOVQ(v, to)
		for i := range winogradIn {
			var d [winogradIn]VecVirtual
			for j := range d {
				d[j] = YMM()
				VMOVUPS(Mem{Base: scratch, Disp: 4 * lanes * (i*winogradIn + j)}, d[j])
			}
			for _, t := range inputTransform(f, d) {
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
func outputTransform(f outputFactors, m [winogradIn]VecVirtual) [winogradOut]VecVirtual {
	near, far, nearer, farther := YMM(), YMM(), YMM(), YMM()
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

func winogradOutput() {
	begin("winogradOutput",
		"(k int, m []float32, step int, shift, old, y []float32, row int, act uint8, scratch []float32)",
		"winogradOutputAVX2 is winogradOutputGeneric.")
	eachActivation(func(l labels, a activation) {
		m, shift, old, y, scratch := pointer("m"), pointer("shift"), pointer("old"), pointer("y"), pointer("scratch")
		col := bytes("k")
		channels(l, "k", func(l labels, v lane) {
			winogradColumns(m, scratch, v)
			f := outputFactors{constant(2), constant(4), constant(8)}
			row := bytes("row")
			at := GP64()
			XORQ(at, at)
			for i := range winogradOut {
				winogradRow(labels(l.name(fmt.Sprint("row", i))), v, a, f, i, scratch, shift, old, y, at, col)
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

// winogradColumns transforms the columns of a tile of products into scratch [4][6].
func winogradColumns(m, scratch Register, v lane) {
	step, down := bytes("step"), GP64()
	LEAQ(Mem{Base: step, Index: step, Scale: 2}, down)
	ADDQ(down, down)
	f := outputFactors{constant(2), constant(4), constant(8)}
	column := GP64()
	MOVQ(m, column)
	for j := range winogradIn {
		from := GP64()
		MOVQ(column, from)
		var d [winogradIn]VecVirtual
		for i := range d {
			d[i] = YMM()
			v.load(Mem{Base: from}, d[i])
			ADDQ(down, from)
		}
		for i, t := range outputTransform(f, d) {
			VMOVUPS(t, Mem{Base: scratch, Disp: 4 * lanes * (i*winogradIn + j)})
		}
		ADDQ(step, column)
	}
}

// winogradRow makes row i of the output, at bytes behind y.
func winogradRow(
	l labels, v lane, a activation, f outputFactors, i int, scratch, shift, old, y, at, col Register,
) {
	var d [winogradIn]VecVirtual
	for j := range d {
		d[j] = YMM()
		VMOVUPS(Mem{Base: scratch, Disp: 4 * lanes * (i*winogradIn + j)}, d[j])
	}
	out := outputTransform(f, d)
	bias := YMM()
	v.load(Mem{Base: shift}, bias)
	for _, o := range out {
		VADDPS(bias, o, o)
	}
	from := GP64()
	LEAQ(Mem{Base: old, Index: at, Scale: 1}, from)
	TESTQ(old, old)
	JZ(LabelRef(l.name("added")))
	for _, o := range out {
		before := YMM()
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
