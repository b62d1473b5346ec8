package testcluster_test

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/control"
	"pupil/internal/testcluster"
)

// TestSlowLink: status names the worker whose way to the network is slow, and which way it is.
func TestSlowLink(t *testing.T) {
	const rate = 1_000_000 // bytes a second; the sums of a step take a second and a half each way
	for cause, rates := range map[string][2]int{"receive": {rate, 0}, "send": {0, rate}} {
		t.Run(cause, func(t *testing.T) {
			c := testcluster.StartCluster(t, 1)
			credentials, err := control.LoadCredentials(filepath.Join(c.Folder, "broker.json"), false)
			if err != nil {
				t.Fatal(err)
			}
			as := credentials.WorkerAccess("w1", "*", time.Time{}, "")
			c.StartWorker("w0")
			c.StartWorker("w2")
			t.Setenv("PUPIL_NATS_USER", as.User)
			t.Setenv("PUPIL_NATS_PASSWORD", as.Password)
			c.StartWorker("w1", "--nats-url", c.Slow(t, rates[0], rates[1]).URL)
			var run api.Run
			c.JSON(&run, "submit", demo, "--run", "one", "--min-workers", "3", "--set", "steps=100000", "--set", "batch=32",
				"--set", "student.width=0.25", "--set", "dataset.test=")
			last := -1
			c.Watch(func(line []byte) bool {
				var s api.Status
				if err := json.Unmarshal(line, &s); err != nil {
					t.Fatal(err)
				}
				if len(s.Runs) == 0 {
					return false
				}
				r := s.Runs[0]
				if r.Phase.Over() {
					t.Fatalf("the run is over: %+v", r)
				}
				if r.Step != last { // for who wonders why nobody is named
					last = r.Step
					for _, w := range r.Workers {
						t.Logf("%s after step %d: compute %.2f wait %.2f send %.2f left %.2f add %.2f", w.ID, w.Step, w.Compute, w.Wait, w.Send, w.Left, w.Add)
					}
				}
				return r.Slow != nil && r.Slow.Worker == "w1" && r.Slow.Cause == cause
			})
		})
	}
}
