package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Bands are laid out by type band of package kernel: eight channels of a pixel, then those of the next.
const (
	bandLanes  = 8
	pixelBytes = 4 * bandLanes
)

// bandLoop emits a loop that lays pixels, their channels beside each other in the slices of sources, into a band: over
// channels, 16 at a time (which fill a line of the cache), then 8; and in it one over pixels, so that what is written
// lies together.
func bandLoop(l labels, sources []string, make func(s Mem) func(at []Mem) VecVirtual) {
	var p []Register
	for _, m := range sources {
		p = append(p, pointer(m))
	}
	y, s := pointer("y"), integer("s")
	stride, size, left := bytes("stride"), bytes("block"), integer("n")
	block := func(l labels, count int) {
		var body []func(at []Mem) VecVirtual
		for i := range count {
			body = append(body, make(Mem{Base: s, Disp: stripSize * i}))
		}
		var from []GPVirtual
		for _, r := range p {
			f := GP64()
			MOVQ(r, f)
			from = append(from, f)
		}
		to, cols := GP64(), integer("cols")
		MOVQ(y, to)
		Label(l.name("pixel"))
		for i, value := range body {
			var at []Mem
			for _, f := range from {
				at = append(at, Mem{Base: f, Disp: 4 * lanes * i})
			}
			dst := Mem{Base: to}
			if i > 0 {
				dst.Index, dst.Scale = size, 1
			}
			VMOVUPS(value(at), dst)
		}
		for _, f := range from {
			ADDQ(stride, f)
		}
		ADDQ(U32(pixelBytes), to)
		DECQ(cols)
		JNZ(LabelRef(l.name("pixel")))
		for _, r := range p {
			ADDQ(U32(4*lanes*count), r)
		}
		for range count {
			ADDQ(size, y)
		}
		ADDQ(U32(stripSize*count), s)
	}
	SUBQ(U32(2*lanes), left)
	JLT(LabelRef(l.name("last")))
	Label(l.name("channels"))
	block(labels(l.name("sixteen")), 2)
	SUBQ(U32(2*lanes), left)
	JGE(LabelRef(l.name("channels")))
	Label(l.name("last"))
	ADDQ(U32(2*lanes), left)
	JZ(LabelRef(l.name("end")))
	block(labels(l.name("eight")), 1)
	Label(l.name("end"))
}

func normBand() {
	begin("normBand", "(cols, n, stride int, x []float32, s *float32, act uint8, y []float32, block int)",
		"normBandAVX2 is normBandGeneric.")
	eachActivation(func(l labels, a activation) {
		a.hold()
		bandLoop(l, []string{"x"}, func(s Mem) func(at []Mem) VecVirtual {
			mean, scale, shift := load(s, stripMean), load(s, stripScale), load(s, stripShift)
			return func(at []Mem) VecVirtual {
				z := lane{}.normalised(at[0], mean, scale, shift)
				a.forward(z)
				return z
			}
		})
		release()
	})
}

func normBackwardBand() {
	begin("normBackwardBand", "(cols, n, stride int, x, dz []float32, s *float32, y []float32, block int)",
		"normBackwardBandAVX2 is normBackwardBandGeneric.")
	bandLoop("band", []string{"x", "dz"}, func(s Mem) func(at []Mem) VecVirtual {
		b := newBackwardApply(s)
		return func(at []Mem) VecVirtual { return b.value(lane{}, at[0], at[1]) }
	})
	end()
}

// taps3 are the weights of a filter of 3 x 3 taps for eight channels.
type taps3 [3][3]VecVirtual

func loadTaps(w Register) (t taps3) {
	for r := range t {
		for s := range t[r] {
			t[r][s] = YMM()
			VMOVUPS(Mem{Base: w, Disp: pixelBytes * (3*r + s)}, t[r][s])
		}
	}
	return t
}

// rowPointers reads the offsets of n rows from a table, which moves on.
func rowPointers(x, table Register, n int) []GPVirtual {
	var p []GPVirtual
	for i := range n {
		r := GP64()
		MOVQ(Mem{Base: table, Disp: 8 * i}, r)
		LEAQ(Mem{Base: x, Index: r, Scale: 4}, r)
		p = append(p, r)
	}
	ADDQ(U32(8*n), table)
	return p
}

// slide calls use with each of the pixels that n neighbouring outputs of stride 1 read: output i meets it as tap s.
func slide(row GPVirtual, n int, use func(x VecVirtual, i, s int)) {
	for k := range n + 2 {
		x := YMM()
		VMOVUPS(Mem{Base: row, Disp: pixelBytes * k}, x)
		for i := range n {
			if s := k - i; s >= 0 && s < 3 {
				use(x, i, s)
			}
		}
	}
}

