//go:build !linux

package chaos

import "syscall"

// attributes are those of a process: it has a group of its own, so that Ctrl-C is this program's to answer.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
