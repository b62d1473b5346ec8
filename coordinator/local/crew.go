package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"

	"pupil/coordinator/control"
	"pupil/coordinator/wire"
)

// crew are the worker processes of a run.
type crew struct {
	end  context.CancelFunc
	wait sync.WaitGroup
}

func startCrew(ctx context.Context, e *execution, broker *control.Broker) (*crew, error) {
	binary, err := WorkerBinary(e.config.WorkerBinary)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &crew{end: cancel}
	user, password := broker.Worker()
	env := []string{"PUPIL_NATS_USER=" + user, "PUPIL_NATS_PASSWORD=" + password}
	for i := range e.config.Workers {
		id := "worker-" + strconv.Itoa(i)
		args := []string{"join", "--end-with-stdin", "--nats-url", broker.URL(), "--id", id, "--threads", strconv.Itoa(e.config.Threads)}
		if e.config.DataPlane == wire.MeshPlane {
			args = append(args, "--ring-listen", "127.0.0.1:0")
		}
		if e.config.LogLevel != "" {
			args = append(args, "--log-level", e.config.LogLevel)
		}
		p, err := startProcess(ctx, binary, id, filepath.Join(e.place.folder, logFolder), env, args)
		if err != nil {
			c.dismiss()
			return nil, err
		}
		e.config.Display.Notice(fmt.Sprintf("%s started (pid %d)", id, p.cmd.Process.Pid))
		c.wait.Go(func() {
			how, _ := p.wait()
			reason := fmt.Sprintf("its process (pid %d) %s; what it wrote: %s", p.cmd.Process.Pid, how, p.logPath)
			// After the run's end nobody minds; a service that has ended neither.
			_ = e.service.WorkerLost(context.WithoutCancel(ctx), id, reason)
		})
	}
	return c, nil
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