const bandUnroll = 4 // outputs of a row at a time

// eachBand emits loops over blocks of channels and, in each, over rows: first and last are around the rows.
func eachBand(first, row, last func()) {
	Label("block")
	first()
	rows := integer("rows")
	Label("row")
	row()
	DECQ(rows)
	JNZ(LabelRef("row"))
	last()
	DECQ(address("blocks")) // registers are short
	JNZ(LabelRef("block"))
	end()
}

func advance(p []GPVirtual, by Op) {
	for _, r := range p {
		ADDQ(by, r)
	}
}

func depthwiseBand() {
	begin("depthwiseBand",
		"(blocks, rows, cols int, x []float32, table []int, block, step int, w, y []float32, yRow, yCol int, "+
			"ahead, beside []float32)",
		"depthwiseBandAVX2 is depthwiseBandGeneric"+fetching("ahead and beside"))
	fetched("ahead", "beside")
	x, w, y := pointer("x"), pointer("w"), pointer("y")
	yCol := bytes("yCol")
	third := GP64()
	LEAQ(Mem{Base: yCol, Index: yCol, Scale: 2}, third)
	var t taps3
	table, line := GP64(), GP64()
	eachBand(func() {
		t = loadTaps(w)
		Load(Param("table").Base(), table)
		MOVQ(y, line)
	}, func() {
		p := rowPointers(x, table, 3)
		to, cols := GP64(), integer("cols")
		MOVQ(line, to)
		SUBQ(U32(bandUnroll), cols)
		JLT(LabelRef("rest"))
		CMPQ(address("step"), U32(1))
		JNE(LabelRef("rest"))
		Label("four")
		fetchNext("ahead", 2)
		fetchNext("beside", 2)
		var sums [bandUnroll]VecVirtual
		for i := range sums {
			sums[i] = zero()
		}
		for r := range p {
			slide(p[r], bandUnroll, func(v VecVirtual, i, s int) { VFMADD231PS(v, t[r][s], sums[i]) })
		}
		VMOVUPS(sums[0], Mem{Base: to})
		VMOVUPS(sums[1], Mem{Base: to, Index: yCol, Scale: 1})
		VMOVUPS(sums[2], Mem{Base: to, Index: yCol, Scale: 2})
		VMOVUPS(sums[3], Mem{Base: to, Index: third, Scale: 1})
		advance(p, U32(bandUnroll*pixelBytes))
		LEAQ(Mem{Base: to, Index: yCol, Scale: 4}, to)
		SUBQ(U32(bandUnroll), cols)
		JGE(LabelRef("four"))
		Label("rest")
		ADDQ(U32(bandUnroll), cols)
		JZ(LabelRef("next"))
		step := integer("step")
		SHLQ(U8(5), step)
		Label("pixel")
		fetchNext("ahead", 2)
		fetchNext("beside", 1)
		sum := zero()
		for r := range p {
			for s := range 3 {
				VFMADD231PS(Mem{Base: p[r], Disp: pixelBytes * s}, t[r][s], sum)
			}
		}
		VMOVUPS(sum, Mem{Base: to})
		advance(p, step)
		ADDQ(yCol, to)
		DECQ(cols)
		JNZ(LabelRef("pixel"))
		Label("next")
		yRow := bytes("yRow")
		ADDQ(yRow, line)
	}, func() {
		size := bytes("block")
		ADDQ(size, x)
		ADDQ(U32(9*pixelBytes), w)
		ADDQ(U32(4*lanes), y)
	})
}

