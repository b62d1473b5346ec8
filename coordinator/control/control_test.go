package control_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/wire"
	"pupil/worker/agent"
)

func TestFinish(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 3; n++ {
		t.Run(fmt.Sprintf("%d workers", n), func(t *testing.T) {
			s := start(t, t.TempDir(), nil)
			s.submit("a", n)
			workers := s.works(n, &trainer{steps: 10})
			st := s.over(cluster.Finished)
			leave(t, workers...)
			if st.Step != 10 || st.Total != 10 || st.Generation != 1 || st.Weights != weights(10) {
				t.Errorf("status %+v", st)
			}
			if want := []int{4, 8}; !slices.Equal(st.Checkpoints, want) {
				t.Errorf("checkpoints %v, want %v", st.Checkpoints, want)
			}
			if got := s.stepsOf("a"); !slices.Equal(got, rising(10)) {
				t.Errorf("reported steps %v", got)
			}
			st = s.until("all workers to leave", func(st control.Status) bool { return len(st.Workers) == 0 })
			if st.Phase != cluster.Finished {
				t.Errorf("the run is %s (%s) after the workers have left", st.Phase, st.Reason)
			}
		})
	}
}

// TestQueue carries two runs, one after the other, by the same workers.
func TestQueue(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil)
	s.submit("a", 2)
	s.submit("b", 1)
	want(t, s.service.Submit(t.Context(), submission("a", 1)), "there is a run a")
	workers := s.works(2, &trainer{steps: 5})
	st := s.until("the end of both", func(st control.Status) bool { return st.Run == "b" && st.Phase.Over() })
	if st.Phase != cluster.Finished || st.Step != 5 || st.Generation != 2 {
		t.Errorf("status %+v", st)
	}
	leave(t, workers...)
}

func TestStopAndResume(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil)
	s.submit("a", 2)
	reached, goOn := make(chan struct{}), make(chan struct{})
	held := &trainer{steps: 9, after: func(a agent.Assignment, step int) error {
		if step == 2 && a.Rank == 1 {
			close(reached)
			<-goOn
		}
		return nil
	}}
	workers := s.works(2, held)
	<-reached
	if err := s.service.Stop(t.Context(), "the user has interrupted"); err != nil {
		t.Fatal(err)
	}
	s.until("the workers to hear", func(st control.Status) bool {
		return len(st.Workers) == 2 && st.Workers[0].Activity == wire.Stopping && st.Workers[1].Activity == wire.Stopping
	})
	close(goOn)
	st := s.over(cluster.Stopped)
	leave(t, workers...)
	if st.Step != 3 && st.Step != 4 || st.Reason != "the user has interrupted" || st.Checkpoints[0] != st.Step {
		t.Errorf("status %+v", st)
	}
	if st.Weights != weights(st.Step) {
		t.Errorf("weights %s, want %s", st.Weights, weights(st.Step))
	}

	again := submission("a", 1)
	again.Restore = st.Checkpoints[0]
	if err := s.service.Resume(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	s.work("other", &trainer{steps: 9})
	st = s.until("the end of the second start", func(st control.Status) bool { return st.Phase == cluster.Finished })
	if st.Generation != 2 || st.Weights != weights(9) {
		t.Errorf("status %+v", st)
	}
	if got := s.stepsOf("a"); !slices.Equal(got, rising(9)) {
		t.Errorf("reported steps %v", got)
	}
	want(t, s.service.Resume(t.Context(), again), "has finished")
	if err := s.service.Stop(t.Context(), "nothing is there to stop"); err != nil {
		t.Error(err)
	}
}

// child is a worker process. It carries steps until it is killed.
func child(url string) int {
	c := agent.Config{
		URL: url, User: "worker child * 0", Password: os.Getenv(childVariable + "_PASSWORD"), ID: "child", Threads: 1,
		Version: version, Kernel: "generic", RingListen: os.Getenv(childVariable + "_RING"),
	}
	fmt.Fprintln(os.Stderr, agent.Run(context.Background(), c, &trainer{steps: 1 << 30}))
	return 1
}

