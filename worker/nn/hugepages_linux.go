package nn

import (
	"syscall"
	"unsafe"
)

// hugePage is the size of a huge page on every Linux that has them and that we build for.
const hugePage = 2 << 20

// adviseHugePages asks for huge pages behind new memory: activations take hundreds of megabytes that each step walks
// through several times, and with pages of 4 KB the processor is often busy looking these up, the more so in a virtual
// machine. Where the kernel does not do it nothing is lost, so its answer does not matter.
func adviseHugePages(v []float32) {
	if 4*len(v) < 2*hugePage {
		return
	}
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(v))) % hugePage
	bytes = bytes[skip:]
	_ = syscall.Madvise(bytes[:len(bytes)/hugePage*hugePage], syscall.MADV_HUGEPAGE)
}
