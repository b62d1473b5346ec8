package metrics

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Worker is what a worker tells. A nil Worker takes everything and tells nothing. Its methods may be called from several
// goroutines.
type Worker struct {
	Registry *prometheus.Registry

	joined atomic.Bool
	time   *account

	steps, samples, saturated, replaced, checkpoints, sent, received, lost prometheus.Counter
	trouble, phases, generations, failures                                 *prometheus.CounterVec
	duration                                                               prometheus.Histogram
	rank, lanes, generation, up                                            prometheus.Gauge
	run                                                                    map[string]*prometheus.GaugeVec // by name; of the run that is carried
	terms, weights                                                         *prometheus.GaugeVec

	mu     sync.Mutex
	of     string // run that is carried
	ring   Ring   // what is counted already
	unkept int    // failed saves that are counted already
}

// Step is a committed step.
type Step struct {
	Step, Total, Epoch int     // committed steps, this one included; of the whole job
	Images             int     // that this worker's lanes were fed
	Replaced           int     // broken images of the step that others stood in for, on all workers
	Saturated          int     // values that left the fixed-point range, on all workers
	Seconds            float64 // that it took

	Input, Teacher, Forward, Joint, Backward, Communication, Update float64 // seconds; see pupil_worker_phase_seconds_total

	Loss, MutualInformation, LearningRate, GradientNorm, Accuracy float64
	UsedClasses                                                   int
	Terms                                                         []Term
	Unsaved                                                       int // steps since the newest checkpoint; -1: another worker knows
	FailedSaves                                                   int // so far in the run
}

// Term is a term of the loss.
type Term struct {
	Name          string
	Value, Weight float64
}

// Ring counts what a generation's all-reduce has done so far.
type Ring struct {
	Generation                                         uint64
	SentBytes, ReceivedBytes                           int64 // with headers
	Asked, Resent, Duplicates, Corrupt, Stale, Dropped int64 // messages
}

// The gauges of the run that a worker carries. All its workers have the same values.
var runGauges = []struct{ name, help string }{
	{"step", "Committed steps of the run, as this worker knows."},
	{"steps", "Steps of the whole job."},
	{"epoch", "Epoch of the newest step, from 0."},
	{"loss", "Loss of the global batch."},
	{"mutual_information_nats", "Mutual information of teacher and student, of a feature group on average."},
	{"learning_rate", "Learning rate of the newest step."},
	{"gradient_norm", "Norm of all gradients, before it is clipped."},
	{"used_classes", "Classes, or features of a group, that the student uses."},
	{"accuracy_ratio", "Share of the global batch whose label is the student's most likely class; 0 without labels."},
	{"unsaved_steps", "Steps since the newest checkpoint; told by rank 0."},
	{"checkpoint_timestamp_seconds", "When the newest checkpoint was whole, in Unix time; told by the worker that has written it."},
}

// NewWorker returns the metrics of a worker that computes with the kernels of a name.
func NewWorker(kernel string) *Worker {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "pupil_worker_" + name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pupil_worker_" + name, Help: help}, []string{label})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "pupil_worker_" + name, Help: help})
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pupil_train_" + name, Help: help}, append([]string{"run"}, labels...))
	}
	w := &Worker{
		Registry:    NewRegistry("worker", kernel),
		time:        newAccount(time.Now),
		steps:       counter("steps_total", "Committed steps that this worker took part in."),
		samples:     counter("samples_total", "Images that this worker's lanes were fed in committed steps."),
		saturated:   counter("saturated_values_total", "Values of gradients that left the fixed-point range, on all workers."),
		replaced:    counter("replaced_samples_total", "Broken images that others stood in for, on all workers."),
		checkpoints: counter("checkpoints_total", "Checkpoints that this worker has made whole."),
		sent:        counter("ring_sent_bytes_total", "Bytes of all-reduce messages that were sent, with headers."),
		received:    counter("ring_received_bytes_total", "Bytes of all-reduce messages that came, with headers."),
		lost:        counter("interruptions_total", "Generations that broke off before their end on this worker."),
		trouble: counters("ring_repeats_total", "Messages of the all-reduce beside the plan: asked (for what did not come), "+
			"resent, duplicate, corrupt, stale, dropped.", "kind"),
		phases: counters("phase_seconds_total", "Time in the phases of steps. teacher, forward, joint and backward are summed over "+
			"the worker's lanes; input, communication and update are the worker's.", "phase"),
		generations: counters("generations_total", "Generations begun, by where the worker's state came from: itself, a peer, "+
			"a checkpoint. All but the first of a run are recoveries or changes of plan.", "state"),
		failures: counters("failures_total", "What failed and is tried again: checkpoint, part.", "what"),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pupil_worker_step_duration_seconds", Help: "Time of a committed step.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 14),
		}),
		rank: gauge("rank", "Place in the ring of the newest generation; -1: none."), lanes: gauge("lanes", "Lanes that are carried."),
		generation: gauge("generation", "Newest generation that the worker has taken part in."),
		up:         gauge("joined", "1 while a coordinator has taken the worker in."),
		run:        map[string]*prometheus.GaugeVec{},
		terms:      gauges("loss_term", "Value of a term of the loss, before its weight.", "term"),
		weights:    gauges("loss_term_weight", "Weight of a term of the loss.", "term"),
	}
	w.rank.Set(-1)
	for _, k := range []string{"asked", "resent", "duplicate", "corrupt", "stale", "dropped"} {
		w.trouble.WithLabelValues(k)
	}
	for _, k := range []string{"input", "teacher", "forward", "joint", "backward", "communication", "update"} {
		w.phases.WithLabelValues(k)
	}
	for _, k := range []string{"itself", "a peer", "a checkpoint"} {
		w.generations.WithLabelValues(k)
	}
	for _, k := range []string{"checkpoint", "part"} {
		w.failures.WithLabelValues(k)
	}
	w.Registry.MustRegister(w.time, w.steps, w.samples, w.saturated, w.replaced, w.checkpoints, w.sent, w.received, w.lost,
		w.trouble, w.phases, w.generations, w.failures, w.duration, w.rank, w.lanes, w.generation, w.up, w.terms, w.weights)
	for _, g := range runGauges {
		w.run[g.name] = gauges(g.name, g.help)
		w.Registry.MustRegister(w.run[g.name])
	}
	return w
}

