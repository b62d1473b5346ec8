package chaos

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/audit"
	"pupil/coordinator/cluster"
	"pupil/coordinator/job"
	"pupil/coordinator/wire"
	"pupil/internal/random"
	"pupil/storage/location"
)

// Config says what is run, and what is done to it.
type Config struct {
	Spec          *job.Spec
	Schedule      Schedule
	Workers       int            // at the beginning; at least 1
	Coordinators  int            // 1, 3 or 5
	Threads       int            // of a worker; at least 1
	WorkerTimeout time.Duration  // a worker that is silent for so long is lost
	Netns         bool           // each process is on a host of its own, a network namespace; see CheckNetns
	External      bool           // a broker that runs by itself, in place of one in each coordinator
	DataPlane     wire.DataPlane // which way the workers' sums go; "": as serve has it by default
	Storage       string         // s3:// URL of an empty prefix for the runs; "": they are in Folder
	Folder        string         // for the processes' state and logs; made anew
	Binaries      Binaries
	Say           func(string)  // what happens, a line each; called from several goroutines
	Keep          func(*Report) // the report as it is after each fault, not complete; nil: nobody wants it

	// Refit is the job with another number of steps. When it is there, the pace is measured first, and both runs make as
	// many steps as the schedule takes at it. Nil: the job as it is.
	Refit func(steps int) (*job.Spec, error)
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
	}
	if c.DataPlane != "" {
		errs = append(errs, c.DataPlane.Validate())
	}
	if c.DataPlane == wire.LocalPlane {
		errs = append(errs, errors.New("data plane is local, that of coordinator run; a cluster has auto, mesh or broker"))
	}
	if c.Storage != "" {
		errs = append(errs, ParseStore(c.Storage))
	}
	for i, f := range c.Schedule.Faults {
		if f.needsNetns() && !c.Netns {
			errs = append(errs, fmt.Errorf("faults[%d]: %s needs network namespaces (--netns): on loopback workers alone can be cut off", i, f))
		}
		if f.Do == Slow && f.Whom == runsBucket && c.Storage == "" {
			errs = append(errs, fmt.Errorf("faults[%d]: %s needs runs on a store (--storage): a folder has no link", i, f))
		}
		if f.Do == Full && c.Storage == "" && os.Geteuid() != 0 {
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

// dataPlane is DataPlane, or what serve has by default.
func (c Config) dataPlane() wire.DataPlane {
	switch {
	case c.DataPlane != "" && (c.DataPlane != wire.AutoPlane || !c.External):
		return c.DataPlane
	case c.External:
		return wire.BrokerPlane
	}
	return wire.AutoPlane
}

// outcome is how a run ended, or where it is.
type outcome struct {
	*api.Detail // nil while it runs
	commits     []commit
	lost        int // committed steps that were made again
	made        []Injected
	audit       *audit.Report // nil while it runs
}

// Run makes the quiet run, then the one with the faults, and compares them. A report comes also with an error: with
// ErrDiffers, which says what is wrong with the result, and when the run with the faults was broken off.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Storage != "" {
		if err := c.checkEmpty(ctx); err != nil {
			return nil, err
		}
	}
	if c.Refit != nil {
		if err := c.fit(ctx); err != nil {
			return nil, fmt.Errorf("fit the steps: %w", err)
		}
	}
	c.Say(fmt.Sprintf("quiet run: %d workers, 1 coordinator, no faults", c.Workers))
	quiet, err := c.undisturbed(ctx, "quiet")
	if err != nil {
		return nil, fmt.Errorf("quiet run: %w", err)
	}
	end := c.Schedule.End().Round(time.Second)
	if took := span(quiet.commits).Round(time.Second); took < end {
		c.Say(fmt.Sprintf("the job took %s in quiet and the schedule takes %s: what is due when the job has ended is not made; "+
			"give the job more steps, or let --fit-steps choose", took, end))
	}
	c.Say(fmt.Sprintf("run with faults: %d workers, %d coordinators, %d faults over %s", c.Workers, c.Coordinators,
		len(c.Schedule.Faults), end))
	struck, err := once(ctx, c, "struck", c.Coordinators, c.Schedule, func(so *outcome) {
		if c.Keep != nil {
			c.Keep(report(c, quiet, so))
		}
	})
	if struck == nil {
		return nil, fmt.Errorf("run with faults: %w", err)
	}
	r := report(c, quiet, struck)
	if err != nil {
		return r, fmt.Errorf("run with faults: %w", err)
	}
	return r, r.judge()
}

// checkEmpty makes sure that the store answers, and that nothing lies where the runs will.
func (c Config) checkEmpty(ctx context.Context) error {
	b, err := location.Open(ctx, c.Storage)
	if err != nil {
		return err
	}
	found, err := b.List(ctx, "")
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("%s holds %s and perhaps more; give an empty prefix", location.Redact(c.Storage), found[0].Key)
	}
	return nil
}

