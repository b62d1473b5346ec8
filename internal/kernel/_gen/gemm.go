package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Left matrices come in tiles of 6 rows, right ones in panels of 16 columns. With AVX2 a tile of a product is 6 rows by 16
// columns: 12 registers of sums, 2 of the right matrix, 1 for a value of the left matrix in all lanes. With AVX-512 it is
// two tiles of rows by two panels: 24 registers of sums. A sum runs over the same values in the same order in both, so its
// bits are the same.
const (
	rows    = 6
	columns = 16
)

const unroll = 4

// tile is one copy of a micro-kernel.
type tile struct {
	labels
	tiles int   // of rows
	parts []int // lanes of the registers of a row
	sums  [][]VecVirtual
}

// forms are the tiles of a set, by columns: for the most first, the last part of which may be few. The last part is as narrow
// as the columns allow: some processors need half the time for half a register. Of those with the same columns the larger
// comes first. Half a panel is multiplied with two tiles, if there are two, so that a sum need not wait for the one before.
func forms() [][]*tile {
	if set == avx512 {
		return [][]*tile{
			{{labels: "two", tiles: 2, parts: []int{16, 16}}},
			{{labels: "one_half", tiles: 2, parts: []int{16, 8}}},
		}
	}
	return [][]*tile{
		{{labels: "whole", tiles: 1, parts: []int{8, 8}}},
		{{labels: "half_pair", tiles: 2, parts: []int{8}}, {labels: "half", tiles: 1, parts: []int{8}}},
	}
}

// eachForm emits the tiles of a set, and the choice among them by the number of columns and of tiles, which in units of the
// last form's divides.
func eachForm(emit func(t *tile)) {
	all := forms()
	for i := len(all) - 1; i > 0; i-- {
		CMPQ(address("cols"), U32(all[i][0].columns()))
		JLE(LabelRef(all[i][0].name("begin")))
	}
	for _, form := range all {
		unit := form[len(form)-1].tiles
		for _, t := range form {
			n := U32(t.tiles / unit)
			Label(t.name("begin"))
			SUBQ(n, address("tiles"))
			JLT(LabelRef(t.name("end")))
			Label(t.name("tile"))
			emit(t)
			SUBQ(n, address("tiles"))
			JGE(LabelRef(t.name("tile")))
			Label(t.name("end"))
			ADDQ(n, address("tiles"))
		}
		end()
	}
}

func (t *tile) rows() int    { return t.tiles * rows }
func (t *tile) columns() int { return t.first(len(t.parts)) }

// panels is how many panels of the right matrix the tile reads.
func (t *tile) panels() int { return (t.columns() + columns - 1) / columns }

// first is the first column of a part.
func (t *tile) first(part int) (column int) {
	for _, n := range t.parts[:part] {
		column += n
	}
	return column
}

// eachPart emits the code for each part of a row, with registers of its lanes.
func (t *tile) eachPart(emit func(part int)) {
	for i, n := range t.parts {
		registers(n, func() { emit(i) })
	}
}

// begin starts the sums of every row with what start gives for the first.
func (t *tile) begin(start func(part int) VecVirtual) {
	t.sums = make([][]VecVirtual, t.rows())
	t.eachPart(func(part int) {
		t.sums[0] = append(t.sums[0], start(part))
		for i := 1; i < t.rows(); i++ {
			v := vector()
			VMOVAPS(t.sums[0][part], v)
			t.sums[i] = append(t.sums[i], v)
		}
	})
}

// step adds the products of one value of each row, read by a, with the columns at a row of the panel; the next panel's
// is so many bytes further on.
func (t *tile) step(a func(row int) Mem, panel Mem, beside Register) {
	var right []VecVirtual
	t.eachPart(func(part int) {
		m, v := panel.Offset(4*(t.first(part)%columns)), vector()
		if t.first(part) >= columns {
			m.Index, m.Scale = beside, 1
		}
		VMOVUPS(m, v)
		right = append(right, v)
	})
	for i := range t.sums {
		var value VecVirtual
		registers(t.parts[0], func() { value = vector() })
		VBROADCASTSS(a(i), value)
		for part, v := range right {
			left := Register(value)
			if v.Size() < value.Size() {
				left = value.AsY()
			}
			VFMADD231PS(v, left, t.sums[i][part])
		}
	}
}

// lines is how many lines of the cache are fetched in unroll steps.
func (t *tile) lines() int { return fetchLines * t.tiles * t.panels() }

// fetchLines is how many lines of the cache are fetched in unroll steps of a tile with a panel.
const fetchLines = 2

