package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"pupil/coordinator/control"
	"pupil/coordinator/wire"
)

// crew are the worker processes of a run. One that dies is replaced by a new one, a bounded number of times.
type crew struct {
	execution *execution
	binary    string
	args      []string
	users     control.Credentials
	end       context.CancelFunc
	wait      sync.WaitGroup
	alone     chan struct{} // closed when the last process has ended, and none replaces it

	mu    sync.Mutex
	alive int    // places that have a process, or will get one
	last  string // how the last one ended
}

func startCrew(ctx context.Context, e *execution, broker *control.Broker) (*crew, error) {
	c := &crew{execution: e, alone: make(chan struct{}), alive: e.config.Workers}
	var err error
	if c.binary, err = WorkerBinary(e.config.WorkerBinary); err != nil {
		return nil, err
	}
	ctx, c.end = context.WithCancel(ctx)
	c.users = broker.Users()
	c.args = []string{"join", "--end-with-stdin", "--nats-url", broker.URL(), "--threads", strconv.Itoa(e.config.Threads)}
	switch e.dataPlane() {
	case wire.LocalPlane:
		c.args = append(c.args, "--ring-listen", "127.0.0.1:0", "--ring-plain")
	case wire.MeshPlane:
		c.args = append(c.args, "--ring-listen", "127.0.0.1:0")
	}
	if e.config.LogLevel != "" {
		c.args = append(c.args, "--log-level", e.config.LogLevel)
	}
	c.args = append(append(c.args, e.config.teacherCache()...), e.config.tracing()...)
	for i := range e.config.Workers {
		id := "worker-" + strconv.Itoa(i)
		p, err := c.start(ctx, id)
		if err != nil {
			c.dismiss()
			return nil, err
		}
		c.wait.Go(func() { c.look(ctx, p) })
	}
	return c, nil
}

func (c *crew) start(ctx context.Context, id string) (*process, error) {
	e := c.execution
	args := append(slices.Clone(c.args), "--id", id)
	as := c.users.WorkerAccess(id, "*", time.Time{}, "")
	env := []string{"PUPIL_NATS_USER=" + as.User, "PUPIL_NATS_PASSWORD=" + as.Password}
	p, err := startProcess(ctx, c.binary, id, filepath.Join(e.place.folder, logFolder), env, args)
	if err == nil {
		e.config.Display.Notice(fmt.Sprintf("%s started (pid %d)", id, p.cmd.Process.Pid))
	}
	return p, err
}

// look waits for a process's end and replaces it, until it has left of its own will or has died too often.
func (c *crew) look(ctx context.Context, p *process) {
	for died := 1; ; died++ {
		how, again := p.wait()
		if ctx.Err() != nil { // the run is over
			return
		}
		reason := fmt.Sprintf("its process (pid %d) %s; what it wrote: %s", p.cmd.Process.Pid, how, p.logPath)
		if !again || died > c.execution.config.Respawn {
			c.tell(ctx, p.id, reason, false)
			c.leaves(p.id + ": " + reason)
			return
		}
		c.tell(ctx, p.id, reason, true)
		if !pause(ctx, died) {
			return
		}
		next, err := c.start(ctx, p.id)
		if err != nil {
			c.leaves(fmt.Sprintf("%s: %v", p.id, err))
			return
		}
		p = next
	}
}

// tell tells the coordinator of a death at once: sooner than the broker could. One that a new process follows is none
// to a run that still waits for its workers.
func (c *crew) tell(ctx context.Context, id, reason string, follows bool) {
	if follows && !c.execution.joined(id) {
		c.execution.config.Display.Notice(id + ": " + reason)
		return
	}
	// After the run's end nobody minds; a service that has ended neither.
	_ = c.execution.service.WorkerLost(context.WithoutCancel(ctx), id, reason)
}

// pause waits before a process is started for the second time and later, so that one that dies at once does not keep
// the machine busy.
func pause(ctx context.Context, died int) bool {
	if died == 1 {
		return ctx.Err() == nil
	}
	const longest = 10 * time.Second
	timer := time.NewTimer(min(longest, time.Second<<min(died-2, 10)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// leaves counts a place that stays empty.
func (c *crew) leaves(how string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alive--
	c.last = how
	if c.alive == 0 {
		close(c.alone)
	}
}

// dismiss ends the workers that are still there, and waits for them.
func (c *crew) dismiss() {
	c.end()
	c.wait.Wait()
}

// evaluation is what `worker eval --json` prints.
type evaluation struct {
	KNN      Scores   `json:"knn"`
	Probe    Scores   `json:"probe"`
	Accuracy *float64 `json:"accuracy"`
}

// evaluate measures the finished student in a worker process.
func (e *execution) evaluate(ctx context.Context, s *Summary) error {
	s.Student = e.place.student()
	if e.config.Spec.Dataset.Test == "" {
		return nil
	}
	e.config.Display.Notice("evaluating on the held-out images")
	binary, err := WorkerBinary(e.config.WorkerBinary)
	if err != nil {
		return err
	}
	var out, messages bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, "eval", e.place.where, "--json", "--end-with-stdin",
		"--threads", strconv.Itoa(e.config.Workers*e.config.Threads))
	cmd.Env = WorkerEnvironment()
	cmd.Stdout, cmd.Stderr = &out, &messages
	cmd.SysProcAttr = ownGroup()
	life, err := cmd.StdinPipe() // as for a worker: it ends with this process
	if err != nil {
		return err
	}
	defer life.Close()
	if err := cmd.Run(); err != nil && ctx.Err() != nil {
		return fmt.Errorf("training is done, but the evaluation was interrupted; make it with: %s", e.hint())
	} else if err != nil {
		return fmt.Errorf("training is done, but the evaluation failed: %w: %s\ntry it again with: %s", err,
			bytes.TrimSpace(messages.Bytes()), e.hint())
	}
	var v evaluation
	if err := json.Unmarshal(out.Bytes(), &v); err != nil {
		return fmt.Errorf("read the evaluation: %w", err)
	}
	s.KNN, s.Probe, s.Accuracy = v.KNN, v.Probe, v.Accuracy
	return nil
}