// RemoveRuns deletes what the runs have left on a store.
func (c Config) RemoveRuns(ctx context.Context) error {
	b, err := location.Open(ctx, c.Storage)
	if err != nil {
		return err
	}
	found, err := b.List(ctx, "")
	for _, o := range found {
		err = errors.Join(err, b.Delete(ctx, o.Key))
	}
	return err
}

// span is the time from the first commit to the last.
func span(commits []commit) time.Duration {
	if len(commits) == 0 {
		return 0
	}
	return commits[len(commits)-1].at.Sub(commits[0].at)
}

// undisturbed trains the job without faults.
func (c Config) undisturbed(ctx context.Context, name string) (*outcome, error) {
	o, err := once(ctx, c, name, 1, Schedule{}, nil)
	if err != nil {
		return nil, err
	}
	if o.Phase != cluster.Finished {
		return nil, fmt.Errorf("the job %s without faults: %s; mend that first", o.Phase, o.Reason)
	}
	return o, nil
}

// paceSteps are what the pace is measured with.
const paceSteps = 100

// fit gives the job as many steps as the schedule takes at the pace of a short run.
func (c *Config) fit(ctx context.Context) error {
	c.Say(fmt.Sprintf("pace: %d steps", paceSteps))
	short := *c
	var err error
	if short.Spec, err = c.Refit(paceSteps); err != nil {
		return err
	}
	o, err := short.undisturbed(ctx, "pace")
	if err != nil {
		return err
	}
	step := medianGap(o.commits)
	if step <= 0 {
		return errors.New("no two steps were seen one after the other; try again")
	}
	steps := fitted(c.Schedule.End(), step)
	c.Say(fmt.Sprintf("a step takes %.0f ms, and the schedule %s: %d steps", 1000*step, c.Schedule.End().Round(time.Second), steps))
	c.Spec, err = c.Refit(steps)
	return err
}

// fitted are the steps of a number of seconds each that fill a time. What faults take comes on top.
func fitted(end time.Duration, step float64) int { return max(1, int(math.Ceil(end.Seconds()/step))) }

const runName = "chaos"

// once runs the job in a site of its own. The outcome comes with an error, too, when training had begun. keep is told after
// each fault.
func once(ctx context.Context, c Config, name string, coordinators int, schedule Schedule, keep func(*outcome)) (*outcome, error) {
	s, err := openSite(ctx, c, filepath.Join(c.Folder, name), coordinators, schedule)
	defer s.close()
	if err != nil {
		return nil, err
	}
	out, err := s.train(ctx, c, schedule, keep)
	if err != nil {
		return out, s.died(err)
	}
	out.audit, err = s.auditRun(ctx, c.Spec, out.Detail)
	return out, err
}

// train submits the job and strikes it until it has ended.
func (s *site) train(ctx context.Context, c Config, schedule Schedule, keep func(*outcome)) (*outcome, error) {
	t, err := follow(s, runName)
	if err != nil {
		return nil, err
	}
	defer t.close()
	defer t.watch(ctx, s.record)()
	sub := api.Submission{Run: runName, Spec: c.Spec, Storage: s.bucket.url(runName), MinWorkers: 1, Workers: c.Workers}
	if _, err := s.client.Submit(ctx, sub); err != nil {
		return nil, fmt.Errorf("submit the job: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := &injector{
		site: s, say: c.Say, random: random.New(purposeChaos, schedule.Seed, 1), place: s.bucket.behind(runName),
	}
	sofar := func() *outcome {
		o := &outcome{made: in.list()}
		o.commits, o.lost = t.commits()
		return o
	}
	if keep != nil {
		in.keep = func() { keep(sofar()) }
	}
	p := &progress{name: filepath.Base(s.folder), planned: len(schedule.Faults)}
	var beside sync.WaitGroup
	beside.Go(func() {
		if t.await(ctx, 1) == nil { // faults are counted from the first committed step
			in.run(ctx, schedule, t)
		}
	})
	beside.Go(func() { p.tell(ctx, t, in, c.Say) })
	err = s.awaitEnd(ctx, p)
	cancel() // whoever is away comes back
	beside.Wait()
	if err != nil {
		return sofar(), err
	}
	if n := len(schedule.Faults) - len(in.list()); n > 0 {
		c.Say(fmt.Sprintf("the job has ended before %d of %d faults were due: they were not made", n, len(schedule.Faults)))
	}
	o := sofar()
	o.Detail, err = s.client.Run(context.WithoutCancel(ctx), runName)
	return o, err
}

var errOver = errors.New("the run is over")

// awaitEnd follows the run until it is over.
func (s *site) awaitEnd(ctx context.Context, p *progress) error {
	err := s.client.Watch(ctx, func(status *api.Status) error {
		for _, r := range status.Runs {
			if r.Run != runName {
				continue
			}
			if p.total.Store(int64(r.Total)); r.Phase.Over() {
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
