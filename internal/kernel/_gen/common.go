package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// What functions are made of: the instructions, with which their names end, and float32 values of a register.
var (
	set   = avx2
	lanes = 8
)

const (
	avx2   = "AVX2"
	avx512 = "AVX512"
)

// wide emits functions with registers of 512 bits.
func wide(emit func()) {
	set = avx512
	registers(16, emit)
	set = avx2
}

// registers emits with registers of n lanes.
func registers(n int, emit func()) {
	before := lanes
	lanes = n
	emit()
	lanes = before
}

// vector is a new register.
func vector() VecVirtual {
	if lanes == 16 {
		return ZMM()
	}
	return YMM()
}

// begin opens a function.
func begin(name, signature, doc string) {
	TEXT(name+set, NOSPLIT, "func"+signature)
	Doc(doc)
	Pragma("noescape")
}

// end returns. The upper halves of registers are cleared, or SSE code would be slow afterwards.
func end() {
	VZEROUPPER()
	RET()
}

// fetching ends the description of a function that fetches what will be read next: memory is idle while it computes.
func fetching(slices string) string {
	return ", and fetches lines of " + slices + " to the second cache meanwhile."
}

// fetched prepares slices for fetch.
func fetched(slices ...string) {
	for _, name := range slices {
		Comment("From here on the length of " + name + " is its end.")
		last, size := pointer(name), length(name)
		LEAQ(Mem{Base: last, Index: size, Scale: 4}, last)
		MOVQ(last, lengthOf(name))
	}
}

// fetch reads the lines of the cache that come next in a slice into the second cache; ahead is where it has come to.
func fetch(name string, ahead Register, lines int) {
	for i := range lines {
		PREFETCHT1(Mem{Base: ahead, Disp: 64 * i})
	}
	ADDQ(U32(64*lines), ahead)
	CMPQ(ahead, lengthOf(name))
	CMOVQGT(lengthOf(name), ahead)
}

// fetchNext is fetch where no register is left: the slice's first part is where it has come to.
func fetchNext(name string, lines int) {
	ahead := pointer(name)
	fetch(name, ahead, lines)
	MOVQ(ahead, baseOf(name))
}

// labels gives the branch targets of one copy of a loop names of their own.
type labels string

func (l labels) name(part string) string { return string(l) + "_" + part }

// masks is a table from which masks of n lanes are read: eight times all bits, eight times none.
var masks Mem

func makeMasks() {
	masks = GLOBL("masks", RODATA|NOPTR)
	for i := range 2 * lanes {
		v := U32(0)
		if i < lanes {
			v = math.MaxUint32
		}
		DATA(4*i, v)
	}
}

// few is the first n lanes, n from 0 to all.
func few(n Register) lane {
	if set == avx512 {
		bits, mask := GP32(), K()
		MOVL(U32(math.MaxUint32), bits)
		BZHIL(n.(GP).As32(), bits, bits)
		KMOVW(bits, mask)
		return lane{mask}
	}
	mask := YMM()
	loadMask(n, mask)
	return lane{mask}
}

// loadMask reads the mask of the first n lanes, n from 0 to 8.
func loadMask(n Register, mask VecVirtual) {
	at, table := GP64(), GP64()
	MOVQ(U32(lanes), at)
	SUBQ(n, at)
	LEAQ(masks, table)
	VMOVUPS(Mem{Base: table, Index: at, Scale: 4}, mask)
}

// lane is how neighbouring values are read and written: all of a register, or those under a mask of its size.
type lane struct{ mask Register }

func (l lane) load(m Mem, v Register) {
	switch {
	case l.mask == nil:
		VMOVUPS(m, v)
	case l.mask.Kind() == KindOpmask:
		VMOVUPS_Z(m, l.mask, v)
	default:
		VMASKMOVPS(m, l.mask, v)
	}
}

func (l lane) store(v Register, m Mem) {
	switch {
	case l.mask == nil:
		VMOVUPS(v, m)
	case l.mask.Kind() == KindOpmask:
		VMOVUPS(v, l.mask, m)
	default:
		VMASKMOVPS(v, l.mask, m)
	}
}

// fma computes sum += v * m.
func (l lane) fma(m Mem, v, sum VecVirtual) {
	if l.mask == nil {
		VFMADD231PS(m, v, sum)
		return
	}
	t := vector()
	l.load(m, t)
	VFMADD231PS(t, v, sum)
}

// constants are float32 numbers in all lanes, kept in the file's read-only data.
var constants = map[float32]Mem{}

// held are constants that a loop keeps in registers.
var held = map[float32]VecVirtual{}

// hold keeps constants in registers for the code up to release.
func hold(values ...float32) {
	for _, v := range values {
		held[v] = bounds(v)
	}
}

func release() { clear(held) }

// tables are eight times the same number in memory, by its bits.
var tables = map[uint32]Mem{}

func table(bits uint32) Mem {
	m, ok := tables[bits]
	if !ok {
		m = GLOBL(fmt.Sprintf("table%d", len(tables)), RODATA|NOPTR)
		for i := range lanes {
			DATA(4*i, U32(bits))
		}
		tables[bits] = m
	}
	return m
}

func eight(v float32) Mem { return table(math.Float32bits(v)) }

func constant(v float32) VecVirtual {
	if r, ok := held[v]; ok {
		return r
	}
	m, ok := constants[v]
	if !ok {
		m = GLOBL(fmt.Sprintf("constant%d", len(constants)), RODATA|NOPTR)
		DATA(0, F32(v))
		constants[v] = m
	}
	r := vector()
	VBROADCASTSS(m, r)
	return r
}

func zero() VecVirtual {
	r := vector()
	VXORPS(r, r, r)
	return r
}

// pointer loads the address of a slice's first value.
func pointer(parameter string) Register { return Load(Param(parameter).Base(), GP64()) }

func length(parameter string) Register { return Load(Param(parameter).Len(), GP64()) }

func integer(parameter string) Register { return Load(Param(parameter), GP64()) }

// baseOf and lengthOf are where a slice's address and length lie on the stack.
func baseOf(parameter string) Mem   { return resolved(Param(parameter).Base()) }
func lengthOf(parameter string) Mem { return resolved(Param(parameter).Len()) }

func resolved(c gotypes.Component) Mem {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// address is where a parameter lies on the stack, to compare with.
func address(parameter string) Mem { return resolved(Param(parameter)) }
