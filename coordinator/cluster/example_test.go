package cluster_test

import (
	"fmt"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/job"
)

func Example() {
	s := cluster.New()
	now := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	happens := func(c cluster.Command) {
		if err := s.Apply(now, c); err != nil {
			fmt.Println(err)
		}
		for {
			d, why := cluster.Decide(s, now, cluster.DefaultConfig())
			fmt.Printf("%s: %s\n", d.Kind, why)
			if d.Command == nil {
				return
			}
			if err := s.Apply(now, d.Command); err != nil {
				fmt.Println(err)
			}
		}
	}
	happens(cluster.Submit{Submission: cluster.Submission{
		Run: "digits", Spec: &job.Spec{Lanes: 8}, MinWorkers: 1, Restore: -1,
	}})
	happens(cluster.Join{Worker: "w0", Session: "5e55", Host: "host", PID: 1, Threads: 2, Kernel: "avx2"})
	happens(cluster.Lost{Worker: "w0", Session: "5e55", Reason: "its connection closed"})
	happens(cluster.Join{Worker: "w1", Session: "0dd5", Host: "other", PID: 2, Threads: 2, Kernel: "avx2"})
	// Output:
	// wait: 0 of 1 workers have joined
	// plan: 1 worker to carry it
	// nothing: the workers carry the run
	// suspend: worker w0 was lost: its connection closed; 0 of 1 workers are left
	// wait: 0 of 1 workers have joined
	// plan: 1 worker to carry it
	// nothing: the workers carry the run
}