func depthwiseBandSums() {
	begin("depthwiseBandSums",
		"(blocks, rows, cols int, x []float32, table []int, block, step int, dy []float32, dyTable []int, dyBlock int, "+
			"sums, ahead []float32)",
		"depthwiseBandSumsAVX2 is depthwiseBandSumsGeneric, but sums all pixels first and adds that to sums"+fetching("ahead"))
	fetched("ahead")
	x, dy, dw := pointer("x"), pointer("dy"), pointer("sums")
	var t taps3
	table, dyTable := GP64(), GP64()
	eachBand(func() {
		for r := range t {
			for s := range t[r] {
				t[r][s] = zero()
			}
		}
		Load(Param("table").Base(), table)
		Load(Param("dyTable").Base(), dyTable)
	}, func() {
		p := rowPointers(x, table, 3)
		q := rowPointers(dy, dyTable, 1)
		cols := integer("cols")
		SUBQ(U32(bandUnroll), cols)
		JLT(LabelRef("rest"))
		CMPQ(address("step"), U32(1))
		JNE(LabelRef("rest"))
		Label("four")
		fetchNext("ahead", 2)
		var d [bandUnroll]VecVirtual
		for i := range d {
			d[i] = YMM()
			VMOVUPS(Mem{Base: q[0], Disp: pixelBytes * i}, d[i])
		}
		for r := range p {
			slide(p[r], bandUnroll, func(v VecVirtual, i, s int) { VFMADD231PS(v, d[i], t[r][s]) })
		}
		advance(append(p[:3:3], q...), U32(bandUnroll*pixelBytes))
		SUBQ(U32(bandUnroll), cols)
		JGE(LabelRef("four"))
		Label("rest")
		ADDQ(U32(bandUnroll), cols)
		JZ(LabelRef("next"))
		step := integer("step")
		SHLQ(U8(5), step)
		Label("pixel")
		fetchNext("ahead", 2)
		v := YMM()
		VMOVUPS(Mem{Base: q[0]}, v)
		for r := range p {
			for s := range 3 {
				VFMADD231PS(Mem{Base: p[r], Disp: pixelBytes * s}, v, t[r][s])
			}
		}
		advance(p, step)
		ADDQ(U32(pixelBytes), q[0])
		DECQ(cols)
		JNZ(LabelRef("pixel"))
		Label("next")
	}, func() {
		for r := range t {
			for s := range t[r] {
				m := Mem{Base: dw, Disp: pixelBytes * (3*r + s)}
				VADDPS(m, t[r][s], t[r][s])
				VMOVUPS(t[r][s], m)
			}
		}
		size, dySize := bytes("block"), bytes("dyBlock")
		ADDQ(size, x)
		ADDQ(dySize, dy)
		ADDQ(U32(9*pixelBytes), dw)
	})
}

func depthwiseBandSpread() {
	begin("depthwiseBandSpread",
		"(blocks, rows, cols int, x []float32, table []int, block int, w, y []float32, yRow, yCol int, "+
			"ahead, beside []float32)",
		"depthwiseBandSpreadAVX2 is depthwiseBandSpreadGeneric"+fetching("ahead and beside"))
	fetched("ahead", "beside")
	x, w, y := pointer("x"), pointer("w"), pointer("y")
	yCol := bytes("yCol")
	var t taps3
	table, line := GP64(), GP64()
	eachBand(func() {
		t = loadTaps(w)
		Load(Param("table").Base(), table)
		MOVQ(y, line)
	}, func() {
		second := GP64()
		MOVQ(Mem{Base: table, Disp: 8}, second)
		p := rowPointers(x, table, 2)
		to, cols := GP64(), integer("cols")
		MOVQ(line, to)
		TESTQ(second, second)
		JGE(LabelRef("two_begin"))
		for _, v := range []struct {
			labels
			rows []int // the filter's, for the one or two rows of x
		}{{"one", []int{1}}, {"two", []int{2, 0}}} {
			Label(v.name("begin"))
			SUBQ(U32(2), cols)
			JLT(LabelRef(v.name("rest")))
			Label(v.name("pair"))
			fetchNext("ahead", 1)
			fetchNext("beside", 1)
			even, odd := zero(), zero()
			for i, r := range v.rows {
				a, b := YMM(), YMM()
				VMOVUPS(Mem{Base: p[i]}, a)
				VMOVUPS(Mem{Base: p[i], Disp: pixelBytes}, b)
				VFMADD231PS(a, t[r][1], even)
				VFMADD231PS(a, t[r][2], odd)
				VFMADD231PS(b, t[r][0], odd)
			}
			VMOVUPS(even, Mem{Base: to})
			VMOVUPS(odd, Mem{Base: to, Index: yCol, Scale: 1})
			advance(p, U32(pixelBytes))
			LEAQ(Mem{Base: to, Index: yCol, Scale: 2}, to)
			SUBQ(U32(2), cols)
			JGE(LabelRef(v.name("pair")))
			Label(v.name("rest"))
			ADDQ(U32(2), cols)
			JZ(LabelRef("next"))
			even = zero()
			for i, r := range v.rows {
				VFMADD231PS(Mem{Base: p[i]}, t[r][1], even)
			}
			VMOVUPS(even, Mem{Base: to})
			if v.labels == "one" {
				JMP(LabelRef("next"))
			}
		}
		Label("next")
		yRow := bytes("yRow")
		ADDQ(yRow, line)
	}, func() {
		size := bytes("block")
		ADDQ(size, x)
		ADDQ(U32(9*pixelBytes), w)
		ADDQ(U32(4*lanes), y)
	})
}

func touch() {
	begin("touch", "(x []float32)", "touchAVX2 is touchGeneric.")
	p, left := pointer("x"), length("x")
	Label("line")
	SUBQ(U32(16), left)
	JLT(LabelRef("end"))
	v := GP64()
	MOVQ(Mem{Base: p}, v)
	ADDQ(U32(64), p)
	JMP(LabelRef("line"))
	Label("end")
	RET()
}
