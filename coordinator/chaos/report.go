package chaos

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"pupil/coordinator/cluster"
)

// ErrDiffers says that the run with faults is not what the quiet one is.
var ErrDiffers = errors.New("the faults have left a mark")

// Report compares a run with faults with a quiet one.
type Report struct {
	Seed            uint64     `json:"seed"`
	Workers         int        `json:"workers"`
	Coordinators    int        `json:"coordinators"`
	Faults          int        `json:"faults"`   // that were made
	Skipped         int        `json:"skipped"`  // that found nobody to strike
	NotMade         int        `json:"not_made"` // that were due when the job had ended, or was broken off
	Planned         int        `json:"planned"`  // of the schedule: the sum of these
	Complete        bool       `json:"complete"` // the run with faults has ended; what follows of weights and samples is known
	Outcome         string     `json:"outcome"`  // of the run with faults; "not over" when it was broken off
	Reason          string     `json:"reason,omitempty"`
	Steps           int        `json:"steps"` // committed
	Generations     uint64     `json:"generations"`
	HashEqual       bool       `json:"hash_equal"`
	QuietSHA256     string     `json:"quiet_sha256"` // of the weights
	SHA256          string     `json:"sha256"`
	StepsLost       int        `json:"steps_lost"` // committed steps that were made again
	AllWorkersGone  bool       `json:"all_workers_gone"`
	SamplesLost     int        `json:"samples_lost"`
	SamplesRepeated int        `json:"samples_repeated"`
	ExactlyOnce     bool       `json:"exactly_once"` // by the ledger and by what the workers recorded
	Recovery        Quantiles  `json:"recovery_ms"`
	Pause           Quantiles  `json:"pause_ms"`
	Failover        Quantiles  `json:"failover_ms"`
	Failovers       int        `json:"failovers"` // leaders that were struck, and followed by another one
	RecoveryBy      []ByKind   `json:"recovery_by"`
	StepSeconds     float64    `json:"step_seconds"`    // median of the quiet run, from commit to commit
	Goodput         float64    `json:"goodput"`         // the steps at that pace over the time that they took
	BetweenSeconds  float64    `json:"between_seconds"` // median of the run with faults while none was on; 0: there was no such time
	GoodputBetween  float64    `json:"goodput_between"` // the steps at this pace: what the faults cost, whatever else has slowed the machine since
	Injected        []Injected `json:"injected"`
	Folder          string     `json:"folder"`
}

// Quantiles are of times in milliseconds. Recovery: from the fault until the second step after it was committed; the first one
// may have been under way already. Pause: the longest time between two commits around the fault. Failover: from the fault of a
// leader until a coordinator led again.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// ByKind are the recovery times of one kind of fault, and its pauses.
type ByKind struct {
	Fault  string `json:"fault"`
	Faults int    `json:"faults"`
	Quantiles
	Pause Quantiles `json:"pause_ms"`
	Steps int       `json:"steps_meanwhile"` // that were committed while these faults lasted
}

// notOver is the outcome of a run that goes on, or was broken off.
const notOver = "not over"

// report compares the run with faults, as far as it has come, with the quiet one.
func report(c Config, quiet, struck *outcome) *Report {
	r := &Report{
		Seed: c.Schedule.Seed, Workers: c.Workers, Coordinators: c.Coordinators, Planned: len(c.Schedule.Faults), Folder: c.Folder,
		Outcome: notOver, QuietSHA256: quiet.Weights, StepsLost: struck.lost, Injected: struck.made,
	}
	if n := len(struck.commits); n > 0 {
		r.Steps = struck.commits[n-1].step
	}
	if d := struck.Detail; d != nil {
		r.Outcome, r.Reason, r.Steps, r.Generations, r.SHA256 = string(d.Phase), d.Reason, d.Committed, d.Generation, d.Weights
		r.HashEqual = quiet.Weights != "" && quiet.Weights == d.Weights
	}
	if a := struck.audit; a != nil {
		r.Complete = struck.Detail != nil
		r.SamplesLost, r.SamplesRepeated, r.ExactlyOnce = len(a.Missing), len(a.Repeated), a.ExactlyOnce
		if a.Fed != nil {
			r.ExactlyOnce = r.ExactlyOnce && a.Fed.Agrees
			r.SamplesLost += a.Fed.Missing * a.Batch / a.Lanes
		}
	}
	if r.Injected == nil {
		r.Injected = []Injected{}
	}
	r.StepSeconds = medianGap(quiet.commits)
	if n := len(struck.commits); n > 1 {
		took := struck.commits[n-1].at.Sub(struck.commits[0].at).Seconds()
		steps := float64(struck.commits[n-1].step - struck.commits[0].step)
		r.BetweenSeconds = medianGap(between(struck.commits, struck.made)...)
		r.Goodput, r.GoodputBetween = steps*r.StepSeconds/took, steps*r.BetweenSeconds/took
	}
	r.recover(struck.commits)
	r.NotMade = r.Planned - r.Faults - r.Skipped
	return r
}

