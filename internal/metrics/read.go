package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Describe implements prometheus.Collector.
func (c *cluster) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.desc {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *cluster) Collect(to chan<- prometheus.Metric) {
	tell := func(name string, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(c.desc[name], prometheus.GaugeValue, v, labels...)
	}
	now := c.read()
	tell("coordinator_leader", truth(now.Leads))
	tell("coordinator_has_leader", truth(now.HasLeader))
	tell("coordinator_term", float64(now.Term))
	tell("coordinator_members", float64(now.Members))
	if !now.Leads {
		return
	}
	for _, a := range c.words.Activities {
		tell("cluster_workers", float64(now.Workers[a]), a)
	}
	phases, over := map[string]int{}, 0
	for _, r := range now.Runs {
		phases[r.Phase]++
		if c.words.Over(r.Phase) {
			over++
		}
	}
	for _, p := range c.words.Phases {
		tell("cluster_runs", float64(phases[p]), p)
	}
	tell("cluster_events", float64(now.Events))
	for _, r := range now.Runs {
		if c.words.Over(r.Phase) {
			if over--; over >= maxOver { // an old one
				continue
			}
		}
		c.run(tell, r)
	}
}

func (c *cluster) run(tell func(name string, v float64, labels ...string), r Run) {
	for _, x := range []struct {
		name  string
		value float64
	}{
		{"run_committed_steps", float64(r.Committed)},
		{"run_step", float64(r.Step)},
		{"run_steps", float64(r.Total)},
		{"run_generation", float64(r.Generation)},
		{"run_workers", float64(r.Workers)},
		{"run_min_workers", float64(r.MinWorkers)},
		{"run_lanes", float64(r.Lanes)},
		{"run_loss", r.Loss},
		{"run_mutual_information_nats", r.MutualInformation},
		{"run_images_per_second", r.ImagesPerSecond},
		{"run_remaining_seconds", r.ETASeconds},
		{"run_unsaved_steps", float64(max(0, r.Step-max(0, r.Checkpoint)))},
	} {
		tell(x.name, x.value, r.Run)
	}
	tell("run_phase", 1, r.Run, r.Phase)
	if !r.Checkpointed.IsZero() {
		tell("run_checkpoint_timestamp_seconds", float64(r.Checkpointed.UnixMilli())/1000, r.Run)
	}
	if r.SlowWorker != "" {
		tell("run_slow_worker", 1, r.Run, r.SlowWorker, strconv.Itoa(r.SlowRank), r.SlowCause)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