// child starts a worker process. environment is added to its own.
func (s *site) child(environment ...string) *exec.Cmd {
	s.t.Helper()
	password := s.broker.Users().WorkerAccess("child", "*", time.Time{}, "").Password
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), environment...), childVariable+"="+cmp.Or(s.url, s.broker.URL()), childVariable+"_PASSWORD="+password)
	cmd.Stderr = s.t.Output()
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return cmd
}

// TestKilledWorker kills a worker process in the middle of a run, of which its connection's end tells. The others go on
// from where they stand.
func TestKilledWorker(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil)
	s.submit("a", 3)
	cmd := s.child()
	s.works(2, &trainer{steps: 1 << 30})
	s.until("some steps", func(st control.Status) bool { return st.Step > 20 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	st := s.until("the run to wait", func(st control.Status) bool { return st.Phase == cluster.Waiting && st.Generation > 0 })
	want(t, errors.New(st.Reason), "worker child was lost: its connection closed", "2 of 3 workers are left")
	s.work("w2", &trainer{steps: 1 << 30})
	before := st.Step
	st = s.until("more steps", func(st control.Status) bool { return st.Phase == cluster.Running && st.Step > before+5 })
	if got := s.stepsOf("a"); !slices.IsSorted(got) { // one may be missing: that of a report that was under way
		t.Errorf("reported steps %v", got)
	}
	if st.Generation != 2 {
		t.Errorf("status %+v", st)
	}
}

// TestWorkerLost is told of a death by the process's parent, before and after the worker has joined. One that lives,
// though the coordinator was told otherwise, joins again.
func TestWorkerLost(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil)
	s.submit("a", 2)
	if err := s.service.WorkerLost(t.Context(), "w7", "exit status 2"); err != nil {
		t.Fatal(err)
	}
	want(t, errors.New(s.over(cluster.Failed).Reason), "worker w7 was lost: exit status 2")

	if err := s.service.Resume(t.Context(), submission("a", 1)); err != nil {
		t.Fatal(err)
	}
	workers := s.works(2, &trainer{steps: 1 << 30})
	s.until("some steps of both", func(st control.Status) bool {
		return st.Step > 5 && len(st.Workers) == 2 && st.Workers[0].Rank >= 0 && st.Workers[1].Rank >= 0
	})
	if err := s.service.WorkerLost(t.Context(), "w1", "signal: killed"); err != nil {
		t.Fatal(err)
	}
	s.until("both again", func(st control.Status) bool {
		return len(st.Workers) == 2 && st.Workers[0].Rank >= 0 && st.Workers[1].Rank >= 0 && st.Generation >= 3
	})
	if err := s.service.WorkerLost(t.Context(), "w9", "again"); err != nil {
		t.Error(err)
	}
	if err := s.service.Stop(t.Context(), "enough"); err != nil {
		t.Fatal(err)
	}
	s.until("the stop", func(st control.Status) bool { return st.Phase == cluster.Stopped })
	leave(t, workers...)
}

// TestJoinAndLeave lets workers come and go in mid-run. No step is lost, and none is made twice.
func TestJoinAndLeave(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil)
	s.submit("a", 1)
	train := &trainer{steps: 1 << 30}
	first := s.work("w0", train)
	s.until("some steps", func(st control.Status) bool { return st.Step > 5 })
	second := s.work("w1", train)
	s.until("two members", func(st control.Status) bool {
		return len(st.Workers) == 2 && len(st.Workers[0].Lanes) == 2 && len(st.Workers[1].Lanes) == 2
	})
	leave(t, first)
	st := s.until("the second alone", func(st control.Status) bool {
		return len(st.Workers) == 1 && len(st.Workers[0].Lanes) == lanes && st.Step > 10
	})
	if st.Generation != 3 {
		t.Errorf("generation %d, want 3", st.Generation)
	}
	leave(t, second) // nobody is there to take over: it saves a checkpoint
	st = s.until("the run to wait", func(st control.Status) bool { return st.Phase == cluster.Waiting && len(st.Workers) == 0 })
	if n := len(st.Checkpoints); st.Checkpoints[n-1] != st.Step {
		t.Errorf("the last worker left after step %d, the checkpoints are %v", st.Step, st.Checkpoints)
	}
	if got := s.stepsOf("a"); !slices.Equal(got, rising(len(got))) {
		t.Errorf("reported steps %v", got)
	}
}

