package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Coordinator is what a coordinator tells.
type Coordinator struct {
	Registry *prometheus.Registry

	commands *prometheus.CounterVec
}

// Cluster is what a coordinator knows at a scrape. All but the first fields are the leader's alone.
type Cluster struct {
	Leads, HasLeader bool
	Term             uint64
	Members          int

	Runs    []Run
	Workers map[string]int // live ones, by activity
	Events  uint64         // sequence of the newest
}

// Run is a submitted job.
type Run struct {
	Run, Phase                                           string
	Committed, Step, Total, Workers, MinWorkers, Lanes   int
	Generation                                           uint64
	Loss, MutualInformation, ImagesPerSecond, ETASeconds float64
	Checkpoint                                           int       // step of the newest; -1: none
	Checkpointed                                         time.Time // zero: not known
	SlowWorker, SlowCause                                string    // "": no worker holds up the others
	SlowRank                                             int
}

// Vocabulary has the words that the cluster speaks: each has a series from the beginning.
type Vocabulary struct {
	Phases, Activities, Commands []string                // of runs, of workers, and what the log holds
	Over                         func(phase string) bool // of a run
}

// maxOver is the number of runs that are over of which is told.
const maxOver = 20

// NewCoordinator returns the metrics of a coordinator. read is called at each scrape.
func NewCoordinator(v Vocabulary, read func() Cluster) *Coordinator {
	c := &Coordinator{
		Registry: NewRegistry("coordinator", ""),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pupil_coordinator_commands_total",
			Help: "What has happened and what was decided while this coordinator led, by kind: joins, losses, plans, checkpoints, ends.",
		}, []string{"kind"}),
	}
	for _, k := range v.Commands {
		c.commands.WithLabelValues(k)
	}
	c.Registry.MustRegister(c.commands, newCluster(v, read))
	return c
}

// Applied counts a command.
func (c *Coordinator) Applied(kind string) { c.commands.WithLabelValues(kind).Inc() }

// cluster reads the state at each scrape.
type cluster struct {
	words Vocabulary
	read  func() Cluster
	desc  map[string]*prometheus.Desc
}

func newCluster(v Vocabulary, read func() Cluster) *cluster {
	c := &cluster{words: v, read: read, desc: map[string]*prometheus.Desc{}}
	for _, m := range []struct {
		name, help string
		labels     []string
	}{
		{"coordinator_leader", "1 on the coordinator that leads, 0 on the others.", nil},
		{"coordinator_has_leader", "1 while this coordinator knows one that leads.", nil},
		{"coordinator_term", "Term of the coordinators' log, which rises with each election.", nil},
		{"coordinator_members", "Coordinators of the cluster.", nil},
		{"cluster_workers", "Live workers by activity; told by the leader.", []string{"activity"}},
		{"cluster_runs", "Submitted runs by phase; told by the leader.", []string{"phase"}},
		{"cluster_events", "Sequence of the newest event; told by the leader.", nil},
		{"run_committed_steps", "The most steps of a run that were ever committed.", []string{"run"}},
		{"run_step", "Committed steps of a run where it stands now.", []string{"run"}},
		{"run_steps", "Steps of the whole job; 0 while no worker has told.", []string{"run"}},
		{"run_generation", "Newest generation of a run.", []string{"run"}},
		{"run_workers", "Workers that carry a run.", []string{"run"}},
		{"run_min_workers", "Workers without which a run waits.", []string{"run"}},
		{"run_lanes", "Lanes of a run.", []string{"run"}},
		{"run_phase", "1, with a run's phase in the label.", []string{"run", "phase"}},
		{"run_loss", "Loss of the newest step that was reported.", []string{"run"}},
		{"run_mutual_information_nats", "Mutual information of the newest step that was reported.", []string{"run"}},
		{"run_images_per_second", "Images of a second, at the newest step.", []string{"run"}},
		{"run_remaining_seconds", "Time until the last step, at the newest step's rate.", []string{"run"}},
		{"run_unsaved_steps", "Steps since the newest checkpoint.", []string{"run"}},
		{"run_checkpoint_timestamp_seconds", "When the newest checkpoint was whole, in Unix time.", []string{"run"}},
		{
			"run_slow_worker", "1 for a worker that the others of a run wait for, with its rank and the cause: compute or send.",
			[]string{"run", "worker", "rank", "cause"},
		},
	} {
		c.desc[m.name] = family("pupil_"+m.name, m.help, m.labels...)
	}
	return c
}
