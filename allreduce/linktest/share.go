package linktest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pupil/allreduce"
)

// state is n bytes that depend on all of their places.
func state(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += sha256.Size {
		sum := sha256.Sum256(fmt.Append(nil, i))
		copy(b[i:], sum[:])
	}
	return b
}

// testShare: a state gets from any ranks to all others, of sizes around every boundary, and sums go on after it.
func testShare(t *testing.T, open Open) {
	for size := 1; size <= 4; size++ {
		c := config(patience)
		c.ChunkBytes = 4096
		g := Start(t, open(t, size), c)
		for step, n := range []int{0, 1, 4064, 4065, 300_000} {
			want := state(n)
			for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
				mine := want
				if rank != step%size && (rank+step)%3 != 0 {
					mine = nil
				}
				got, err := r.Share(t.Context(), uint64(step), 3, mine, len(want))
				if err != nil {
					return err
				}
				if !bytes.Equal(got, want) || got == nil {
					return fmt.Errorf("a state of %d bytes came as %d others", len(want), len(got))
				}
				return r.Commit(t.Context(), uint64(step))
			}) {
				if err != nil {
					t.Errorf("%d bytes, rank %d of %d: %v", n, rank, size, err)
				}
			}
		}
		for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
			return Step(t.Context(), r, rank, size, 9, []int{1000, 5})
		}) {
			if err != nil {
				t.Errorf("rank %d of %d: %v", rank, size, err)
			}
		}
		g.Stop()
	}
}

// testShareAborted: an abort ends a Share that waits, and the Commit of a rank that had the state.
func testShareAborted(t *testing.T, open Open) {
	cause := errors.New("enough")
	g := Start(t, open(t, 3), config(patience))
	ctx, cancel := context.WithCancelCause(t.Context())
	for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
		switch rank {
		case 0:
			_, err := r.Share(t.Context(), 0, 0, state(1000), 0)
			if err != nil {
				return err
			}
			err = r.Commit(t.Context(), 0)
			return err
		case 1:
			defer cancel(cause)
			_, err := r.Share(t.Context(), 0, 0, nil, 1000)
			return err
		}
		_, err := r.Share(ctx, 0, 1, nil, 1000) // which nobody has
		return err
	}) {
		if rank == 2 && !errors.Is(err, cause) || rank == 0 && !errors.Is(err, allreduce.ErrAborted) ||
			rank == 1 && err != nil && !strings.Contains(err.Error(), cause.Error()) {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}

// testRecycled: memory that a link took back does not change what was received, or comes.
func testRecycled(t *testing.T, open Open) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	links := open(t, 2)
	recycle := func([]byte) {}
	if l, ok := links[1].(allreduce.Recycler); ok {
		recycle = l.Recycle
	}
	var kept []byte
	for i := range 50 {
		message := bytes.Repeat([]byte{byte(i)}, 1+i*37%500)
		if err := links[0].Send(1, message); err != nil {
			t.Fatal(err)
		}
		got, err := links[1].Receive(ctx)
		if err != nil || !bytes.Equal(got, message) {
			t.Fatalf("message %d came as %d bytes, error %v", i, len(got), err)
		}
		if i == 10 {
			kept = got
			continue
		}
		recycle(got)
	}
	if !bytes.Equal(kept, bytes.Repeat([]byte{10}, len(kept))) {
		t.Error("a message that was not given back has changed")
	}
}