// TestSlowWorker: lanes move away from a worker that computes slowly, which is named, and back when it is fast again.
func TestSlowWorker(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil)
	s.submit("a", 2)
	var slow atomic.Bool
	slow.Store(true)
	workers := s.works(2, &trainer{steps: 1 << 30, slow: func(worker string) bool { return worker == "w1" && slow.Load() }})
	carries := func(w1 int) func(control.Status) bool {
		return func(st control.Status) bool {
			return len(st.Workers) == 2 && st.Workers[1].ID == "w1" && len(st.Workers[1].Lanes) == w1
		}
	}
	st := s.until("lanes to move away from w1", carries(1))
	if !slices.ContainsFunc(st.Events, func(e cluster.Event) bool {
		return strings.Contains(e.Text, "worker w1 is slow, it computes a lane in 1s")
	}) {
		t.Error("no event names the slow worker")
	}
	slow.Store(false)
	s.until("lanes to move back", carries(2))
	if err := s.service.Stop(t.Context(), "enough"); err != nil {
		t.Fatal(err)
	}
	s.until("the stop", func(st control.Status) bool { return st.Phase == cluster.Stopped })
	leave(t, workers...)
}

// TestTrainerFails: the reason names the worker whose trainer failed, and not the others, whose ring broke only.
func TestTrainerFails(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil)
	s.submit("a", 3)
	s.works(3, &trainer{steps: 1 << 30, after: func(a agent.Assignment, step int) error {
		if step == 6 && a.Rank == 1 {
			return errors.New("shard 3 is broken")
		}
		return nil
	}})
	st := s.over(cluster.Failed)
	if !strings.HasSuffix(st.Reason, ": shard 3 is broken") {
		t.Errorf("reason %q", st.Reason)
	}
	s.until("all to let go", func(st control.Status) bool {
		return len(st.Workers) == 3 && !slices.ContainsFunc(st.Workers, func(w control.WorkerStatus) bool { return w.Activity != wire.Idle })
	})
}

// TestSignal ends a worker by its context, as a second signal does: the run waits for another one.
func TestSignal(t *testing.T) {
	s := start(t, t.TempDir(), nil)
	s.submit("a", 1)
	w := s.work("w0", &trainer{steps: 1 << 30})
	s.until("some steps", func(st control.Status) bool { return st.Step > 5 })
	w.end(errors.New("interrupted by a signal"))
	want(t, w.result(t), "interrupted by a signal")
	st := s.until("the run to wait", func(st control.Status) bool { return st.Phase == cluster.Waiting })
	want(t, errors.New(st.Reason), "worker w0 left; 0 of 1 workers are left")
}

// TestRestart ends the coordinator in mid-run, in order or by taking its broker away, and begins again with its folder.
func TestRestart(t *testing.T) {
	t.Parallel()
	for _, orderly := range []bool{true, false} {
		t.Run(fmt.Sprintf("orderly %v", orderly), func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			s := start(t, folder, func(c *control.Config) { c.Timeout = time.Second })
			s.submit("a", 2)
			workers := s.works(2, &trainer{steps: 1 << 30})
			s.until("the plan", func(st control.Status) bool { return st.Generation > 0 })
			workers = append(workers, s.work("idle", &trainer{}))
			idle := workers[2]
			s.until("a worker without a plan, that knows it", func(st control.Status) bool {
				return len(st.Workers) == 3 && idle.joined.Load()
			})
			s.until("a checkpoint", func(st control.Status) bool { return len(st.Checkpoints) > 0 })
			if !orderly {
				s.broker.Close()
			}
			s.end()
			for _, w := range workers {
				err := w.result(t)
				if !errors.Is(err, agent.ErrCoordinatorGone) {
					t.Errorf("worker %s: error %v", w.id, err)
				}
				if orderly {
					want(t, err, "the coordinator is gone: it was ended")
				}
			}
			if err := s.service.Submit(t.Context(), submission("b", 1)); !errors.Is(err, control.ErrClosed) {
				t.Errorf("submit to a service that has ended: error %v", err)
			}

			s = start(t, folder, nil)
			st := s.until("a", func(st control.Status) bool { return st.Run == "a" })
			if st.Phase != cluster.Waiting || st.Generation != 1 || len(st.Checkpoints) == 0 {
				t.Errorf("after the restart the status is %+v", st)
			}
			want(t, errors.New(st.Reason), "the coordinator was restarted")
			again := submission("a", 3)
			again.Restore = st.Checkpoints[0]
			if err := s.service.Resume(t.Context(), again); err != nil {
				t.Fatal(err)
			}
			total := st.Checkpoints[0] + 5
			leave(t, s.ended(cluster.Finished, s.works(3, &trainer{steps: total}))...)
			if st = s.over(cluster.Finished); st.Generation != 2 || st.Weights != weights(total) {
				t.Errorf("status %+v", st)
			}
		})
	}
}

