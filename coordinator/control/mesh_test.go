package control_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/wire"
	"pupil/worker/agent"
)

func over(p wire.DataPlane) func(*control.Config) {
	return func(c *control.Config) { c.DataPlane = p }
}

// TestMesh lets workers sum over servers of their own, with the credentials that the coordinator has issued.
func TestMesh(t *testing.T) {
	for p, certificates := range map[wire.DataPlane]int{wire.MeshPlane: 3, wire.LocalPlane: 0} {
		t.Run(string(p), func(t *testing.T) { testMesh(t, p, certificates) })
	}
}

func testMesh(t *testing.T, p wire.DataPlane, issued int) {
	t.Parallel()
	s := start(t, t.TempDir(), over(p))
	s.submit("a", 3)
	var mu sync.Mutex
	certificates := map[string]bool{}
	train := &trainer{steps: 5, after: func(a agent.Assignment, _ int) error {
		mu.Lock()
		defer mu.Unlock()
		if a.Mesh == nil || len(a.Mesh.Peers) != 3 {
			return fmt.Errorf("rank %d has the mesh %+v", a.Rank, a.Mesh)
		}
		if a.Mesh.Certificate != nil {
			certificates[string(a.Mesh.Certificate)] = true
		}
		return nil
	}}
	ctx, cancel := context.WithCancelCause(t.Context())
	var agents sync.WaitGroup
	for i := range 3 {
		c := s.config(fmt.Sprintf("w%d", i))
		c.RingListen, c.RingPlain = "127.0.0.1:0", p == wire.LocalPlane
		agents.Go(func() { _ = agent.Run(ctx, c, train) }) // that the run has finished says more
	}
	if got := s.over(cluster.Finished); got.Weights != weights(5) {
		t.Errorf("weights %.16s, want %.16s", got.Weights, weights(5))
	}
	cancel(errors.New("the test is over"))
	agents.Wait()
	if len(certificates) != issued {
		t.Errorf("3 workers have %d certificates, want %d", len(certificates), issued)
	}
}

// TestAutoPlane: sums go straight between the workers as long as all of them listen for that where the others can reach it, and
// over the broker with one that does not; the events say so.
func TestAutoPlane(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*agent.Config) // of one of the three
		want   wire.DataPlane
		why    string
	}{
		"all listen": {func(*agent.Config) {}, wire.MeshPlane, ""},
		"one does not": {
			func(c *agent.Config) { c.RingListen = "" },
			wire.BrokerPlane, "worker w1 does not listen for the others",
		},
		"one has no TLS": {
			func(c *agent.Config) { c.RingPlain = true },
			wire.BrokerPlane, "worker w1 does not listen for the others",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, t.TempDir(), over(wire.AutoPlane))
			s.submit("a", 3)
			train := &trainer{steps: 5, after: func(a agent.Assignment, _ int) error {
				if got := a.Mesh.Plane(); got != test.want {
					return fmt.Errorf("rank %d sums over %s", a.Rank, got)
				}
				return nil
			}}
			ctx, cancel := context.WithCancelCause(t.Context())
			var agents sync.WaitGroup
			for i := range 3 {
				c := s.config(fmt.Sprintf("w%d", i))
				c.RingListen = "127.0.0.1:0"
				if i == 1 {
					test.change(&c)
				}
				agents.Go(func() { _ = agent.Run(ctx, c, train) }) // that the run has finished says more
			}
			st := s.over(cluster.Finished)
			cancel(errors.New("the test is over"))
			agents.Wait()
			told := ""
			for _, e := range st.Events {
				if e.Run == "a" && strings.Contains(e.Text, "sums go over") {
					told = e.Text
				}
			}
			if (told == "") != (test.why == "") || !strings.Contains(told, test.why) {
				t.Errorf("the events say %q, want %q", told, test.why)
			}
		})
	}
}

// TestMeshWithoutServer refuses a worker that has no server of its own, or one of another kind.
func TestMeshWithoutServer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		plane  wire.DataPlane
		listen string
		plain  bool
		want   []string
	}{
		{wire.MeshPlane, "", false, []string{"data plane mesh", "--ring-listen HOST:PORT"}},
		{wire.MeshPlane, "127.0.0.1:0", true, []string{"data plane mesh", "without --ring-plain"}},
		{wire.LocalPlane, "", false, []string{"data plane local", "--ring-listen 127.0.0.1:0 --ring-plain"}},
		{wire.LocalPlane, "127.0.0.1:0", false, []string{"data plane local", "--ring-listen 127.0.0.1:0 --ring-plain"}},
	} {
		s := start(t, t.TempDir(), over(test.plane))
		c := s.config("w0")
		c.RingListen, c.RingPlain = test.listen, test.plain
		want(t, agent.Run(t.Context(), c, &trainer{steps: 1}), append(test.want, "worker w0")...)
	}
}
