package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A tile of a product is 6 rows by 16 columns: 12 registers of sums, 2 of the right matrix, 1 for a value of the left
// matrix in all lanes. Panels whose columns end in the first half have a tile of 6 by 8.
const (
	rows    = 6
	columns = 16
)

const unroll = 4

// tile is one copy of a micro-kernel: halves of 8 columns.
type tile struct {
	labels
	halves int
	sums   [rows][]VecVirtual
}

func (t *tile) clear() {
	for i := range t.sums {
		t.sums[i] = nil
		for range t.halves {
			t.sums[i] = append(t.sums[i], zero())
		}
	}
}

// begin starts the sums of every row with shift.
func (t *tile) begin() {
	shift := pointer("shift")
	for h := range t.halves {
		v := YMM()
		VMOVUPS(Mem{Base: shift, Disp: 4 * lanes * h}, v)
		t.sums[0] = append(t.sums[0][:h], v)
	}
	for i := 1; i < rows; i++ {
		t.sums[i] = nil
		for h := range t.halves {
			v := YMM()
			VMOVAPS(t.sums[0][h], v)
			t.sums[i] = append(t.sums[i], v)
		}
	}
}

// step adds the products of one value of each row, read by a, with the columns at b.
func (t *tile) step(a func(row int) Mem, b Mem) {
	var right []VecVirtual
	for h := range t.halves {
		v := YMM()
		VMOVUPS(b.Offset(4*lanes*h), v)
		right = append(right, v)
	}
	for i := range rows {
		v := YMM()
		VBROADCASTSS(a(i), v)
		for h := range t.halves {
			VFMADD231PS(right[h], v, t.sums[i][h])
		}
	}
}

// finish makes the tile's values out of its sums and writes them to the rows of y that outputs gives: where there is an
// old product it is added, and with an activation that follows. Columns beyond cols are left alone.
func (t *tile) finish(outputs Register, activations bool) {
	Comment("How many columns the last half has.")
	last := integer("cols")
	if t.halves > 1 {
		SUBQ(U32(lanes), last)
	}
	old, waste := pointer("old"), pointer("waste")
	TESTQ(old, old)
	JZ(LabelRef(t.name("added")))
	t.eachWidth("add", last, func(l lane) {
		t.eachPart(outputs, old, waste, l, func(l lane, v VecVirtual, m Mem) {
			before := YMM()
			l.load(m, before)
			VADDPS(before, v, v)
		})
	})
	Label(t.name("added"))
	if activations {
		t.activate()
	}
	y := pointer("y")
	t.eachWidth("store", last, func(l lane) {
		t.eachPart(outputs, y, waste, l, func(l lane, v VecVirtual, m Mem) { l.store(v, m) })
	})
	ADDQ(U32(8*rows), outputs)
}

// eachWidth emits a copy for tiles whose last half is full, and one for others.
func (t *tile) eachWidth(part string, last Register, emit func(l lane)) {
	CMPQ(last, U32(lanes))
	JNE(LabelRef(t.name(part + "_few")))
	emit(lane{})
	JMP(LabelRef(t.name(part + "_end")))
	Label(t.name(part + "_few"))
	mask := YMM()
	loadMask(last, mask)
	emit(lane{mask})
	Label(t.name(part + "_end"))
}

// eachPart visits the registers of the tile and where they lie in a matrix; l is the lane of the last half.
func (t *tile) eachPart(outputs, matrix, waste Register, l lane, visit func(l lane, v VecVirtual, m Mem)) {
	for i := range rows {
		at := GP64()
		MOVQ(Mem{Base: outputs, Disp: 8 * i}, at)
		selectRow(at, matrix, waste)
		for h := range t.halves {
			part := lane{}
			if h == t.halves-1 {
				part = l
			}
			visit(part, t.sums[i][h], Mem{Base: at, Disp: 4 * lanes * h})
		}
	}
}

// activate applies the activation that act names to all values of the tile.
func (t *tile) activate() {
	kind := GP32()
	Load(Param("act"), kind.As8())
	MOVBLZX(kind.As8(), kind)
	TESTL(kind, kind)
	JZ(LabelRef(t.name("activated")))
	name := func(k int) string { return t.name(fmt.Sprintf("act%d", k)) }
	for k := relu; k < activations; k++ {
		Label(name(k))
		if k+1 < activations {
			CMPL(kind, U32(k))
			JNE(LabelRef(name(k + 1)))
		}
		for i := range rows {
			for _, v := range t.sums[i] {
				activation{kind: k}.forward(v)
			}
		}
		JMP(LabelRef(t.name("activated")))
	}
	Label(t.name("activated"))
}

// selectRow turns an offset into an address: that of base[at], or of instead when at is negative.
func selectRow(at GPVirtual, base, instead Register) {
	TESTQ(at, at)
	LEAQ(Mem{Base: base, Index: at, Scale: 4}, at)
	CMOVQLT(instead, at)
}

