package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// four emits a loop over four values at a time of dst and src, then one under a mask.
func four(body func(v lane, dst, src Mem)) {
	dst, src, left := pointer("dst"), pointer("src"), length("src")
	SUBQ(U32(4), left)
	JLT(LabelRef("tail"))
	Label("loop")
	body(lane{}, Mem{Base: dst}, Mem{Base: src})
	ADDQ(U32(16), dst)
	ADDQ(U32(16), src)
	SUBQ(U32(4), left)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(U32(4), left)
	JZ(LabelRef("end"))
	mask := YMM()
	loadMask(left, mask)
	body(lane{mask.AsX()}, Mem{Base: dst}, Mem{Base: src})
	Label("end")
}

func toFixed32() {
	begin("toFixed32", "(dst []int32, src []float32, scale float64, limit int32) (saturated int)",
		"toFixed32AVX2 is toFixed32Generic.")
	scale, count := YMM(), YMM()
	VBROADCASTSD(address("scale"), scale)
	limits := loadLimits(count)
	four(func(v lane, dst, src Mem) {
		x, r, over := XMM(), YMM(), YMM()
		v.load(src, x)
		VCVTPS2PD(x, r)
		VMULPD(scale, r, r)
		VROUNDPD(U8(0), r, r)
		limits.clamp(r, over, count)
		VCVTPD2DQY(r, x)
		v.store(x, dst)
	})
	storeCount(count)
	end()
}

// limits are the bounds of an integer, in float64, and the bits of a magnitude.
type limits struct{ upper, lower, absolute VecVirtual }

// loadLimits makes limits of the parameter limit, and count zero.
func loadLimits(count VecVirtual) limits {
	l := limits{YMM(), YMM(), YMM()}
	Comment("The bounds, and the bits of a magnitude.")
	limit := GP32()
	Load(Param("limit"), limit)
	VXORPS(count, count, count)
	VCVTSI2SDL(limit, count.AsX(), l.upper.AsX())
	VBROADCASTSD(l.upper.AsX(), l.upper)
	VSUBPD(l.upper, count, l.lower)
	VPCMPEQD(l.absolute, l.absolute, l.absolute)
	VPSRLQ(U8(1), l.absolute, l.absolute)
	return l
}

// clamp brings r within the limits, and adds to count where it was not.
func (l limits) clamp(r, over, count VecVirtual) {
	Comment("Over is -1 where the magnitude is not at most the limit. NaN becomes the limit.")
	VANDPD(l.absolute, r, over)
	VCMPPD(U8(6), l.upper, over, over)
	VPSUBQ(over, count, count)
	VMINPD(l.upper, r, r)
	VMAXPD(l.lower, r, r)
}

// storeCount returns the sum of the four counts.
func storeCount(count VecVirtual) {
	Comment("The sum of the lanes.")
	high := XMM()
	VEXTRACTI128(U8(1), count, high)
	VPADDQ(high, count.AsX(), high)
	total := XMM()
	VPSHUFD(U8(0xee), high, total)
	VPADDQ(high, total, total)
	n := GP64()
	VMOVQ(total, n)
	Store(n, ReturnIndex(0))
}

func addFixed32() {
	begin("addFixed32", "(dst, src []int32)", "addFixed32AVX2 is addFixed32Generic.")
	flat("values", []string{"src", "dst"}, "src", func(v lane, at []Mem) {
		x, y := YMM(), YMM()
		v.load(at[0], x)
		v.load(at[1], y)
		VPADDD(x, y, y)
		v.store(y, at[1])
	})
	end()
}

func fromFixed32() {
	begin("fromFixed32", "(dst []float32, src []int32, scale float64)", "fromFixed32AVX2 is fromFixed32Generic.")
	scale := YMM()
	VBROADCASTSD(address("scale"), scale)
	four(func(v lane, dst, src Mem) {
		x, r := XMM(), YMM()
		v.load(src, x)
		VCVTDQ2PD(x, r)
		VMULPD(scale, r, r)
		VCVTPD2PSY(r, x)
		v.store(x, dst)
	})
	end()
}

