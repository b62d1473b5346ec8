// Package hostport checks addresses of the form HOST:PORT.
package hostport

import (
	"fmt"
	"net"
	"strconv"
)

// maxLength is that of a DNS name and a port, in bytes.
const maxLength = 253 + len("[]:65535")

// Check says whether an address is one that others can connect to: a host, which is not "any", and a port from 1 on.
func Check(address string) error {
	if len(address) > maxLength {
		return fmt.Errorf("address %.40q... has %d bytes; at most %d make sense", address, len(address), maxLength)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address %q is not HOST:PORT", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("address %q: the port must be 1 to 65535", address)
	}
	if Any(host) {
		return fmt.Errorf("address %q names no machine that others could connect to", address)
	}
	return nil
}

// CheckListen says whether an address is one to listen on: any host, and port 0 for one that is free.
func CheckListen(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("address %q to listen on is not HOST:PORT, with port 0 for one that is free", address)
	}
	return nil
}

// Any says whether a host stands for all addresses of a machine: "", "0.0.0.0" or "::".
func Any(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// Loopback says whether an address's host is an IP address that only this machine reaches.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}
