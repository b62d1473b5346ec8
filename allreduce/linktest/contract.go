package linktest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"pupil/allreduce"
)

// testMessages: a message arrives as it was sent, whatever its size, and is the receiver's own.
func testMessages(t *testing.T, open Open) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	links := open(t, 3)
	for _, size := range []int{1, allreduce.HeaderSize, 300_000, min(links[0].Limits().Message, 2<<20)} {
		message := bytes.Repeat([]byte{7, 1, 9}, size/3+1)[:size]
		sent := bytes.Clone(message)
		for to := range links {
			if err := links[2].Send(to, message); err != nil {
				t.Fatalf("send %d bytes to rank %d: %v", size, to, err)
			}
		}
		clear(message) // the sender's again
		var first []byte
		for to, l := range links {
			got, err := l.Receive(ctx)
			if err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("rank %d received %d bytes that differ from the %d sent, error %v", to, len(got), size, err)
			}
			if to == 0 {
				first = got
			} else {
				clear(got) // the receiver's own
			}
		}
		if !bytes.Equal(first, sent) {
			t.Fatalf("receivers share the memory of a message of %d bytes", size)
		}
	}
}

// testRefused: what cannot be sent is an error of that message alone.
func testRefused(t *testing.T, open Open) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	links := open(t, 2)
	limits := links[0].Limits()
	if limits.Message <= 0 || limits.Pending < limits.Message {
		t.Errorf("limits are %+v", limits)
	}
	for _, to := range []int{-1, 2} {
		if err := links[0].Send(to, []byte("x")); err == nil || errors.Is(err, allreduce.ErrLinkClosed) {
			t.Errorf("send to rank %d of 2: error %v", to, err)
		}
	}
	if err := links[0].Send(1, make([]byte, limits.Message+1)); err == nil || errors.Is(err, allreduce.ErrLinkClosed) {
		t.Errorf("send of %d bytes: error %v", limits.Message+1, err)
	}
	if err := links[0].Send(1, []byte("x")); err != nil {
		t.Error(err)
	}
	if got, err := links[1].Receive(ctx); err != nil || string(got) != "x" {
		t.Errorf("received %q, error %v", got, err)
	}
}

// testClosed: Close and the context end a Receive that waits.
func testClosed(t *testing.T, open Open) {
	links := open(t, 2)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	done := make(chan error)
	receive := func(ctx context.Context) {
		_, err := links[0].Receive(ctx)
		done <- err
	}
	go receive(ctx)
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
		t.Errorf("Receive returned %v after its context had ended", err)
	}
	closer, ok := links[0].(io.Closer)
	if !ok {
		return
	}
	go receive(t.Context())
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, allreduce.ErrLinkClosed) {
		t.Errorf("Receive returned %v after Close", err)
	}
	if err := links[0].Send(1, []byte("x")); !errors.Is(err, allreduce.ErrLinkClosed) {
		t.Errorf("Send returned %v after Close", err)
	}
	if err := closer.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}
