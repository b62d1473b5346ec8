package control_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pupil/allreduce"
	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/job"
	"pupil/coordinator/raftlog"
	"pupil/coordinator/wire"
	"pupil/internal/certificate"
	"pupil/worker/agent"
)

// childVariable makes a test process a worker, see TestKilledWorker.
const childVariable = "PUPIL_CONTROL_TEST_WORKER"

func TestMain(m *testing.M) {
	if url := os.Getenv(childVariable); url != "" {
		os.Exit(child(url))
	}
	code := m.Run()
	if leak := leaks(); leak != "" && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines that have not ended:\n"+leak)
		code = 1
	}
	os.Exit(code)
}

// leaks returns the stacks of goroutines that the packages under test have left behind.
func leaks() string {
	buffer := make([]byte, 1<<20)
	var left []string
	for _, stack := range strings.Split(string(buffer[:runtime.Stack(buffer, true)]), "\n\n") {
		for _, p := range []string{"pupil/coordinator/control.", "pupil/worker/agent.", "pupil/coordinator/raftlog."} {
			if strings.Contains(stack, p) {
				left = append(left, stack)
			}
		}
	}
	return strings.Join(left, "\n\n")
}

// site is a coordinator.
type site struct {
	t       *testing.T
	broker  *control.Broker
	url     string              // where workers look for it; "": its own
	tls     *certificate.Source // of workers; nil: plain
	log     *raftlog.Log
	service *control.Service
	end     context.CancelFunc
	served  chan error

	mu      sync.Mutex
	reports []wire.Report
}

const version = "test-1"

// start begins a coordinator in a folder. change may be nil.
func start(t *testing.T, folder string, change func(*control.Config)) *site {
	t.Helper()
	s := &site{t: t, served: make(chan error, 1)}
	var err error
	if s.broker, err = control.StartBroker(control.BrokerOptions{}); err != nil {
		t.Fatal(err)
	}
	if s.log, err = raftlog.Open(t.Context(), filepath.Join(folder, "raft"), raftlog.Options{}); err != nil {
		t.Fatal(err)
	}
	c := control.DefaultConfig()
	c.Broker, c.Log, c.Version = s.broker, s.log, version
	c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil)).With("on", "coordinator")
	c.OnReport = func(r wire.Report) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reports = append(s.reports, r)
	}
	if change != nil {
		change(&c)
	}
	if s.service, err = control.New(c); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	s.end = sync.OnceFunc(func() {
		end()
		if err := <-s.served; err != nil {
			t.Error(err)
		}
		s.broker.Close()
		if err := s.log.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() { s.served <- s.service.Run(ctx) }()
	t.Cleanup(s.end)
	return s
}

const lanes = 4

func submission(run string, workers int) cluster.Submission {
	return cluster.Submission{
		Run: run, Spec: &job.Spec{Name: run, Lanes: lanes}, Digest: "d", Storage: "file:///nowhere",
		MinWorkers: workers, Restore: -1,
	}
}

func (s *site) submit(run string, workers int) {
	s.t.Helper()
	if err := s.service.Submit(s.t.Context(), submission(run, workers)); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for a status. It fails when the run ends in another way.
func (s *site) until(what string, ok func(control.Status) bool) control.Status {
	s.t.Helper()
	var last control.Status
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	for st := range s.service.Watch(ctx) {
		if last = st; ok(st) {
			return st
		}
	}
	s.t.Fatalf("waiting for %s, the last status was %+v", what, last)
	return last
}

// over waits until the run is over, which must be in the given phase.
func (s *site) over(p cluster.Phase) control.Status {
	s.t.Helper()
	st := s.until("the end of the run", func(st control.Status) bool { return st.Phase.Over() })
	if st.Phase != p {
		s.t.Fatalf("the run is %s (%s), want %s", st.Phase, st.Reason, p)
	}
	return st
}

// worker is an agent in a goroutine.
type worker struct {
	id     string
	end    context.CancelCauseFunc
	drain  chan struct{}
	joined atomic.Bool // it knows that the coordinator has taken it
	ended  chan error
}

func (s *site) config(id string) agent.Config {
	as := s.broker.Users().WorkerAccess(id, "*", time.Time{}, "")
	return agent.Config{
		URL: cmp.Or(s.url, s.broker.URL()), User: as.User, Password: as.Password, ID: id, Threads: 1, Version: version, Kernel: "generic",
		TLS: s.tls, Patience: 5 * time.Second, Logger: slog.New(slog.NewTextHandler(s.t.Output(), nil)).With("on", id),
	}
}

func (s *site) work(id string, t agent.Trainer) *worker {
	return s.workAs(id, t, func(*agent.Config) {})
}

// workAs is work with another configuration.
func (s *site) workAs(id string, t agent.Trainer, change func(*agent.Config)) *worker {
	ctx, cancel := context.WithCancelCause(context.Background())
	w := &worker{id: id, end: cancel, drain: make(chan struct{}), ended: make(chan error, 1)}
	c := s.config(id)
	change(&c)
	c.Drain = w.drain
	c.Logger = slog.New(&joining{Handler: c.Logger.Handler(), joined: &w.joined})
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.ended <- agent.Run(ctx, c, t)
	}()
	s.t.Cleanup(func() { cancel(errors.New("the test is over")); <-done })
	return w
}

// joining sees a worker say that it has joined.
type joining struct {
	slog.Handler
	joined *atomic.Bool
}

func (j *joining) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "joined" {
		j.joined.Store(true)
	}
	return j.Handler.Handle(ctx, r)
}

