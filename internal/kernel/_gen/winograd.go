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

func (w winogradForm) transformInput() {
	name := "winogradInput" + w.name
	begin(name, "(c int, x []float32, row int, zero []float32, pixels []int, v []float32, step int, scratch []float32)",
		name+set+" is "+name+"Generic.")
	pixels := pointer("pixels")
	TESTQ(pixels, pixels)
	JNZ(LabelRef("edge"))
	Label("inside")
	row, col := bytes("row"), bytes("c")
	w.inputs("inside", func(x, column Register) func(d VecVirtual, l lane, i, j int) {
		from := GP64()
		return func(d VecVirtual, l lane, i, j int) {
			switch {
			case i > 0:
				ADDQ(row, from)
			case j > 0:
				ADDQ(col, column)
				MOVQ(column, from)
			default:
				MOVQ(x, column)
				MOVQ(x, from)
			}
			l.load(Mem{Base: from}, d)
		}
	})
	Label("edge")
	zeros := pointer("zero")
	w.inputs("edge", func(x, from Register) func(d VecVirtual, l lane, i, j int) {
		return func(d VecVirtual, l lane, i, j int) {
			MOVQ(Mem{Base: pixels, Disp: 8 * (i*w.in + j)}, from)
			selectRow(from.(GPVirtual), x, zeros)
			l.load(Mem{Base: from}, d)
			if i == w.in-1 && j == w.in-1 {
				ADDQ(U32(4*lanes), zeros)
			}
		}
	})
}

// inputs emits a loop over channels; of some of them, the function that pixels returns loads those of pixel (i, j), by
// columns.
func (w winogradForm) inputs(l labels, pixels func(x, scratch Register) func(d VecVirtual, l lane, i, j int)) {
	x, v, step := pointer("x"), pointer("v"), bytes("step")
	f := inputFactors{two: constant(2)}
	if w.in == 6 {
		f.four, f.five = constant(4), constant(5)
	}
	channels(l, "c", func(_ labels, l lane) {
		g, load := newGrid(w.in, w.in), pixels(x, GP64())
		for j := range w.in {
			d := make([]VecVirtual, w.in)
			for i := range d {
				d[i] = vector()
				load(d[i], l, i, j)
			}
			for i, t := range w.input(f, d) {
				g.set(i, j, t)
			}
		}
		to := GP64()
		MOVQ(v, to)
		for i := range w.in {
			for _, t := range w.input(f, g.row(i)) {
				l.store(t, Mem{Base: to})
				ADDQ(step, to)
			}
		}
		ADDQ(U32(4*lanes), x)
		ADDQ(U32(4*lanes), v)
	})
	end()
}

// grid holds the columns of a tile until its rows are read: the first rows in registers, where there are enough, the others
// in scratch.
type grid struct {
	cols, kept int
	values     map[int]VecVirtual
	scratch    Register
}

func newGrid(rows, cols int) grid {
	g := grid{cols: cols, values: map[int]VecVirtual{}, scratch: pointer("scratch")}
	if set == avx512 {
		const spare = 15 // registers that a transform leaves
		g.kept = min(spare/(cols-1), rows)
	}
	return g
}

func (g grid) at(i, j int) Mem { return Mem{Base: g.scratch, Disp: 4 * lanes * (i*g.cols + j)} }

func (g grid) set(i, j int, v VecVirtual) {
	if i < g.kept {
		g.values[i*g.cols+j] = v
	} else {
		VMOVUPS(v, g.at(i, j))
	}
}

// row gives the values of a row, to be used up.
func (g grid) row(i int) []VecVirtual {
	d := make([]VecVirtual, g.cols)
	for j := range d {
		if i < g.kept {
			d[j] = g.values[i*g.cols+j]
			continue
		}
		d[j] = vector()
		VMOVUPS(g.at(i, j), d[j])
	}
	return d
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
		m, shift, old, y := pointer("m"), pointer("shift"), pointer("old"), pointer("y")
		col := bytes("k")
		channels(l, "k", func(l labels, v lane) {
			g := w.columns(m, v)
			f := outputFactors{constant(2), constant(4), constant(8)}
			row := bytes("row")
			at := GP64()
			XORQ(at, at)
			for i := range winogradOut {
				w.row(labels(l.name(fmt.Sprint("row", i))), v, a, f, g.row(i), shift, old, y, at, col)
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

// columns transforms the columns of a tile of products.
func (w winogradForm) columns(m Register, v lane) grid {
	g := newGrid(winogradOut, w.points)
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
			g.set(i, j, t)
		}
		ADDQ(step, column)
	}
	return g
}

// row makes a row of the output, at bytes behind y, of a row d of the columns.
func (w winogradForm) row(
	l labels, v lane, a activation, f outputFactors, d []VecVirtual, shift, old, y, at, col Register,
) {
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
