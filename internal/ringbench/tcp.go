package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"unsafe"

	"pupil/internal/kernel"
)

// tcpRing is the least that a ring over TCP can be: parts go around twice, first summed, then as they are, in pieces,
// so that a rank sends on what it has while more comes. Nothing is checked, and nothing could be lost.
type tcpRing struct {
	listener   net.Listener
	rank, size int
	next       net.Conn
	previous   *bufio.Reader
	close      func() error
}

// piece is how many elements are sent on at once, 256 KB.
const piece = 64 << 10

func listenTCP(host string) (*tcpRing, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	return &tcpRing{listener: l, close: l.Close}, nil
}

func (t *tcpRing) address() string { return t.listener.Addr().String() }

// open connects to the next rank, and waits for the previous one.
func (t *tcpRing) open(ctx context.Context, o order) error {
	t.rank, t.size = o.Rank, o.Size
	var d net.Dialer
	next, err := d.DialContext(ctx, "tcp", o.Peers[(o.Rank+1)%o.Size])
	if err != nil {
		return err
	}
	previous, err := t.listener.Accept()
	if err != nil {
		return errors.Join(err, next.Close())
	}
	t.next, t.previous = next, bufio.NewReaderSize(previous, 64<<10)
	t.close = func() error { return errors.Join(next.Close(), previous.Close(), t.listener.Close()) }
	return nil
}

func (t *tcpRing) Close() error { return t.close() }

// pieces cut a part of n elements, that of a number, into what is sent at once.
func (t *tcpRing) pieces(v []int32, part int) (pieces [][]int32) {
	part = (part%t.size + t.size) % t.size
	n := (len(v) + t.size - 1) / t.size
	first, end := min(part*n, len(v)), min((part+1)*n, len(v))
	for ; first < end; first += piece {
		pieces = append(pieces, v[first:min(first+piece, end)])
	}
	return pieces
}

func (t *tcpRing) sum(_ context.Context, vector any) error {
	v, ok := vector.([]int32)
	if !ok {
		return fmt.Errorf("a vector of %T", vector)
	}
	queue := make(chan []int32, len(v)/piece+2*t.size*t.size) // room for all, so that receiving never waits for it
	sent := make(chan error, 1)
	go func() {
		var err error
		for p := range queue {
			if err == nil {
				_, err = t.next.Write(bytesOf(p))
			}
		}
		sent <- err
	}()
	err := t.receive(v, queue)
	close(queue)
	return errors.Join(err, <-sent)
}

// receive takes 2(N-1) parts: those of the first round are added to, those of the second are totals.
func (t *tcpRing) receive(v []int32, queue chan<- []int32) error {
	for _, p := range t.pieces(v, t.rank) {
		queue <- p
	}
	came := make([]int32, piece)
	last := 2*t.size - 3
	for round := 0; round <= last; round++ {
		for _, p := range t.pieces(v, t.rank-round-1) {
			into := p
			if round < t.size-1 {
				into = came[:len(p)]
			}
			if _, err := io.ReadFull(t.previous, bytesOf(into)); err != nil {
				return err
			}
			if round < t.size-1 {
				kernel.AddFixed32(p, into)
			}
			if round < last {
				queue <- p
			}
		}
	}
	return nil
}

// bytesOf is the memory of v. All ranks are on one machine.
func bytesOf(v []int32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}
