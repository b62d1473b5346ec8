package allreduce_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pupil/allreduce"
	"pupil/allreduce/linktest"
)

// slowLink takes d for each message that it sends, and more for a long one.
type slowLink struct {
	allreduce.Link
	d     time.Duration
	perKB time.Duration
}

func (l slowLink) Send(to int, message []byte) error {
	<-time.After(l.d + l.perKB*time.Duration(len(message))/1024)
	return l.Link.Send(to, message)
}

// A rank that begins late is behind by just that, and the others wait for it; nobody else is behind.
func TestTimesOfALateRank(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const late = 70 * time.Millisecond
		_, all := links(3)
		g := linktest.Start(t, all, allreduce.Config{Generation: 1})
		for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
			for step := range uint64(2) {
				if rank == 1 {
					time.Sleep(late)
				}
				if err := linktest.Step(t.Context(), r, rank, 3, step, []int{50_000}); err != nil {
					return err
				}
			}
			time.Sleep(time.Second) // between steps nothing is counted
			return nil
		}) {
			if err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
		for rank, r := range g.Rings {
			step, total := r.Times()
			want := allreduce.Times{Steps: 1, Wait: late}
			if rank == 1 {
				want = allreduce.Times{Steps: 1, Behind: late}
			}
			if step != want || total != want.Plus(want) {
				t.Errorf("rank %d: %+v, in total %+v; want %+v and twice that", rank, step, total, want)
			}
		}
		g.Stop()
	})
}

// A rank whose way to the network is slow is found by the time of its Send.
func TestTimesOfASlowLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 3 * time.Millisecond
		_, all := links(3)
		all[1] = slowLink{Link: all[1], d: slow}
		g := linktest.Start(t, all, allreduce.Config{Generation: 1})
		for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
			return linktest.Step(t.Context(), r, rank, 3, 0, []int{50_000})
		}) {
			if err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
		synctest.Wait()
		for rank, r := range g.Rings {
			_, total := r.Times()
			if rank != 1 && total.Send != 0 {
				t.Errorf("rank %d: %+v", rank, total)
			}
			if sent := time.Duration(r.Stats().Sent) * slow; rank == 1 && (total.Send != sent || sent == 0) {
				t.Errorf("rank 1: %+v; want %s of Send", total, sent)
			}
			if total.Wait == 0 || total.Behind != 0 || total.Steps != 1 {
				t.Errorf("rank %d: %+v", rank, total)
			}
		}
		g.Stop()
	})
}

// While a step is open, what was waited until now counts in the total.
func TestTimesOfAnOpenStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := links(2)
		g := linktest.Start(t, all, allreduce.Config{Generation: 1})
		go func() { _ = g.Rings[0].ReduceInt32(t.Context(), 0, 0, make([]int32, 10)) }() // it ends with the ring
		time.Sleep(time.Second)
		if step, total := g.Rings[0].Times(); step != (allreduce.Times{}) || total.Wait != time.Second {
			t.Errorf("%+v, %+v", step, total)
		}
		if _, total := g.Rings[1].Times(); total.Behind != time.Second || total.Wait != 0 {
			t.Errorf("the rank that has not begun: %+v", total)
		}
		g.Stop()
	})
}