// Joined tells whether a coordinator has taken the worker in.
func (w *Worker) Joined(yes bool) {
	if w == nil {
		return
	}
	w.joined.Store(yes)
	w.up.Set(0)
	if yes {
		w.up.Set(1)
	}
}

// Ready is nil while a coordinator has taken the worker in.
func (w *Worker) Ready() error {
	if !w.joined.Load() {
		return errors.New("no coordinator has taken this worker in")
	}
	return nil
}

// Part tells that the worker gets a part of a generation.
func (w *Worker) Part(run string, generation uint64, rank, lanes int) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	use := Recovery
	if run != w.of {
		use = Start
		w.forget()
		w.of, w.unkept = run, 0
	}
	w.ring = Ring{Generation: generation}
	w.time.enter(use)
	w.rank.Set(float64(rank))
	w.lanes.Set(float64(lanes))
	w.generation.Set(float64(generation))
}

// forget takes back what was told of the run; the lock is held.
func (w *Worker) forget() {
	for _, g := range w.run {
		g.Reset()
	}
	w.terms.Reset()
	w.weights.Reset()
}

// Began tells that the steps of a generation begin, with a state from elsewhere unless from is "".
func (w *Worker) Began(from string) {
	if w == nil {
		return
	}
	if from == "" {
		from = "itself"
	}
	w.generations.WithLabelValues(from).Inc()
	w.time.enter(inStep)
}

// Left tells that the worker's part of a generation has ended. interrupted says that another generation may go on, failed
// that the run itself broke.
func (w *Worker) Left(interrupted, yielded, failed bool) {
	if w == nil {
		return
	}
	use := Wait
	if interrupted || yielded {
		use = Recovery
	}
	if interrupted {
		w.lost.Inc()
	}
	if failed {
		w.failures.WithLabelValues("part").Inc()
	}
	w.time.enter(use)
	w.rank.Set(-1)
	w.lanes.Set(0)
}

// Committed tells of a step.
func (w *Worker) Committed(s Step) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.time.step(s.Input, s.Communication)
	w.steps.Inc()
	w.samples.Add(float64(s.Images))
	w.saturated.Add(float64(s.Saturated))
	w.replaced.Add(float64(s.Replaced))
	w.duration.Observe(s.Seconds)
	for phase, seconds := range map[string]float64{
		"input": s.Input, "teacher": s.Teacher, "forward": s.Forward, "joint": s.Joint, "backward": s.Backward,
		"communication": s.Communication, "update": s.Update,
	} {
		w.phases.WithLabelValues(phase).Add(max(0, seconds))
	}
	for name, v := range map[string]float64{
		"step": float64(s.Step), "steps": float64(s.Total), "epoch": float64(s.Epoch), "loss": s.Loss,
		"mutual_information_nats": s.MutualInformation, "learning_rate": s.LearningRate, "gradient_norm": s.GradientNorm,
		"used_classes": float64(s.UsedClasses), "accuracy_ratio": s.Accuracy,
	} {
		w.run[name].WithLabelValues(w.of).Set(v)
	}
	if s.Unsaved >= 0 {
		w.run["unsaved_steps"].WithLabelValues(w.of).Set(float64(s.Unsaved))
	} else {
		w.run["unsaved_steps"].Reset()
	}
	w.failures.WithLabelValues("checkpoint").Add(float64(max(0, s.FailedSaves-w.unkept)))
	w.unkept = max(w.unkept, s.FailedSaves)
	for _, t := range s.Terms {
		w.terms.WithLabelValues(w.of, t.Name).Set(t.Value)
		w.weights.WithLabelValues(w.of, t.Name).Set(t.Weight)
	}
}

// Ring tells what the generation's all-reduce has done so far.
func (w *Worker) Ring(r Ring) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.ring
	if r.Generation != before.Generation {
		before = Ring{}
	}
	w.ring = r
	w.sent.Add(float64(max(0, r.SentBytes-before.SentBytes)))
	w.received.Add(float64(max(0, r.ReceivedBytes-before.ReceivedBytes)))
	for kind, n := range map[string]int64{
		"asked": r.Asked - before.Asked, "resent": r.Resent - before.Resent, "duplicate": r.Duplicates - before.Duplicates,
		"corrupt": r.Corrupt - before.Corrupt, "stale": r.Stale - before.Stale, "dropped": r.Dropped - before.Dropped,
	} {
		w.trouble.WithLabelValues(kind).Add(float64(max(0, n)))
	}
}

// Checkpointed tells that this worker has made a checkpoint whole.
func (w *Worker) Checkpointed() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checkpoints.Inc()
	w.run["checkpoint_timestamp_seconds"].WithLabelValues(w.of).SetToCurrentTime()
}
