//go:build linux || darwin

package agent

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// boundBacklog sets the option of tcp(7) for it.
func boundBacklog(_, _ string, c syscall.RawConn) error {
	var err error
	e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, backlog) })
	return errors.Join(e, err)
}
