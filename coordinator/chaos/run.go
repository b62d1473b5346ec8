package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/audit"
	"pupil/coordinator/cluster"
	"pupil/coordinator/job"
	"pupil/coordinator/wire"
	"pupil/internal/random"
)

// Config says what is run, and what is done to it.
type Config struct {
	Spec          *job.Spec
	Schedule      Schedule
	Workers       int           // at the beginning; at least 1
	Coordinators  int           // 1, 3 or 5
	Threads       int           // of a worker; at least 1
	WorkerTimeout time.Duration // a worker that is silent for so long is lost
	Netns         bool          // each process is on a host of its own, a network namespace; see CheckNetns
	Mesh          bool          // the ring's data goes straight between the workers; with Netns
	Folder        string        // for the processes' state and logs; made anew
	Binaries      Binaries
	Say           func(string) // what happens, a line each
}

// Validate lists all that is wrong.
func (c Config) Validate() error {
	var errs []error
	if c.Workers < 1 {
		errs = append(errs, fmt.Errorf("workers is %d; it must be at least 1", c.Workers))
	}
	if c.Coordinators != 1 && c.Coordinators != 3 && c.Coordinators != 5 {
		errs = append(errs, fmt.Errorf("coordinators is %d; it must be 1, 3 or 5", c.Coordinators))
	}
	if c.Threads < 1 {
		errs = append(errs, fmt.Errorf("threads is %d; it must be at least 1", c.Threads))
	}
	if c.WorkerTimeout < time.Second {
		errs = append(errs, fmt.Errorf("worker timeout is %s; it must be at least 1s", c.WorkerTimeout))
	}
	if c.Netns {
		errs = append(errs, CheckNetns())
	} else if c.Mesh {
		errs = append(errs, errors.New("a mesh needs network namespaces: on loopback its links are out of reach for faults"))
	}
	for i, f := range c.Schedule.Faults {
		if f.needsNetns() && !c.Netns {
			errs = append(errs, fmt.Errorf("faults[%d]: %s needs network namespaces (--netns): on loopback workers alone can be cut off", i, f))
		}
		if f.Do == Full && os.Geteuid() != 0 {
			errs = append(errs, fmt.Errorf("faults[%d]: %w", i, errNeedsRoot))
		}
		name, number, _ := strings.Cut(f.Whom, "-")
		var n int
		if _, err := fmt.Sscan(number, &n); err != nil {
			continue
		}
		if name == "coordinator" && n >= c.Coordinators {
			errs = append(errs, fmt.Errorf("faults[%d] strikes %s; there are only %d coordinators", i, f.Whom, c.Coordinators))
		}
	}
	return errors.Join(append(errs, c.Schedule.Validate())...)
}

func (c Config) dataPlane() string {
	if c.Mesh {
		return string(wire.MeshPlane)
	}
	return string(wire.BrokerPlane)
}

// outcome is how a run ended.
type outcome struct {
	*api.Detail
	commits []commit
	lost    int // committed steps that were made again
	made    []Injected
	audit   *audit.Report
}

// Run makes the quiet run, then the one with the faults, and compares them. A report comes also with an error that says
// what is wrong with the result: ErrDiffers.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Say(fmt.Sprintf("quiet run: %d workers, 1 coordinator, no faults", c.Workers))
	quiet, err := once(ctx, c, "quiet", 1, Schedule{})
	if err != nil {
		return nil, fmt.Errorf("quiet run: %w", err)
	}
	if quiet.Phase != cluster.Finished {
		return nil, fmt.Errorf("the quiet run %s: %s; mend that first", quiet.Phase, quiet.Reason)
	}
	c.Say(fmt.Sprintf("run with faults: %d workers, %d coordinators, %d faults over %s", c.Workers, c.Coordinators,
		len(c.Schedule.Faults), c.Schedule.End().Round(time.Second)))
	struck, err := once(ctx, c, "struck", c.Coordinators, c.Schedule)
	if err != nil {
		return nil, fmt.Errorf("run with faults: %w", err)
	}
	r := report(c, quiet, struck)
	return r, r.judge()
}

const runName = "chaos"

// once runs the job in a site of its own.
func once(ctx context.Context, c Config, name string, coordinators int, schedule Schedule) (*outcome, error) {
	s, err := openSite(ctx, c, filepath.Join(c.Folder, name), coordinators, schedule)
	defer s.close()
	if err != nil {
		return nil, err
	}
	out, err := s.train(ctx, c, schedule)
	if err != nil {
		return nil, s.died(err)
	}
	out.audit, err = s.auditRun(ctx, c.Spec, out.Detail)
	return out, err
}

// train submits the job and strikes it until it has ended.
func (s *site) train(ctx context.Context, c Config, schedule Schedule) (*outcome, error) {
	t, err := follow(s, runName)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if _, err := s.client.Submit(ctx, api.Submission{Run: runName, Spec: c.Spec, MinWorkers: 1, Workers: c.Workers}); err != nil {
		return nil, fmt.Errorf("submit the job: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := &injector{
		site: s, say: c.Say, random: random.New(purposeChaos, schedule.Seed, 1), folder: filepath.Join(s.folder, "runs", runName),
	}
	striking := make(chan struct{})
	go func() {
		defer close(striking)
		step, moved := t.now()
		if step == 0 { // faults are counted from the first committed step
			select {
			case <-moved:
			case <-ctx.Done():
				return
			}
		}
		in.run(ctx, schedule, t)
	}()
	err = s.awaitEnd(ctx)
	cancel() // whoever is away comes back
	<-striking
	if err != nil {
		return nil, err
	}
	detail, err := s.client.Run(context.WithoutCancel(ctx), runName)
	if err != nil {
		return nil, err
	}
	commits, lost := t.commits()
	return &outcome{Detail: detail, commits: commits, lost: lost, made: in.made}, nil
}

var errOver = errors.New("the run is over")

// awaitEnd follows the run until it is over.
func (s *site) awaitEnd(ctx context.Context) error {
	err := s.client.Watch(ctx, func(status *api.Status) error {
		for _, r := range status.Runs {
			if r.Run == runName && r.Phase.Over() {
				return errOver
			}
		}
		return nil
	})
	if errors.Is(err, errOver) {
		return nil
	}
	return err
}

// auditRun proves the use of samples by the ledger and by what the workers have recorded.
func (s *site) auditRun(ctx context.Context, spec *job.Spec, d *api.Detail) (*audit.Report, error) {
	l := audit.Ledger{Run: runName, Committed: d.Committed}
	for _, x := range d.Spans {
		l.Spans = append(l.Spans, audit.Span{Generation: x.Generation, From: x.From, To: x.To})
	}
	r, err := audit.Run(ctx, spec, l)
	if err == nil {
		err = r.Compare(ctx, spec, s.record)
	}
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return r, nil
}
