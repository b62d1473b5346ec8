package allreduce_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pupil/allreduce"
	"pupil/allreduce/linktest"
	"pupil/internal/random"
)

// A state that takes many deadlines to come is waited for by all, those that take no part in its way too.
func TestShareSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := links(4)
		all[0] = slowLink{Link: all[0], perKB: 50 * time.Millisecond}
		g := linktest.Start(t, all, allreduce.Config{Generation: 1, Deadline: time.Second, ChunkBytes: 1024, Window: 4})
		state := bytes.Repeat([]byte("state"), 30_000)
		begin := time.Now()
		for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
			mine := state
			if rank == 1 {
				mine = nil
			}
			got, err := r.Share(t.Context(), 0, 0, mine, len(state))
			if err != nil {
				return err
			}
			if !bytes.Equal(got, state) {
				return errors.New("another state came")
			}
			return r.Commit(t.Context(), 0)
		}) {
			if err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
		if d := time.Since(begin); d < 5*time.Second {
			t.Errorf("it took %s; the test needs several deadlines", d)
		}
		g.Stop()
	})
}

// Over a network that loses a twentieth and damages more, a state comes whole. A joiner that dies on the way ends the
// others within the deadline.
func TestShareFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, all := links(3)
		for rank, l := range mem {
			l.SetFault(fault(random.New(random.PurposeTest, 9, uint64(rank)), 0.05, 0.05, 0.1, 0.02, 0.02, 0.02))
		}
		g := linktest.Start(t, all, allreduce.Config{Generation: 1, ChunkBytes: 1024})
		state := bytes.Repeat([]byte("state"), 50_000)
		for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
			mine := state
			if rank != 0 {
				mine = nil
			}
			got, err := r.Share(t.Context(), 5, 0, mine, len(state))
			if err != nil || !bytes.Equal(got, state) {
				return fmt.Errorf("%d bytes: %w", len(got), err)
			}
			if err := r.Commit(t.Context(), 5); err != nil {
				return err
			}
			if rank == 2 { // it joins the next step no more
				return nil
			}
			_, err = r.Share(t.Context(), 6, 0, nil, len(state))
			if !errors.Is(err, allreduce.ErrDeadline) && !errors.Is(err, allreduce.ErrAborted) {
				return fmt.Errorf("a state that nobody has: %w", err)
			}
			return nil
		}) {
			if err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
		g.Stop()
	})
}

// What cannot be is an error on all ranks.
func TestShareRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		states [3]string // "-": the rank lacks it
		most   int
		want   string
	}{
		{"other states", [3]string{"one", "other", "-"}, 100, "hash"},
		{"states of one length", [3]string{"one", "-", "two"}, 100, "differ: digest"},
		{"too long", [3]string{"-", "many bytes", "-"}, 9, "of 10 bytes; this rank accepts 9"},
		{"nobody has it", [3]string{"-", "-", "-"}, 9, "nothing of state 4 came from rank"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, all := links(3)
				g := linktest.Start(t, all, allreduce.Config{Generation: 1})
				var text []string
				for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
					var mine []byte
					if s := test.states[rank]; s != "-" {
						mine = []byte(s)
					}
					if _, err := r.Share(t.Context(), 0, 4, mine, test.most); err != nil {
						return err
					}
					return r.Commit(t.Context(), 0)
				}) {
					if err == nil {
						t.Errorf("rank %d: no error", rank)
					}
					text = append(text, fmt.Sprint(err))
				}
				if all := strings.Join(text, "\n"); !strings.Contains(all, test.want) && !strings.Contains(all, "differ: digest") {
					t.Errorf("errors\n%s\nlack %q", all, test.want)
				}
				g.Stop()
			})
		})
	}
	solo, err := allreduce.New(nil, allreduce.Config{Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := solo.Share(t.Context(), 0, 0, []byte("x"), 0); err != nil || string(got) != "x" {
		t.Errorf("alone: %q, %v", got, err)
	}
	if _, err := solo.Share(t.Context(), 0, 1, nil, 10); err == nil || !strings.Contains(err.Error(), "ring of one") {
		t.Errorf("alone without a state: %v", err)
	}
	if _, err := solo.Share(t.Context(), 0, 2, nil, -1); err == nil || !strings.Contains(err.Error(), "a state has 0 to") {
		t.Errorf("a negative bound: %v", err)
	}
}
