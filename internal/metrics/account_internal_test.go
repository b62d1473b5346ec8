package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestAccount follows a worker with a clock of the test: every second has one use, and their sum is the worker's life.
func TestAccount(t *testing.T) {
	begin := time.Unix(1000, 0)
	now := begin
	a := newAccount(func() time.Time { return now })
	after := func(seconds float64) { now = now.Add(time.Duration(seconds * float64(time.Second))) }
	after(3)
	a.enter(Start) // waited for 3 s
	after(2)
	a.enter(inStep) // opened for 2 s
	after(10)
	a.step(1, 4) // 5 s of computing
	after(6)
	a.step(0, 9) // no more than there was
	after(7)
	a.enter(Recovery) // a step was lost
	after(1)
	a.enter(inStep)
	after(2)
	a.step(0, 0)
	after(5) // of a step that goes on: nothing is known of it yet
	a.Collect(make(chan prometheus.Metric, 16))
	want := map[Use]float64{Wait: 3, Start: 2, Compute: 5 + 2, Input: 1, Communication: 4 + 6, Recovery: 7 + 1, inStep: 0}
	sum := 0.
	for u, seconds := range want {
		if a.spent[u] != seconds {
			t.Errorf("%q: %v s, want %v", u, a.spent[u], seconds)
		}
		sum += a.spent[u]
	}
	if life := now.Sub(begin).Seconds() - 5; sum != life {
		t.Errorf("the uses are %v s of %v", sum, life)
	}
}
