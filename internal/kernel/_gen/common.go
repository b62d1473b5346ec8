package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const lanes = 8 // float32 values of a register

// begin opens a function.
func begin(name, signature, doc string) {
	TEXT(name+"AVX2", NOSPLIT, "func"+signature)
	Doc(doc)
	Pragma("noescape")
}

// end returns. The upper halves of registers are cleared, or SSE code would be slow afterwards.
func end() {
	VZEROUPPER()
	RET()
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
	if l.mask == nil {
		VMOVUPS(m, v)
	} else {
		VMASKMOVPS(m, l.mask, v)
	}
}

func (l lane) store(v Register, m Mem) {
	if l.mask == nil {
		VMOVUPS(v, m)
	} else {
		VMASKMOVPS(v, l.mask, m)
	}
}

// fma computes sum += v * m.
func (l lane) fma(m Mem, v, sum VecVirtual) {
	if l.mask == nil {
		VFMADD231PS(m, v, sum)
		return
	}
	t := YMM()
	VMASKMOVPS(m, l.mask, t)
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
	r := YMM()
	VBROADCASTSS(m, r)
	return r
}

func zero() VecVirtual {
	r := YMM()
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