func (j *joining) WithAttrs(a []slog.Attr) slog.Handler {
	return &joining{j.Handler.WithAttrs(a), j.joined}
}

func (j *joining) WithGroup(name string) slog.Handler {
	return &joining{j.Handler.WithGroup(name), j.joined}
}

// works starts n workers w0, w1, ...
func (s *site) works(n int, t agent.Trainer) []*worker {
	var all []*worker
	for i := range n {
		all = append(all, s.work(fmt.Sprintf("w%d", i), t))
	}
	return all
}

// trainer sums numbers of its lanes over the ring, and makes of the sums what stands for the weights.
type trainer struct {
	steps int
	after func(a agent.Assignment, step int) error // called after a step's commit; may be nil
	slow  func(worker string) bool                 // whether a lane takes a worker four times as long; may be nil

	mu sync.Mutex
	at map[string]int // by worker: steps committed
}

// seconds are those of a lane.
func (t *trainer) seconds(worker string) float64 {
	if t.slow != nil && t.slow(worker) {
		return 1
	}
	return 0.25
}

func (t *trainer) stand(worker string, step int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil {
		t.at = map[string]int{}
	}
	t.at[worker] = max(t.at[worker], step)
	return t.at[worker]
}

// meet finds the newest step that a worker or a checkpoint has.
func (t *trainer) meet(ctx context.Context, a agent.Assignment, ring *allreduce.Ring, id string) (int, error) {
	all := make([]int64, a.Size)
	all[a.Rank] = int64(t.stand(id, max(0, a.RestoreStep)))
	if err := errors.Join(ring.ReduceInt64(ctx, 0, 1, all), ring.Commit(ctx, 0)); err != nil {
		return 0, err
	}
	return int(slices.Max(all)), nil
}

func (t *trainer) Train(ctx context.Context, a agent.Assignment, s agent.Session) (agent.Outcome, error) {
	id, ring := a.Members[a.Rank].ID, s.Ring()
	step, err := t.meet(ctx, a, ring, id)
	if err != nil {
		return agent.Outcome{}, err
	}
	if a.Rank == 0 {
		s.Began(step, "")
	}
	pace := time.NewTicker(time.Millisecond) // so that steps without work do not flood the coordinator
	defer pace.Stop()
	for ; step < t.steps; step++ {
		<-pace.C
		v := []int64{0, 0, 0}
		for _, l := range a.Lanes {
			v[0] += value(step, l)
		}
		if r := s.Requested(); r != agent.GoOn {
			v[r] = 1
		}
		if err := ring.ReduceInt64(ctx, uint64(step+1), 1, v); err != nil {
			return agent.Outcome{}, fmt.Errorf("step %d: %w", step, err)
		}
		if err := ring.Commit(ctx, uint64(step+1)); err != nil {
			return agent.Outcome{}, fmt.Errorf("step %d: %w", step, err)
		}
		if want := sumOf(step); v[0] != want {
			return agent.Outcome{}, fmt.Errorf("step %d: the sum is %d, want %d", step, v[0], want)
		}
		done := t.stand(id, step+1)
		s.SetTimes(done, wire.Times{Compute: t.seconds(id) * float64(len(a.Lanes)), Wait: 0.25})
		if a.Rank == 0 {
			s.Report(wire.Report{Step: done, Total: t.steps, Loss: float64(v[0])})
			if v[agent.Stop] > 0 || done%4 == 0 {
				s.Checkpointed(done)
			}
		}
		switch {
		case done == t.steps:
		case v[agent.Stop] > 0:
			return agent.Outcome{Kind: wire.Stopped, Step: done, WeightsSHA256: weights(done)}, nil
		case v[agent.Pause] > 0:
			return agent.Outcome{Kind: wire.Yielded, Step: done}, nil
		}
		if t.after != nil {
			if err := t.after(a, done); err != nil {
				return agent.Outcome{}, err
			}
		}
	}
	return agent.Outcome{Kind: wire.Finished, Step: t.steps, WeightsSHA256: weights(t.steps)}, nil
}

func value(step, lane int) int64 { return int64(step*1000 + lane) }

func sumOf(step int) (sum int64) {
	for l := range lanes {
		sum += value(step, l)
	}
	return sum
}

func weights(steps int) string {
	var sums []int64
	for s := range steps {
		sums = append(sums, sumOf(s))
	}
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, sums)))
}

// result waits for an agent's end.
func (w *worker) result(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.ended:
		return err
	case <-t.Context().Done():
		t.Fatalf("worker %s does not end", w.id)
		return nil
	}
}

// ended waits for the run's end, and returns the workers.
func (s *site) ended(p cluster.Phase, workers []*worker) []*worker {
	s.t.Helper()
	s.until("the end", func(st control.Status) bool { return st.Phase == p })
	return workers
}

// leave lets workers hand over what they carry, and waits for their end.
func leave(t *testing.T, workers ...*worker) {
	t.Helper()
	for _, w := range workers {
		close(w.drain)
	}
	for _, w := range workers {
		if err := w.result(t); err != nil {
			t.Errorf("worker %s: %v", w.id, err)
		}
	}
}

// stepsOf are the reported steps.
func (s *site) stepsOf(run string) (steps []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.reports {
		if r.Run == run {
			steps = append(steps, r.Step)
		}
	}
	return steps
}

func rising(n int) []int {
	v := make([]int, n)
	for i := range v {
		v[i] = i + 1
	}
	return v
}

// want fails the test unless the error's text has all the parts.
func want(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil || slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(err.Error(), p) }) {
		t.Errorf("error %v; want one that contains %q", err, parts)
	}
}
