package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Use is what a worker's time went to.
type Use string

// The uses. Together they are all the time since the worker's start, but for a step that is under way.
const (
	Compute       Use = "compute"       // teacher, student, loss and update
	Communication Use = "communication" // sums between workers that were not hidden behind computing, and slower workers
	Input         Use = "input"         // images
	Recovery      Use = "recovery"      // from one generation to the next, and what was lost with it
	Start         Use = "start"         // a run is being opened
	Wait          Use = "wait"          // there is nothing to carry
	inStep        Use = ""              // known when the step ends
)

// account splits a worker's time.
type account struct {
	clock func() time.Time
	desc  *prometheus.Desc

	mu    sync.Mutex
	use   Use       // now
	since time.Time // what was before is in spent
	spent map[Use]float64
}

func newAccount(clock func() time.Time) *account {
	return &account{
		clock: clock, use: Wait, since: clock(), spent: map[Use]float64{},
		desc: family("pupil_worker_time_seconds_total",
			"Time of the worker by use. Goodput is the share of compute in the sum over all uses.", "use"),
	}
}

// enter begins another use. A step that is left without its end was lost.
func (a *account) enter(u Use) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle(Recovery)
	a.use = u
}

// settle adds the time up to now. The caller holds the lock.
func (a *account) settle(unknown Use) {
	now := a.clock()
	u := a.use
	if u == inStep {
		u = unknown
	}
	if u != inStep {
		a.spent[u] += now.Sub(a.since).Seconds()
		a.since = now
	}
}

// step ends a step, of which so many seconds were spent waiting for images and for sums.
func (a *account) step(input, communication float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock()
	left := now.Sub(a.since).Seconds()
	for u, seconds := range map[Use]float64{Input: input, Communication: communication} {
		seconds = max(0, min(seconds, left))
		a.spent[u] += seconds
		left -= seconds
	}
	a.spent[Compute] += left
	a.use, a.since = inStep, now
}

// Describe implements prometheus.Collector.
func (a *account) Describe(to chan<- *prometheus.Desc) { to <- a.desc }

// Collect implements prometheus.Collector.
func (a *account) Collect(to chan<- prometheus.Metric) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle(inStep)
	for _, u := range []Use{Compute, Communication, Input, Recovery, Start, Wait} {
		to <- prometheus.MustNewConstMetric(a.desc, prometheus.CounterValue, a.spent[u], string(u))
	}
}