func multiplyRows() {
	begin("multiplyRows",
		"(tiles, taps, depth int, x, zero []float32, offsets []int, panel, shift, old, y, waste []float32, "+
			"outputs []int, cols int, act uint8, ahead []float32)",
		"multiplyRowsAVX2 is multiplyRowsGeneric, and fetches lines of ahead to the second cache meanwhile.")
	table, outputs, tiles := pointer("offsets"), pointer("outputs"), integer("tiles")
	Comment("From here on the length of ahead is its end.")
	last, size := pointer("ahead"), length("ahead")
	LEAQ(Mem{Base: last, Index: size, Scale: 4}, last)
	MOVQ(last, lengthOf("ahead"))
	CMPQ(address("cols"), U32(lanes))
	JLE(LabelRef("half_begin"))
	for _, t := range []*tile{{labels: "whole", halves: 2}, {labels: "half", halves: 1}} {
		Label(t.name("begin"))
		TESTQ(tiles, tiles)
		JLE(LabelRef("done"))
		Label(t.name("tile"))
		t.begin()
		t.sumRows(table)
		t.finish(outputs, true)
		DECQ(tiles)
		JNZ(LabelRef(t.name("tile")))
		if t.halves == 2 {
			JMP(LabelRef("done"))
		}
	}
	Label("done")
	end()
}

// sumRows sums a tile of multiplyRows.
func (t *tile) sumRows(table Register) {
	panel, taps := pointer("panel"), integer("taps")
	TESTQ(taps, taps)
	JLE(LabelRef(t.name("summed")))
	Comment("Rows are addressed from their ends, by an index that runs up to 0.")
	x, size := pointer("x"), integer("depth")
	SHLQ(U8(2), size)
	ADDQ(size, x)
	NEGQ(size)
	Label(t.name("tap"))
	zeros := pointer("zero")
	SUBQ(size, zeros)
	var at [rows]GPVirtual
	for i := range at {
		at[i] = GP64()
		MOVQ(Mem{Base: table, Disp: 8 * i}, at[i])
		selectRow(at[i], x, zeros)
	}
	ADDQ(U32(8*rows), table)
	k := GP64()
	MOVQ(size, k)
	value := func(n int) func(int) Mem {
		return func(i int) Mem { return Mem{Base: at[i], Index: k, Scale: 1, Disp: 4 * n} }
	}
	CMPQ(k, I32(-4*unroll))
	JG(LabelRef(t.name("rest")))
	Label(t.name("depth"))
	ahead := pointer("ahead") // registers are short
	for i := range fetchLines {
		PREFETCHT1(Mem{Base: ahead, Disp: 64 * i})
	}
	ADDQ(U32(64*fetchLines), ahead)
	CMPQ(ahead, lengthOf("ahead"))
	CMOVQGT(lengthOf("ahead"), ahead)
	MOVQ(ahead, baseOf("ahead"))
	for n := range unroll {
		t.step(value(n), Mem{Base: panel, Disp: 4 * columns * n})
	}
	ADDQ(U32(4*columns*unroll), panel)
	ADDQ(U32(4*unroll), k)
	CMPQ(k, I32(-4*unroll))
	JLE(LabelRef(t.name("depth")))
	Label(t.name("rest"))
	TESTQ(k, k)
	JZ(LabelRef(t.name("next")))
	t.step(value(0), Mem{Base: panel})
	ADDQ(U32(4*columns), panel)
	ADDQ(U32(4), k)
	JMP(LabelRef(t.name("rest")))
	Label(t.name("next"))
	DECQ(taps)
	JNZ(LabelRef(t.name("tap")))
	Label(t.name("summed"))
}

func multiplyColumns() {
	begin("multiplyColumns",
		"(tiles int, x, zero []float32, offsets, starts []int, panel []float32, ld int, old, y, waste []float32, "+
			"outputs []int, cols int, ahead []float32)",
		"multiplyColumnsAVX2 is multiplyColumnsGeneric, and fetches lines of ahead to the second cache meanwhile.")
	starts, outputs, tiles := pointer("starts"), pointer("outputs"), integer("tiles")
	ahead, size := pointer("ahead"), length("ahead")
	last := GP64()
	LEAQ(Mem{Base: ahead, Index: size, Scale: 4}, last)
	CMPQ(address("cols"), U32(lanes))
	JLE(LabelRef("half_begin"))
	for _, t := range []*tile{{labels: "whole", halves: 2}, {labels: "half", halves: 1}} {
		Label(t.name("begin"))
		TESTQ(tiles, tiles)
		JLE(LabelRef("done"))
		Label(t.name("tile"))
		t.clear()
		t.sumColumns(starts, ahead, last)
		t.finish(outputs, false)
		DECQ(tiles)
		JNZ(LabelRef(t.name("tile")))
		if t.halves == 2 {
			JMP(LabelRef("done"))
		}
	}
	Label("done")
	end()
}

