// Package freeport finds addresses for servers whose ports must be known before they start, or stay theirs while they are away.
package freeport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
)

// Systems give ports from 32768 on (Linux) or higher to whoever asks for any, and to each connection that goes out. A port
// below is not taken by these between the look and the server's start, or while the server is away.
const lowest, highest = 10_000, 32_767

// tried counts the ports that this process has looked at. Each process begins somewhere else.
var tried atomic.Int64

// Address is one of a host, as host:port, on which nobody listened a moment ago. It is another one at each call.
func Address(host string) (string, error) {
	begin := int64(os.Getpid()) * 4099
	for {
		port := lowest + (begin+tried.Add(1))%(highest-lowest+1)
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.FormatInt(port, 10)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("find a free port: %w", err)
		}
		return l.Addr().String(), l.Close()
	}
}

// Test is what testing.TB has.
type Test interface {
	Helper()
	Fatal(args ...any)
}

// Loopback is an Address of 127.0.0.1 for a test.
func Loopback(t Test) string {
	t.Helper()
	address, err := Address("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return address
}
