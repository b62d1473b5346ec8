package control_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/wire"
	"pupil/worker/agent"
)

// forEver lets no lease run out by itself, nor for a connection that has closed.
func forEver(c *control.Config) {
	c.Timeout = time.Hour
	c.SetComeback(time.Hour)
}

// misses sends a heartbeat in which others of a generation are gone.
func (w *raw) misses(generation uint64, others ...string) {
	w.s.t.Helper()
	m := wire.Heartbeat{Worker: w.id, Session: w.session, Generation: generation, Activity: wire.Training, Gone: others}
	if answer := w.ask(wire.WorkerSubject(w.id, w.session), m); answer != (wire.Ack{}) {
		w.s.t.Fatalf("the heartbeat is answered by %+v", answer)
	}
}

// TestTwoWitnesses: a worker is given up at once when its connection has closed and another one of its generation finds it gone,
// whichever comes first; and for one of both it is not.
func TestTwoWitnesses(t *testing.T) {
	t.Parallel()
	for name, brokerFirst := range map[string]bool{"the broker first": true, "the worker first": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, t.TempDir(), forEver)
			s.submit("a", 2)
			w0, w1 := s.join("w0", "s0"), s.join("w1", "s1")
			w0.hears(0, wire.Idle, isPlan)
			w1.hears(0, wire.Idle, isPlan)
			stranger := s.join("w2", "s2")
			if brokerFirst {
				w1.nc.Close()
			}
			stranger.misses(1, "w1", "w0") // of no generation
			w0.misses(2, "w1")             // of another one
			w0.misses(1, "w0", "w2", "w9") // itself, who carries nothing, nobody
			if !brokerFirst {
				w0.misses(1, "w1")
				w1.misses(1, "w0")        // the witnesses are against both
				w1.beat(1, wire.Training) // who says something lives
				w0.beat(1, wire.Training) //
				if st := s.now(); st.Generation != 1 || len(st.Workers) != 3 || st.Phase != cluster.Running {
					t.Fatalf("one witness was enough: %+v", st)
				}
				w1.nc.Close()
			}
			w0.misses(1, "w1")
			st := s.until("another generation", func(st control.Status) bool { return st.Generation == 2 })
			lost := slices.DeleteFunc(st.Events, func(e cluster.Event) bool { return !strings.HasPrefix(e.Text, "lost: ") })
			if len(lost) != 1 || lost[0].Worker != "w1" ||
				lost[0].Text != "lost: its connection closed (Client Closed), and worker w0 finds its process gone" {
				t.Errorf("lost are %+v", lost)
			}
		})
	}
}

// TestLateHeartbeat: what a worker sent before its connection closed, and is read after, does not make it live.
func TestLateHeartbeat(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), forEver)
	s.submit("a", 2)
	w0, w1 := s.join("w0", "s0"), s.join("w1", "s1")
	w0.hears(0, wire.Idle, isPlan)
	w1.hears(0, wire.Idle, isPlan)
	number, err := w1.nc.GetClientID()
	if err != nil {
		t.Fatal(err)
	}
	beat := wire.Heartbeat{
		Worker: "w1", Session: "s1", Generation: 1, Activity: wire.Training,
		Connection: wire.ConnectionName(w1.nc.ConnectedServerId(), number),
	}
	late := s.as("w1", "s1")
	w1.nc.Close()
	for range 50 { // the coordinator hears of the close on the way
		late.ask(wire.WorkerSubject("w1", "s1"), beat)
	}
	w0.misses(1, "w1")
	s.until("the run to wait", func(st control.Status) bool { return st.Phase == cluster.Waiting && st.Generation > 0 })
}

// now is the newest status.
func (s *site) now() control.Status {
	s.t.Helper()
	return s.until("a status", func(control.Status) bool { return true })
}

// TestKilledOverMesh kills a worker process that sums straight with the others: the broker and they see it end.
func TestKilledOverMesh(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), func(c *control.Config) {
		forEver(c)
		c.DataPlane = wire.MeshPlane
	})
	s.submit("a", 3)
	cmd := s.child(childVariable + "_RING=127.0.0.1:0")
	train := &trainer{steps: 1 << 30}
	for _, id := range []string{"w0", "w1"} {
		s.workAs(id, train, func(c *agent.Config) { c.RingListen = "127.0.0.1:0" })
	}
	s.until("some steps", func(st control.Status) bool { return st.Step > 20 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	st := s.until("the run to wait", func(st control.Status) bool { return st.Phase == cluster.Waiting && st.Generation > 0 })
	reason := errors.New(st.Reason)
	want(t, reason, "worker child was lost: its connection closed", "finds its process gone")
	if !strings.Contains(reason.Error(), "worker w0 finds") && !strings.Contains(reason.Error(), "worker w1 finds") {
		t.Errorf("who finds it gone is not named: %v", reason)
	}
}

// TestWronglyGone: a worker that lives, and sums straight with another, is given up; it is shut out of the next generation, joins again,
// and both go on.
func TestWronglyGone(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), func(c *control.Config) {
		forEver(c)
		c.DataPlane = wire.MeshPlane
	})
	s.submit("a", 1)
	train := &trainer{steps: 1 << 30}
	for _, id := range []string{"w0", "w1"} {
		s.workAs(id, train, func(c *agent.Config) { c.RingListen = "127.0.0.1:0" })
	}
	both := func(st control.Status) bool {
		return len(st.Workers) == 2 && st.Workers[0].Rank >= 0 && st.Workers[1].Rank >= 0
	}
	before := s.until("steps of both", func(st control.Status) bool { return both(st) && st.Step > 5 })
	if err := s.service.WorkerLost(t.Context(), "w1", "two were wrong"); err != nil {
		t.Fatal(err)
	}
	s.until("more steps of both", func(st control.Status) bool {
		return both(st) && st.Generation >= before.Generation+2 && st.Workers[1].Session != before.Workers[1].Session && st.Step > before.Step+5
	})
}
