package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// taps is one copy of a depthwise kernel: for a filter piece of rows x cols taps, and as many channels at a time as a register has lanes.
type taps struct {
	labels
	rows, cols int
}

const maxTaps = 3

// variants emits a copy of a kernel for each size of filter piece, and the choice among them.
func variants(emit func(t taps)) {
	kind := integer("rows")
	LEAQ(Mem{Base: kind, Index: kind, Scale: 2}, kind) // 3 rows + cols
	ADDQ(address("cols"), kind)
	var all []taps
	for r := 1; r <= maxTaps; r++ {
		for c := 1; c <= maxTaps; c++ {
			all = append(all, taps{labels(fmt.Sprintf("taps_%dx%d", r, c)), r, c})
		}
	}
	// The largest is met most.
	for i := len(all) - 1; i > 0; i-- {
		CMPQ(kind, U32(3*all[i].rows+all[i].cols))
		JEQ(LabelRef(all[i].name("begin")))
	}
	for _, t := range all {
		Label(t.name("begin"))
		emit(t)
		end()
	}
}

// pixel gives the addresses of the taps of a pixel, of which the first in each row are pointers.
func (t taps) pixel(first []GPVirtual, col Register) []Mem {
	var m []Mem
	for i := range t.rows {
		for j := range t.cols {
			a := Mem{Base: first[i]}
			if j > 0 {
				a.Index, a.Scale = col, uint8(j)
			}
			m = append(m, a)
		}
	}
	return m
}

// pointers gives the address of the first tap of each row, row bytes apart.
func (t taps) pointers(first, row Register) []GPVirtual {
	p := []GPVirtual{GP64()}
	MOVQ(first, p[0])
	for i := 1; i < t.rows; i++ {
		p = append(p, GP64())
		MOVQ(p[i-1], p[i])
		ADDQ(row, p[i])
	}
	return p
}

// channels emits a loop over as many channels at a time as a register has lanes, then one for the rest under a mask. block moves its own pointers
// on.
func channels(l labels, parameter string, block func(l labels, v lane)) {
	left := integer(parameter)
	SUBQ(U32(lanes), left)
	JLT(LabelRef(l.name("tail")))
	Label(l.name("channels"))
	block(labels(l.name("all")), lane{})
	SUBQ(U32(lanes), left)
	JGE(LabelRef(l.name("channels")))
	Label(l.name("tail"))
	ADDQ(U32(lanes), left)
	JZ(LabelRef(l.name("end")))
	block(labels(l.name("few")), few(left))
	Label(l.name("end"))
}

// bytes loads a number of float32 values as a number of bytes.
func bytes(parameter string) Register {
	r := integer(parameter)
	SHLQ(U8(2), r)
	return r
}

// from loads the address of a slice's value at an index.
func from(slice, index string) Register {
	p, i := pointer(slice), integer(index)
	LEAQ(Mem{Base: p, Index: i, Scale: 4}, p)
	return p
}

func depthwiseRun() {
	begin("depthwiseRun",
		"(rows, cols, c, count int, x []float32, x0, xRow, xStep int, w []float32, w0, wRow, wCol int, y []float32, "+
			"yStep int, accumulate bool)",
		"depthwiseRun"+set+" is depthwiseRunGeneric.")
	variants(func(t taps) {
		x, w, y, col := from("x", "x0"), from("w", "w0"), pointer("y"), bytes("c")
		channels(t.labels, "c", func(l labels, v lane) {
			row, step := bytes("wRow"), bytes("wCol")
			var weights []VecVirtual
			for _, m := range t.pixel(t.pointers(w, row), step) {
				r := vector()
				v.load(m, r)
				weights = append(weights, r)
			}
			row = bytes("xRow")
			pixel := t.pixel(t.pointers(x, row), col)
			xStep, yStep, to, count := bytes("xStep"), bytes("yStep"), GP64(), integer("count")
			MOVQ(y, to)
			move := func() {
				for i := range t.rows {
					ADDQ(xStep, pixel[i*t.cols].Base)
				}
				ADDQ(yStep, to)
				DECQ(count)
			}
			CMPB(address("accumulate"), U8(0))
			JNE(LabelRef(l.name("add")))
			for _, part := range []string{"set", "add"} {
				Label(l.name(part))
				sum := vector()
				if part == "add" {
					v.load(Mem{Base: to}, sum)
				} else {
					VXORPS(sum, sum, sum)
				}
				for i, m := range pixel {
					v.fma(m, weights[i], sum)
				}
				v.store(sum, Mem{Base: to})
				move()
				JNZ(LabelRef(l.name(part)))
				if part == "set" {
					JMP(LabelRef(l.name("next")))
				}
			}
			Label(l.name("next"))
			for _, p := range []Register{x, w, y} {
				ADDQ(U32(4*lanes), p)
			}
		})
	})
}

func depthwiseSums() {
	begin("depthwiseSums",
		"(rows, cols, c, count int, x []float32, x0, xRow, xStep int, dy, dw []float32, w0, wRow int)",
		"depthwiseSums"+set+" is depthwiseSumsGeneric, but sums the pixels first and adds that to dw.")
	variants(func(t taps) {
		x, dw, dy, col := from("x", "x0"), from("dw", "w0"), pointer("dy"), bytes("c")
		channels(t.labels, "c", func(l labels, v lane) {
			var sums []VecVirtual
			for range t.rows * t.cols {
				sums = append(sums, zero())
			}
			row := bytes("xRow")
			pixel := t.pixel(t.pointers(x, row), col)
			step, from, count := bytes("xStep"), GP64(), integer("count")
			MOVQ(dy, from)
			Label(l.name("pixel"))
			gradient := vector()
			v.load(Mem{Base: from}, gradient)
			for i, m := range pixel {
				v.fma(m, gradient, sums[i])
			}
			for i := range t.rows {
				ADDQ(step, pixel[i*t.cols].Base)
			}
			ADDQ(col, from)
			DECQ(count)
			JNZ(LabelRef(l.name("pixel")))
			row = bytes("wRow")
			for i, m := range t.pixel(t.pointers(dw, row), col) {
				old := vector()
				v.load(m, old)
				VADDPS(old, sums[i], sums[i])
				v.store(sums[i], m)
			}
			for _, p := range []Register{x, dw, dy} {
				ADDQ(U32(4*lanes), p)
			}
		})
	})
}