// whole emits a loop over n values at a time, of as many as src has, a multiple of n; sizes are those of a value at each
// pointer, in bytes.
func whole(n int, names []string, sizes []int, body func(at []Mem)) {
	wholeOf("src", n, names, sizes, body)
}

// wholeOf is whole for as many values as the slice of a name has.
func wholeOf(counted string, n int, names []string, sizes []int, body func(at []Mem)) {
	pointers := make([]Register, len(names))
	at := make([]Mem, len(names))
	for i, name := range names {
		pointers[i] = pointer(name)
		at[i] = Mem{Base: pointers[i]}
	}
	left := length(counted)
	SUBQ(U32(uint32(n)), left)
	JLT(LabelRef("end"))
	Label("loop")
	body(at)
	for i, p := range pointers {
		ADDQ(U32(uint32(n*sizes[i])), p)
	}
	SUBQ(U32(uint32(n)), left)
	JGE(LabelRef("loop"))
	Label("end")
}

func toFixed16() {
	begin("toFixed16", "(dst []int16, after, src, before []float32, scale, unit float64, limit int32) (saturated int)",
		"toFixed16AVX2 is toFixed16Generic for a multiple of four values.")
	scale, unit, count := YMM(), YMM(), YMM()
	VBROADCASTSD(address("scale"), scale)
	VBROADCASTSD(address("unit"), unit)
	limits := loadLimits(count)
	whole(4, []string{"dst", "after", "src", "before"}, []int{2, 4, 4, 4}, func(at []Mem) {
		x, v, r, over := XMM(), YMM(), YMM(), YMM()
		VMOVUPS(at[2], x)
		VADDPS(at[3], x, x)
		VCVTPS2PD(x, v)
		VMULPD(scale, v, r)
		VROUNDPD(U8(0), r, r)
		limits.clamp(r, over, count)
		VCVTPD2DQY(r, x)
		VPACKSSDW(x, x, x)
		VMOVQ(x, at[0])
		Comment("What is left.")
		VMULPD(unit, r, r)
		VSUBPD(r, v, v)
		VCVTPD2PSY(v, x)
		VMOVUPS(x, at[1])
	})
	storeCount(count)
	end()
}

func addFixed16() {
	begin("addFixed16", "(dst, src []int16) (overflow uint64)",
		"addFixed16AVX2 is addFixed16Generic for a multiple of 16 values; overflow is 0 or not.")
	over := YMM()
	VPXOR(over, over, over)
	whole(16, []string{"dst", "src"}, []int{2, 2}, func(at []Mem) {
		x, sum := YMM(), YMM()
		VMOVDQU(at[1], x)
		VPADDW(at[0], x, sum)
		Comment("A sum that saturates is another one.")
		VPADDSW(at[0], x, x)
		VMOVDQU(sum, at[0])
		VPXOR(sum, x, x)
		VPOR(x, over, over)
	})
	returnBits(over)
	end()
}

func fromFixed16() {
	begin("fromFixed16", "(dst []float32, src []int16, scale float64)",
		"fromFixed16AVX2 is fromFixed16Generic for a multiple of four values.")
	scale := YMM()
	VBROADCASTSD(address("scale"), scale)
	whole(4, []string{"dst", "src"}, []int{4, 2}, func(at []Mem) {
		x, r := XMM(), YMM()
		VPMOVSXWD(at[1], x)
		VCVTDQ2PD(x, r)
		VMULPD(scale, r, r)
		VCVTPD2PSY(r, x)
		VMOVUPS(x, at[0])
	})
	end()
}

// Tables of 24-bit integers, eight in a register of 256 bits; 0x80 makes a byte zero.
var (
	packBytes, unpackBytes Mem // for VPSHUFB, in each half: three bytes of each integer, and the top three from them
	packWords              Mem // for VPERMD: what the halves have packed, beside each other
)