// medianGap is the median time from one commit to the next, in seconds, in some stretches of a run; 0 without any.
func medianGap(stretches ...[]commit) float64 {
	var gaps []float64
	for _, commits := range stretches {
		for i := 1; i < len(commits); i++ {
			if commits[i].step == commits[i-1].step+1 {
				gaps = append(gaps, commits[i].at.Sub(commits[i-1].at).Seconds())
			}
		}
	}
	if len(gaps) == 0 {
		return 0
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}

// afterwards is how long a fault is felt after what was struck is back, or at most: a worker that starts again is prepared and taken in.
const afterwards = 2 * time.Second

// between are the stretches of a run in which no fault was on.
func between(commits []commit, made []Injected) (stretches [][]commit) {
	felt := func(at time.Time) bool {
		return slices.ContainsFunc(made, func(f Injected) bool {
			return f.Skipped == "" && !at.Before(f.at) && at.Before(f.at.Add(f.fault.For+afterwards))
		})
	}
	var now []commit
	for _, c := range commits {
		if !felt(c.at) {
			now = append(now, c)
			continue
		}
		stretches, now = append(stretches, now), nil
	}
	return append(stretches, now)
}

// recover measures the recovery from each fault.
func (r *Report) recover(commits []commit) {
	var all, pauses, failovers []float64
	by, pausesBy, stepsBy := map[string][]float64{}, map[string][]float64{}, map[string]int{}
	for i := range r.Injected {
		f := &r.Injected[i]
		f.Recovery, f.Pause = -1, -1
		if f.Skipped != "" {
			r.Skipped++
			continue
		}
		r.Faults++
		r.AllWorkersGone = r.AllWorkersGone || f.fault.mayTakeAllWorkers()
		if f.Failover > 0 {
			failovers = append(failovers, f.Failover)
		}
		if recovered, pause, ok := recovery(commits, f.at); ok {
			f.Recovery, f.Pause = recovered, pause
			all, pauses = append(all, recovered), append(pauses, pause)
			kind := string(f.fault.Do)
			if f.fault.Whom != "" {
				kind += " " + numbered(f.fault.Whom)
			}
			by[kind], pausesBy[kind] = append(by[kind], recovered), append(pausesBy[kind], pause)
			f.Steps = within(commits, f.at, f.fault.For)
			stepsBy[kind] += f.Steps
		}
	}
	r.Recovery, r.Pause, r.Failover, r.Failovers = quantiles(all), quantiles(pauses), quantiles(failovers), len(failovers)
	r.RecoveryBy = []ByKind{}
	for _, kind := range slices.Sorted(maps.Keys(by)) {
		r.RecoveryBy = append(r.RecoveryBy, ByKind{kind, len(by[kind]), quantiles(by[kind]), quantiles(pausesBy[kind]), stepsBy[kind]})
	}
}

// within is the number of commits in a time.
func within(commits []commit, from time.Time, d time.Duration) (n int) {
	for _, c := range commits {
		if c.at.After(from) && c.at.Before(from.Add(d)) {
			n++
		}
	}
	return n
}

// recovery is the time from a fault to the second commit after it, and the longest from one commit to the next on the way
// there, in milliseconds.
func recovery(commits []commit, at time.Time) (recovered, pause float64, ok bool) {
	after := slices.IndexFunc(commits, func(c commit) bool { return c.at.After(at) })
	if after < 0 || after+1 >= len(commits) {
		return 0, 0, false
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	for i := max(after, 1); i <= after+1; i++ {
		pause = max(pause, ms(commits[i].at.Sub(commits[i-1].at)))
	}
	return ms(commits[after+1].at.Sub(at)), pause, true
}

// quantiles are by the nearest rank.
func quantiles(values []float64) Quantiles {
	if len(values) == 0 {
		return Quantiles{}
	}
	sorted := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 { return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)] }
	return Quantiles{P50: at(0.5), P99: at(0.99), Max: sorted[len(sorted)-1]}
}

// judge says what is wrong with the run with faults.
func (r *Report) judge() error {
	var errs []error
	if r.Outcome != string(cluster.Finished) {
		errs = append(errs, fmt.Errorf("the run has %s: %s", r.Outcome, r.Reason))
	}
	if !r.HashEqual {
		errs = append(errs, fmt.Errorf("the weights differ: %.12s, in quiet %.12s", r.SHA256, r.QuietSHA256))
	}
	if !r.ExactlyOnce || r.SamplesLost+r.SamplesRepeated > 0 {
		errs = append(errs, fmt.Errorf("samples: %d lost, %d repeated", r.SamplesLost, r.SamplesRepeated))
	}
	if r.StepsLost > 0 && !r.AllWorkersGone { // without any worker left the newest checkpoint is all there is
		errs = append(errs, fmt.Errorf("%d committed steps were made again", r.StepsLost))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w; logs are in %s", ErrDiffers, errors.Join(errs...), r.Folder)
}