// sumColumns sums a tile of multiplyColumns.
func (t *tile) sumColumns(starts, ahead, last Register) {
	panel, table, depth := pointer("panel"), pointer("offsets"), length("offsets")
	x, zeros, ld := pointer("x"), pointer("zero"), integer("ld")
	start := GP64()
	MOVQ(Mem{Base: starts}, start)
	ADDQ(U32(8), starts)
	LEAQ(Mem{Base: x, Index: start, Scale: 4}, x)
	LEAQ(Mem{Base: zeros, Index: start, Scale: 4}, zeros)
	SHLQ(U8(2), ld)
	step := func(n int) {
		at := GP64()
		MOVQ(Mem{Base: table, Disp: 8 * n}, at)
		selectRow(at, x, zeros)
		t.step(func(i int) Mem { return Mem{Base: at, Disp: 4 * i} }, Mem{Base: panel})
		ADDQ(ld, panel)
	}
	SUBQ(U32(unroll), depth)
	JLT(LabelRef(t.name("rest")))
	Label(t.name("depth"))
	for i := range fetchLines {
		PREFETCHT1(Mem{Base: ahead, Disp: 64 * i})
	}
	for n := range unroll {
		step(n)
	}
	ADDQ(U32(64*fetchLines), ahead)
	CMPQ(ahead, last)
	CMOVQGT(last, ahead)
	ADDQ(U32(8*unroll), table)
	SUBQ(U32(unroll), depth)
	JGE(LabelRef(t.name("depth")))
	Label(t.name("rest"))
	ADDQ(U32(unroll), depth)
	JZ(LabelRef(t.name("summed")))
	Label(t.name("single"))
	step(0)
	ADDQ(U32(8), table)
	DECQ(depth)
	JNZ(LabelRef(t.name("single")))
	Label(t.name("summed"))
}

// fetchLines is how many lines of the cache are fetched in unroll steps of a product: memory is idle meanwhile.
const fetchLines = 2

func transpose() {
	begin("transpose", "(depth int, x []float32, ld int, y []float32)", "transposeAVX2 is transposeGeneric.")
	x, y, ld, left := pointer("x"), pointer("y"), bytes("ld"), integer("depth")
	Comment("Four rows each are addressed from two pointers.")
	ld3, lower := GP64(), GP64()
	LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, ld3)
	LEAQ(Mem{Base: x, Index: ld, Scale: 4}, lower)
	row := func(p Register, i, disp int) Mem {
		return []Mem{
			{Base: p},
			{Base: p, Index: ld, Scale: 1},
			{Base: p, Index: ld, Scale: 2},
			{Base: p, Index: ld3, Scale: 1},
		}[i].Offset(disp)
	}
	SUBQ(U32(8), left)
	JLT(LabelRef("tail"))
	Label("block")
	for disp := 0; disp < 32; disp += 16 {
		Comment("Four columns of rows 0..4, and of rows 4..8 in the upper half.")
		var a [4]VecVirtual
		for i := range a {
			a[i] = YMM()
			VMOVUPS(row(x, i, disp), a[i].AsX())
			VINSERTF128(U8(1), row(lower, i, disp), a[i], a[i])
		}
		for k, t := range transposed(a) {
			VMOVUPS(t, Mem{Base: y, Disp: 4 * (columns*k + columns*disp/4)})
		}
	}
	ADDQ(U32(32), x)
	ADDQ(U32(32), lower)
	ADDQ(U32(8*4*columns), y)
	SUBQ(U32(8), left)
	JGE(LabelRef("block"))
	Label("tail")
	ADDQ(U32(8), left)
	JZ(LabelRef("end"))
	Label("column")
	v := XMM()
	for i := range 8 {
		p := x
		if i >= 4 {
			p = lower
		}
		VMOVSS(row(p, i%4, 0), v)
		VMOVSS(v, Mem{Base: y, Disp: 4 * i})
	}
	ADDQ(U32(4), x)
	ADDQ(U32(4), lower)
	ADDQ(U32(4*columns), y)
	DECQ(left)
	JNZ(LabelRef("column"))
	Label("end")
	end()
}

// transposed turns four rows of four into columns, in both halves.
func transposed(a [4]VecVirtual) (out [4]VecVirtual) {
	var t [4]VecVirtual
	for i := range t {
		t[i], out[i] = YMM(), YMM()
	}
	VUNPCKLPS(a[1], a[0], t[0])
	VUNPCKHPS(a[1], a[0], t[1])
	VUNPCKLPS(a[3], a[2], t[2])
	VUNPCKHPS(a[3], a[2], t[3])
	VUNPCKLPD(t[2], t[0], out[0])
	VUNPCKHPD(t[2], t[0], out[1])
	VUNPCKLPD(t[3], t[1], out[2])
	VUNPCKHPD(t[3], t[1], out[3])
	return out
}
