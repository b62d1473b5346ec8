// Package local runs a whole job on this machine: an embedded broker, a coordinator with its durable log, and worker
// processes. What a run has reached lies in one folder, from which it goes on after a stop, a failure or a kill.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/job"
	"pupil/coordinator/raftlog"
	"pupil/coordinator/wire"
	"pupil/storage"
	"pupil/storage/checkpoint"
)

// Config says what to run, and how.
type Config struct {
	Spec         *job.Spec
	Program      string         // as the user called it, for the hint on how to go on
	LogLevel     string         // of the workers
	JobFile      string         // as the user named it, for the hint on how to go on
	Overrides    []string       // KEY=VALUE of --set, for the hint as well; they are in Spec already
	Storage      string         // folder or URL of the run; "": a new one below runs/
	Resume       bool           // go on with the run in Storage, or with the newest one of the job
	Workers      int            // processes; at least 1
	MinWorkers   int            // with fewer the job waits; at least 1
	Respawn      int            // how often a worker's process that has died is replaced by a new one, each
	Threads      int            // of each worker; at least 1
	WorkerBinary string         // "": beside this executable
	DataPlane    wire.DataPlane // "": wire.LocalPlane
	Page         string         // host:port of a web page about the run, on this machine; "": none
	TeacherCache string         // folder in which the workers keep the teacher's outputs; "": none

	TeacherCacheSize string // its limit, as 20GB; "": the worker's default

	TraceURL   string // collector of the workers' traces; "": what their environment says
	TraceEvery int    // one of so many steps is traced; 0: the worker's default

	Version string // of this build
	Display Display
	Logger  *slog.Logger
}

// Display shows a run to a person.
type Display interface {
	Notice(text string)     // a line
	Progress(r wire.Report) // a committed step
	Close()                 // no more progress comes
}

// Failure is a run that ended before its last step. Its message says why and how to go on.
type Failure struct {
	Reason string
	Step   int    // committed steps
	Hint   string // the command that goes on
}

func (f *Failure) Error() string {
	return fmt.Sprintf("the job failed after step %d: %s\ngo on with: %s", f.Step, f.Reason, f.Hint)
}

// Run carries a job to its end. A close of stop lets it finish its step, save a checkpoint and end; the end of ctx ends
// it at once. The Summary's outcome is "finished" or "stopped"; a run that failed gives a *Failure. When training is done
// and only its evaluation failed or was interrupted, there are a Summary and an error.
func Run(ctx context.Context, c Config, stop <-chan struct{}) (*Summary, error) {
	if !c.Resume {
		if err := checkInputs(ctx, c.Spec); err != nil {
			return nil, err
		}
	}
	var page net.Listener
	if c.Page != "" {
		var err error
		if page, err = listenPage(c.Page); err != nil {
			return nil, err
		}
		defer page.Close()
	}
	place, err := open(ctx, c, time.Now())
	if err != nil {
		return nil, err
	}
	if done, err := place.summary(ctx, wire.SummaryName); done != nil || err != nil {
		return done, err
	}
	if c.Resume {
		if err := checkInputs(ctx, c.Spec); err != nil {
			return nil, err
		}
	}
	if place.where == place.folder {
		c.Display.Notice("run folder: " + place.folder)
	} else {
		c.Display.Notice("run: " + place.where + "; logs: " + place.folder)
	}
	e := &execution{config: c, place: place, page: page}
	summary, err := e.run(ctx, stop)
	c.Display.Close()
	if err != nil || summary.Outcome != string(cluster.Finished) {
		return summary, err
	}
	// The evaluation can be interrupted, and is then made by --resume.
	if err := place.put(ctx, trainedName, summary); err != nil {
		return nil, err
	}
	evaluating, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-evaluating.Done():
		}
	}()
	if err := e.evaluate(evaluating, summary); err != nil {
		return summary, err
	}
	return summary, place.put(ctx, wire.SummaryName, summary)
}

// summary returns what a finished run has reached, or nil.
func (r *run) summary(ctx context.Context, name string) (*Summary, error) {
	data, err := storage.ReadAll(ctx, r.bucket, name, 1<<20)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s Summary
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s in %s: %w", name, r.where, err)
	}
	return &s, nil
}

// silence is how long a worker or the coordinator may be silent. On one machine a death is seen at once, by the end of the
// process, and a busy machine can hold up any process for seconds.
const silence = 15 * time.Second

// execution is one start of a run.
type execution struct {
	config  Config
	place   *run
	page    net.Listener // nil: none
	service *control.Service
	pace    pace
}

func (e *execution) run(ctx context.Context, stop <-chan struct{}) (*Summary, error) {
	broker, err := control.StartBroker(control.BrokerOptions{})
	if err != nil {
		return nil, err
	}
	defer broker.Close()
	log, err := raftlog.Open(ctx, filepath.Join(e.place.folder, raftFolder), raftlog.Options{Logger: e.config.Logger})
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c := control.DefaultConfig()
	c.Timeout = silence
	c.Broker, c.Log, c.Version, c.Logger = broker, log, e.config.Version, e.config.Logger
	c.DataPlane = e.dataPlane()
	c.OnReport = func(r wire.Report) {
		e.pace.add(time.Now(), r)
		e.config.Display.Progress(r)
	}
	if e.service, err = control.New(c); err != nil {
		return nil, err
	}
	serving, halt := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- e.service.Run(serving) }()
	if e.page != nil {
		defer e.servePage(e.page, broker, log)()
	}
	summary, err := e.carry(ctx, broker, log, stop)
	halt()
	return summary, errors.Join(err, <-ended)
}