// expect fetches what finish will read of the old product, to the second cache, while the sums are made.
func (t *tile) expect() {
	old, outputs := pointer("old"), pointer("outputs")
	TESTQ(old, old)
	JZ(LabelRef(t.name("expected")))
	for i := range t.rows() {
		at := GP64()
		MOVQ(Mem{Base: outputs, Disp: 8 * i}, at)
		selectRow(at, old, old)
		for column := 0; column < t.columns(); column += columns {
			PREFETCHT1(Mem{Base: at, Disp: 4 * column})
		}
	}
	Label(t.name("expected"))
}

// finish makes the tile's values out of its sums and writes them to the rows of y that outputs gives: where there is an
// old product it is added, and with an activation that follows. Columns beyond cols are left alone.
func (t *tile) finish(activations bool) {
	Comment("How many columns the last part has.")
	last, outputs := integer("cols"), pointer("outputs")
	if n := t.first(len(t.parts) - 1); n > 0 {
		SUBQ(U32(n), last)
	}
	old, waste := pointer("old"), pointer("waste")
	TESTQ(old, old)
	JZ(LabelRef(t.name("added")))
	t.eachWidth("add", last, func(l lane) {
		t.eachRegister(outputs, old, waste, l, func(l lane, v VecVirtual, m Mem) {
			before := vector()
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
		t.eachRegister(outputs, y, waste, l, func(l lane, v VecVirtual, m Mem) { l.store(v, m) })
	})
	ADDQ(U32(8*t.rows()), baseOf("outputs"))
}

// eachWidth emits a copy for tiles whose last part is full, and one for others.
func (t *tile) eachWidth(part string, last Register, emit func(l lane)) {
	n := t.parts[len(t.parts)-1]
	CMPQ(last, U32(n))
	JNE(LabelRef(t.name(part + "_few")))
	emit(lane{})
	JMP(LabelRef(t.name(part + "_end")))
	Label(t.name(part + "_few"))
	emit(few(last))
	Label(t.name(part + "_end"))
}

// eachRegister visits the registers of the tile and where they lie in a matrix; l is the lane of the last part.
func (t *tile) eachRegister(outputs, matrix, waste Register, l lane, visit func(l lane, v VecVirtual, m Mem)) {
	for i := range t.sums {
		at := GP64()
		MOVQ(Mem{Base: outputs, Disp: 8 * i}, at)
		selectRow(at, matrix, waste)
		t.eachPart(func(part int) {
			mask := lane{}
			if part == len(t.parts)-1 {
				mask = l
			}
			visit(mask, t.sums[i][part], Mem{Base: at, Disp: 4 * t.first(part)})
		})
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
		for i := range t.sums {
			t.eachPart(func(part int) { activation{kind: k}.forward(t.sums[i][part]) })
		}
		JMP(LabelRef(t.name("activated")))
	}
	Label(t.name("activated"))
}

// selectRow turns an offset into an address: that of base[at], or of instead when at is negative.
func selectRow(at GPVirtual, base Register, instead Op) {
	TESTQ(at, at)
	LEAQ(Mem{Base: base, Index: at, Scale: 4}, at)
	CMOVQLT(instead, at)
}

func multiplyRows() {
	begin("multiplyRows",
		"(tiles, taps, depth int, x, zero []float32, offsets []int, panel, shift, old, y, waste []float32, "+
			"outputs []int, cols int, act uint8, ahead []float32)",
		"multiplyRows"+set+" is multiplyRowsGeneric"+fetching("ahead")+pairs())
	fetched("ahead")
	v := productLoop{panel: AllocLocal(8), taps: AllocLocal(8), depth: AllocLocal(8)}
	eachForm(func(t *tile) {
		t.expect()
		shift := pointer("shift")
		t.begin(func(part int) VecVirtual {
			v := vector()
			VMOVUPS(Mem{Base: shift, Disp: 4 * t.first(part)}, v)
			return v
		})
		v.sum(t)
		t.finish(true)
	})
}

// pairs says what is different with AVX-512.
func pairs() string {
	if set == avx512 {
		return " Tiles are pairs of tiles, and cols 17 to 32."
	}
	return ""
}

// productLoop sums tiles of multiplyRows. Registers are short: these are places on the stack, for the panel's next row, and
// for how many taps and values of a tap are left.
type productLoop struct{ panel, taps, depth Mem }

func (v productLoop) sum(t *tile) {
	moveMemory(baseOf("panel"), v.panel)
	taps := integer("taps")
	TESTQ(taps, taps)
	JLE(LabelRef(t.name("summed")))
	MOVQ(taps, v.taps)
	Label(t.name("tap"))
	at := v.rows(t)
	moveMemory(address("depth"), v.depth)
	panel, beside := GP64(), v.beside(t)
	MOVQ(v.panel, panel)
	step := func(n int) {
		t.step(func(i int) Mem { return Mem{Base: at[i], Disp: 4 * n} }, Mem{Base: panel, Disp: 4 * columns * n}, beside)
	}
	SUBQ(U32(unroll), v.depth)
	JLT(LabelRef(t.name("rest")))
	Label(t.name("depth"))
	fetchNext("ahead", t.lines())
	for n := range unroll {
		step(n)
	}
	advance(at, U32(4*unroll))
	ADDQ(U32(4*columns*unroll), panel)
	SUBQ(U32(unroll), v.depth)
	JGE(LabelRef(t.name("depth")))
	Label(t.name("rest"))
	ADDQ(U32(unroll), v.depth)
	JZ(LabelRef(t.name("next")))
	Label(t.name("single"))
	step(0)
	advance(at, U32(4))
	ADDQ(U32(4*columns), panel)
	DECQ(v.depth)
	JNZ(LabelRef(t.name("single")))
	Label(t.name("next"))
	MOVQ(panel, v.panel)
	DECQ(v.taps)
	JNZ(LabelRef(t.name("tap")))
	if t.tiles > 1 {
		Comment("Past the table of the second tile.")
		size := v.tableBytes()
		ADDQ(size, baseOf("offsets"))
	}
	Label(t.name("summed"))
}

func moveMemory(from, to Mem) {
	r := GP64()
	MOVQ(from, r)
	MOVQ(r, to)
}

// rows gives the addresses of a tap's values in each row.
func (v productLoop) rows(t *tile) (at []GPVirtual) {
	x, table := pointer("x"), pointer("offsets")
	size := Register(nil)
	if t.tiles > 1 {
		size = v.tableBytes()
	}
	for i := range t.rows() {
		r, m := GP64(), Mem{Base: table, Disp: 8 * (i % rows)}
		if i >= rows {
			m.Index, m.Scale = size, 1
		}
		MOVQ(m, r)
		selectRow(r, x, baseOf("zero"))
		at = append(at, r)
	}
	ADDQ(U32(8*rows), baseOf("offsets"))
	return at
}

// tableBytes is the size of the offsets of a tile.
func (v productLoop) tableBytes() Register {
	size := integer("taps")
	IMUL3Q(U32(8*rows), size, size)
	return size
}

// beside is how many bytes a panel has, or nil for a tile that reads one.
func (v productLoop) beside(t *tile) Register {
	if t.panels() == 1 {
		return nil
	}
	size, taps := integer("depth"), integer("taps")
	IMULQ(taps, size)
	IMUL3Q(U32(4*columns), size, size)
	return size
}

func multiplyColumns() {
	beside := ""
	if set == avx512 {
		beside = "beside, "
	}
	begin("multiplyColumns",
		"(tiles int, x, zero []float32, offsets, starts []int, panel []float32, ld, "+beside+"cols int, "+
			"old, y, waste []float32, outputs []int, ahead []float32)",
		"multiplyColumns"+set+" is multiplyColumnsGeneric"+fetching("ahead")+pairs())
	fetched("ahead")
	eachForm(func(t *tile) {
		t.begin(func(int) VecVirtual { return zero() })
		t.sumColumns()
		t.finish(false)
	})
}

// sumColumns sums a tile of multiplyColumns.
func (t *tile) sumColumns() {
	x, starts := pointer("x"), pointer("starts")
	var left []Register
	for i := range t.tiles {
		r := GP64()
		MOVQ(Mem{Base: starts, Disp: 8 * i}, r)
		LEAQ(Mem{Base: x, Index: r, Scale: 4}, r)
		left = append(left, r)
	}
	ADDQ(U32(8*t.tiles), baseOf("starts"))
	panel, table, depth, ld := pointer("panel"), pointer("offsets"), length("offsets"), bytes("ld")
	var beside Register
	if t.panels() > 1 {
		beside = bytes("beside")
	}
	step := func(n int) {
		offset := GP64()
		MOVQ(Mem{Base: table, Disp: 8 * n}, offset)
		TESTQ(offset, offset)
		var at []Register
		for _, x := range left {
			r := GP64()
			LEAQ(Mem{Base: x, Index: offset, Scale: 4}, r)
			CMOVQLT(baseOf("zero"), r)
			at = append(at, r)
		}
		t.step(func(i int) Mem { return Mem{Base: at[i/rows], Disp: 4 * (i % rows)} }, Mem{Base: panel}, beside)
		ADDQ(ld, panel)
	}
	SUBQ(U32(unroll), depth)
	JLT(LabelRef(t.name("rest")))
	ahead := pointer("ahead")
	Label(t.name("depth"))
	fetch("ahead", ahead, t.lines())
	for n := range unroll {
		step(n)
	}
	ADDQ(U32(8*unroll), table)
	SUBQ(U32(unroll), depth)
	JGE(LabelRef(t.name("depth")))
	MOVQ(ahead, baseOf("ahead"))
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
