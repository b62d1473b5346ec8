//go:build unix

package kernel_test

import (
	"os"
	"syscall"
)

// pages returns n bytes or more between two pages that cannot be accessed, and what gives them back.
func pages(n int) (b []byte, release func()) {
	page := os.Getpagesize()
	size := (n + page - 1) / page * page
	all, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	for _, guard := range [][]byte{all[:page], all[page+size:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			panic(err)
		}
	}
	return all[page : page+size], func() {
		if err := syscall.Munmap(all); err != nil {
			panic(err)
		}
	}
}