// carry starts the workers, submits the run and waits for its end.
func (e *execution) carry(ctx context.Context, broker *control.Broker, log *raftlog.Log, stop <-chan struct{}) (*Summary, error) {
	finished, err := e.submit(ctx, log)
	if finished != nil || err != nil {
		return finished, err
	}
	crew, err := startCrew(ctx, e, broker)
	if err != nil {
		return nil, err
	}
	defer crew.dismiss()
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := e.service.Watch(watch)
	news := newNews(log.State())
	for {
		select {
		case <-crew.alone:
			s := e.service.Status()
			if s.Phase.Over() { // the run ended first, and this select took the other one
				return e.conclude(s)
			}
			return nil, &Failure{Reason: "no worker is left; " + crew.last, Step: s.Step, Hint: e.hint()}
		case s, open := <-changes:
			if !open && ctx.Err() != nil {
				return nil, fmt.Errorf("interrupted; go on with: %s", e.hint())
			}
			if !open {
				return nil, fmt.Errorf("the coordinator ended; go on with: %s", e.hint())
			}
			news.tell(s.Events, e.config.Display)
			e.pace.told(s.Workers)
			if s.Phase.Over() {
				return e.conclude(s)
			}
		case <-stop:
			stop = nil
			e.config.Display.Notice("stopping: the step is finished and a checkpoint saved; interrupt again to end at once")
			if err := e.service.Stop(ctx, "interrupted by the user"); err != nil {
				return nil, err
			}
		}
	}
}

// submit gives the run to the coordinator: a new one, or one that its log knows already. Of one whose training has
// finished it returns the summary; only the evaluation is missing.
func (e *execution) submit(ctx context.Context, log *raftlog.Log) (finished *Summary, err error) {
	restore, passed, err := e.restoreStep(ctx)
	if err != nil {
		return nil, err
	}
	c := e.config
	sub := cluster.Submission{
		Run: e.place.name, Spec: c.Spec, Digest: c.Spec.Digest(), Storage: e.place.url, MinWorkers: min(c.MinWorkers, c.Workers), Workers: c.Workers, Restore: restore,
		Passed: passed,
	}
	if log.State().Run(sub.Run) == nil {
		return nil, e.service.Submit(ctx, sub)
	}
	// A run that was under way waits, since its coordinator was gone; or has finished, if all its workers had said so.
	err = e.service.Resume(ctx, sub)
	if known := log.State().Run(sub.Run); known.Phase == cluster.Finished {
		return e.finished(ctx, known)
	}
	return nil, err
}

// finished is the summary of a run whose training ended in an earlier start.
func (e *execution) finished(ctx context.Context, r *cluster.Run) (*Summary, error) {
	e.config.Display.Notice("training is done already")
	if s, err := e.place.summary(ctx, trainedName); s != nil || err != nil {
		return s, err
	}
	return e.conclude(control.Status{Phase: r.Phase, Step: r.EndedStep, Total: r.EndedStep, Weights: r.Weights})
}

// restoreStep is the newest whole checkpoint, or -1, and why newer ones are not used.
func (e *execution) restoreStep(ctx context.Context) (step int, passed []string, err error) {
	newest, refused, err := checkpoint.Latest(ctx, e.place.bucket)
	for _, f := range refused {
		passed = append(passed, f.String())
		e.config.Display.Notice(f.String())
	}
	switch {
	case errors.Is(err, checkpoint.ErrNone):
		if e.config.Resume {
			e.config.Display.Notice("there is no checkpoint yet: beginning with step 1")
		}
		return -1, passed, nil
	case err != nil:
		return 0, nil, err
	}
	e.config.Display.Notice(fmt.Sprintf("going on after step %d", newest.Step))
	return newest.Step, passed, nil
}

// conclude turns the end of a run into a summary or a failure.
func (e *execution) conclude(s control.Status) (*Summary, error) {
	if s.Phase == cluster.Failed {
		return nil, &Failure{Reason: s.Reason, Step: s.Step, Hint: e.hint()}
	}
	c := e.config
	out := &Summary{
		Job: c.Spec.Name, Outcome: string(s.Phase), Steps: s.Step, TotalSteps: s.Total, Workers: c.Workers, Threads: c.Threads,
		Seconds: e.pace.seconds(), ImagesPerSecond: e.pace.imagesPerSecond(),
		SkippedImages: e.pace.skipped, SaturatedValues: e.pace.saturated,
		WeightsSHA256: s.Weights, JobDigest: c.Spec.Digest(), Version: c.Version,
		Folder: e.place.where, Ended: time.Now().UTC(),
		Communication: communication(slices.Collect(maps.Values(e.pace.workers))),
	}
	if last := e.pace.last; last != nil {
		out.Loss, out.MutualInformation, out.TotalSteps = last.Loss, last.MutualInformation, last.Total
		out.UsedClasses, out.Health = int(last.Health["used_classes"]), e.pace.health
	}
	if out.TotalSteps == 0 { // no worker has told
		out.TotalSteps = c.Spec.Steps
	}
	if len(s.Workers) > 0 {
		out.Kernel = s.Workers[0].Kernel
	}
	if s.Phase == cluster.Stopped {
		out.Resume = e.hint()
	}
	return out, nil
}
