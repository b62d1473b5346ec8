package freeport_test

import (
	"net"
	"strconv"
	"testing"

	"pupil/internal/freeport"
)

func TestAddress(t *testing.T) {
	address := freeport.Loopback(t)
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	if port, err := strconv.Atoi(text); err != nil || port < 10_000 || port >= 32_768 {
		t.Errorf("port %s is one that systems give to connections", text)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := freeport.Address("192.0.2.1"); err == nil {
		t.Error("a port of another host is free")
	}
}