func makeTables24() {
	const none = 0x80
	packBytes = byteTable("packBytes", []uint8{
		0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, none, none, none, none,
		0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, none, none, none, none,
	})
	// The upper half has the 16 bytes from the eighth on.
	unpackBytes = byteTable("unpackBytes", []uint8{
		none, 0, 1, 2, none, 3, 4, 5, none, 6, 7, 8, none, 9, 10, 11,
		none, 4, 5, 6, none, 7, 8, 9, none, 10, 11, 12, none, 13, 14, 15,
	})
	packWords = GLOBL("packWords", RODATA|NOPTR)
	for i, word := range []int{0, 1, 2, 4, 5, 6, 3, 7} {
		DATA(4*i, U32(uint32(word)))
	}
}

func byteTable(name string, bytes []uint8) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i, b := range bytes {
		DATA(i, U8(b))
	}
	return m
}

// packer packs registers of eight integers, and looks whether they have 24 bits.
type packer struct {
	bytes, words, half, beyond VecVirtual
}

func newPacker() packer {
	p := packer{YMM(), YMM(), YMM(), YMM()}
	VMOVDQU(packBytes, p.bytes)
	VMOVDQU(packWords, p.words)
	Comment("Integers of 24 bits plus 2^23 have no higher bits.")
	one := GP32()
	MOVL(U32(1<<23), one)
	VMOVD(one, p.half.AsX())
	VPBROADCASTD(p.half.AsX(), p.half)
	VPXOR(p.beyond, p.beyond, p.beyond)
	return p
}

// store writes the 24 bytes of eight integers.
func (p packer) store(x VecVirtual, at Mem) {
	seen := YMM()
	VPADDD(p.half, x, seen)
	VPOR(seen, p.beyond, p.beyond)
	VPSHUFB(p.bytes, x, x)
	VPERMD(x, p.words, x)
	VMOVDQU(x.AsX(), at)
	VEXTRACTI128(U8(1), x, x.AsX())
	VMOVQ(x.AsX(), at.Offset(16))
}

// end returns what is not zero if a stored integer has more than 24 bits.
func (p packer) end() {
	VPSRLD(U8(24), p.beyond, p.beyond)
	returnBits(p.beyond)
	end()
}

// returnBits returns a register's bits, or'ed to one word.
func returnBits(x VecVirtual) {
	Comment("All of it in one word.")
	high := XMM()
	VEXTRACTI128(U8(1), x, high)
	VPOR(high, x.AsX(), high)
	other := XMM()
	VPSHUFD(U8(0xee), high, other)
	VPOR(high, other, other)
	n := GP64()
	VMOVQ(other, n)
	Store(n, ReturnIndex(0))
}

// load24 reads eight integers of 24 bits, and no byte beyond them.
func load24(at Mem, table Register, x VecVirtual) {
	VMOVDQU(at, x.AsX())
	VINSERTI128(U8(1), at.Offset(8), x, x)
	VPSHUFB(table, x, x)
	VPSRAD(U8(8), x, x)
}

func loadUnpackBytes() Register {
	t := YMM()
	VMOVDQU(unpackBytes, t)
	return t
}

func packFixed24() {
	begin("packFixed24", "(dst []byte, src []int32) (beyond uint64)", "packFixed24AVX2 is packFixed24Generic for a multiple of eight values.")
	p := newPacker()
	whole(8, []string{"dst", "src"}, []int{3, 4}, func(at []Mem) {
		x := YMM()
		VMOVDQU(at[1], x)
		p.store(x, at[0])
	})
	p.end()
}

func addFixed24() {
	begin("addFixed24", "(dst []byte, src []int32) (beyond uint64)", "addFixed24AVX2 is addFixed24Generic for a multiple of eight values.")
	p, t := newPacker(), loadUnpackBytes()
	whole(8, []string{"dst", "src"}, []int{3, 4}, func(at []Mem) {
		x := YMM()
		load24(at[0], t, x)
		VPADDD(at[1], x, x)
		p.store(x, at[0])
	})
	p.end()
}

func unpackFixed24() {
	begin("unpackFixed24", "(dst []int32, src []byte)", "unpackFixed24AVX2 is unpackFixed24Generic for a multiple of eight values.")
	t := loadUnpackBytes()
	wholeOf("dst", 8, []string{"dst", "src"}, []int{4, 3}, func(at []Mem) {
		x := YMM()
		load24(at[1], t, x)
		VMOVDQU(x, at[0])
	})
	end()
}
