package peer

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
)

// Kind names a service of a port.
type Kind byte

// The services.
const (
	Raft Kind = 'r' // the coordinators' log
	Web  Kind = 'w' // requests that a coordinator passes on to the leader
)

var kinds = []Kind{Raft, Web}

// ErrToken says that two coordinators do not have the same token.
var ErrToken = errors.New("it does not know this cluster's token; all coordinators need the same one")

const (
	magic    = "PUP1"
	nonceLen = 16
	macLen   = sha256.Size
)

func mac(token, role string, kind Kind, a, b []byte) []byte {
	h := hmac.New(sha256.New, []byte(token))
	h.Write([]byte(role))
	h.Write([]byte{byte(kind)})
	h.Write(a)
	h.Write(b)
	return h.Sum(nil)
}

// greet is the handshake of the side that dials.
func greet(c net.Conn, token string, kind Kind) error {
	a := make([]byte, nonceLen)
	_, _ = rand.Read(a) // it never fails
	if _, err := c.Write(append(append([]byte(magic), byte(kind)), a...)); err != nil {
		return err
	}
	answer := make([]byte, nonceLen+macLen)
	if _, err := io.ReadFull(c, answer); err != nil {
		return fmt.Errorf("it does not answer as a coordinator: %w", err)
	}
	b := answer[:nonceLen]
	if !hmac.Equal(answer[nonceLen:], mac(token, "listen", kind, a, b)) {
		return ErrToken
	}
	_, err := c.Write(mac(token, "dial", kind, a, b))
	return err
}

// admit is the handshake of the side that listens.
func admit(c net.Conn, token string) (Kind, error) {
	hello := make([]byte, len(magic)+1+nonceLen)
	if _, err := io.ReadFull(c, hello); err != nil {
		return 0, fmt.Errorf("read the handshake: %w", err)
	}
	kind := Kind(hello[len(magic)])
	if string(hello[:len(magic)]) != magic || kind != Raft && kind != Web {
		return 0, errors.New("it does not speak as a coordinator")
	}
	a, b := hello[len(magic)+1:], make([]byte, nonceLen)
	_, _ = rand.Read(b)
	if _, err := c.Write(append(b[:nonceLen:nonceLen], mac(token, "listen", kind, a, b)...)); err != nil {
		return 0, err
	}
	proof := make([]byte, macLen)
	if _, err := io.ReadFull(c, proof); err != nil {
		return 0, fmt.Errorf("%w (%w)", ErrToken, err)
	}
	if !hmac.Equal(proof, mac(token, "dial", kind, a, b)) {
		return 0, ErrToken
	}
	return kind, nil
}
