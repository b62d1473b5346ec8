package agent_test

import (
	"context"
	"fmt"

	"pupil/coordinator/wire"
	"pupil/worker/agent"
)

// sum is a Trainer whose steps do nothing but count the workers.
type sum struct{ steps int }

func (t sum) Train(ctx context.Context, a agent.Assignment, s agent.Session) (agent.Outcome, error) {
	step := max(0, a.RestoreStep)
	for ; step < t.steps; step++ {
		v := []int64{1, 0}
		if s.Requested() == agent.Stop {
			v[1] = 1 // all workers must agree to stop
		}
		if err := s.Ring().ReduceInt64(ctx, uint64(step), 0, v); err != nil {
			return agent.Outcome{}, err
		}
		if err := s.Ring().Commit(ctx, uint64(step)); err != nil {
			return agent.Outcome{}, err
		}
		if a.Rank == 0 {
			s.Report(wire.Report{Step: step + 1, Total: t.steps})
		}
		if v[1] > 0 {
			return agent.Outcome{Kind: wire.Stopped, Step: step + 1}, nil
		}
	}
	return agent.Outcome{Kind: wire.Finished, Step: step}, nil
}

func ExampleRun() {
	c := agent.Config{URL: "nats://127.0.0.1:1", ID: "w0", Kernel: "generic"}
	err := agent.Run(context.Background(), c, sum{steps: 10})
	fmt.Println(err)
	// Output:
	// worker: version is missing
	// threads is 0; it must be at least 1
}
