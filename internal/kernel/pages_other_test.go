//go:build !unix

package kernel_test

// pages returns n bytes. Without a system call to forbid access, only canaries watch them.
func pages(n int) (b []byte, release func()) { return make([]byte, n+128), func() {} }