func TestRefusedWorkers(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), nil)
	ctx := t.Context()
	c := s.config("w0")
	c.Password = "guess"
	want(t, agent.Run(ctx, c, &trainer{}), "connect to the coordinator at nats://127.0.0.1:", "Authorization", "--coordinator")

	c = s.config("w0")
	c.URL, c.JoinTimeout = "nats://127.0.0.1:1", 300*time.Millisecond
	want(t, agent.Run(ctx, c, &trainer{}), "connect to the coordinator at nats://127.0.0.1:1")

	s.work("w0", &trainer{})
	s.until("w0", func(st control.Status) bool { return len(st.Workers) == 1 })
	c = s.config("w0")
	c.JoinTimeout = time.Second
	want(t, agent.Run(ctx, c, &trainer{}),
		"did not take worker w0 in within 1s: the coordinator refused: ", "belongs to process")

	err := agent.Run(ctx, agent.Config{ID: "no good", JoinTimeout: -1}, &trainer{})
	want(t, err, "url is missing", "version is missing", "kernel is missing", "threads is 0", "join timeout",
		`contains ' '`)
}

// TestJoinTimeout: a run begins with fewer workers than it asks for when the others do not come.
func TestJoinTimeout(t *testing.T) {
	s := start(t, t.TempDir(), func(c *control.Config) { c.Decide.JoinTimeout = 50 * time.Millisecond })
	sub := submission("a", 1)
	sub.Workers = 2
	if err := s.service.Submit(t.Context(), sub); err != nil {
		t.Fatal(err)
	}
	s.work("w0", &trainer{steps: 3})
	s.over(cluster.Finished)
}

func TestConfig(t *testing.T) {
	_, err := control.New(control.Config{CommitInterval: -1})
	want(t, err, "broker is missing", "log is missing", "version is missing", "timeout is 0s", "ring deadline is 0s",
		"commit interval is -1ns", "join timeout is 0s", "stop timeout is 0s")
	s := start(t, t.TempDir(), nil)
	taken, err := url.Parse(s.broker.URL())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(taken.Port())
	if err != nil {
		t.Fatal(err)
	}
	_, err = control.StartBroker(control.BrokerOptions{Port: port})
	want(t, err, "start broker: ", taken.Host, "in use")
	for _, c := range []struct {
		change func(*cluster.Submission)
		want   string
	}{
		{func(c *cluster.Submission) { c.Run = "a b" }, "contains ' '"},
		{func(c *cluster.Submission) { c.Spec = nil }, "has no job"},
		{func(c *cluster.Submission) { c.MinWorkers = 0 }, "asks for 0 workers"},
		{func(c *cluster.Submission) { c.Restore = -2 }, "restore_step is -2"},
		{func(c *cluster.Submission) { c.Storage = strings.Repeat("x", 5000) }, "storage has 5000 bytes"},
	} {
		sub := submission("a", 1)
		c.change(&sub)
		want(t, s.service.Submit(t.Context(), sub), c.want)
		want(t, s.service.Resume(t.Context(), sub), c.want)
	}
	want(t, s.service.Run(t.Context()), "has run already")
	if st := s.service.Status(); st.Run != "" || !reflect.DeepEqual(st.Workers, []control.WorkerStatus(nil)) {
		t.Errorf("status %+v", st)
	}
}
