package control_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/wire"
	"pupil/worker/agent"
)

func overMesh(c *control.Config) { c.DataPlane = wire.MeshPlane }

// TestMesh lets workers sum over servers of their own, with the credentials that the coordinator has issued.
func TestMesh(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), overMesh)
	s.submit("a", 3)
	var mu sync.Mutex
	certificates := map[string]bool{}
	train := &trainer{steps: 5, after: func(a agent.Assignment, _ int) error {
		mu.Lock()
		defer mu.Unlock()
		if a.Mesh == nil || len(a.Mesh.Peers) != 3 {
			return fmt.Errorf("rank %d has the mesh %+v", a.Rank, a.Mesh)
		}
		certificates[string(a.Mesh.Certificate)] = true
		return nil
	}}
	ctx, cancel := context.WithCancelCause(t.Context())
	var agents sync.WaitGroup
	for i := range 3 {
		c := s.config(fmt.Sprintf("w%d", i))
		c.RingListen = "127.0.0.1:0"
		agents.Go(func() { _ = agent.Run(ctx, c, train) }) // that the run has finished says more
	}
	if got := s.over(cluster.Finished); got.Weights != weights(5) {
		t.Errorf("weights %.16s, want %.16s", got.Weights, weights(5))
	}
	cancel(errors.New("the test is over"))
	agents.Wait()
	if len(certificates) != 3 {
		t.Errorf("3 workers have %d certificates", len(certificates))
	}
}

// TestMeshWithoutServer refuses a worker that has no server of its own.
func TestMeshWithoutServer(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), overMesh)
	err := agent.Run(t.Context(), s.config("w0"), &trainer{steps: 1})
	want(t, err, "data plane mesh", "worker w0", "--ring-listen HOST:PORT")
}
