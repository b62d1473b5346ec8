// Package audit proves which sample was used in which step of a run. The samples of a step are a function of job and data
// (dataset.Order), so the run's ledger of committed steps says it all:
//
//	report, err := audit.Run(ctx, spec, ledger)
//	err = report.Compare(spec, records)    // with what workers have really fed, where they kept a record
//
// Every sample must be used exactly once in each whole epoch, but for those that a short last batch leaves out, and at
// most once in an epoch under way; and the committed steps must be without a gap.
package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pupil/coordinator/job"
	"pupil/storage/dataset"
	"pupil/storage/location"
)

// Ledger is what the coordinators know of a run's steps.
type Ledger struct {
	Run       string
	Committed int    // steps
	Spans     []Span // who has committed which; none: it was not kept
}

// Span says that a generation has committed the steps From+1 to To.
type Span struct {
	Generation uint64 `json:"generation"`
	From       int    `json:"from"`
	To         int    `json:"to"`
}

// Use is a sample in an epoch.
type Use struct {
	Epoch  int `json:"epoch"`
	Sample int `json:"sample"`
}

// LeftOut are the samples that an epoch does not use: they are fewer than a batch.
type LeftOut struct {
	Epoch   int   `json:"epoch"`
	Samples []int `json:"samples"`
}

// Report is the result of an audit.
type Report struct {
	Run           string    `json:"run"`
	Job           string    `json:"job"`
	Dataset       string    `json:"dataset"` // URL
	Samples       int       `json:"samples"` // of the dataset
	Batch         int       `json:"batch"`
	Lanes         int       `json:"lanes"`
	StepsPerEpoch int       `json:"steps_per_epoch"`
	Committed     int       `json:"committed_steps"`
	Total         int       `json:"total_steps"`
	Epochs        int       `json:"epochs"`       // whole ones that were audited
	Uses          int       `json:"uses"`         // of samples, in all committed steps
	ExactlyOnce   bool      `json:"exactly_once"` // all is well
	Gapless       bool      `json:"gapless"`      // each committed step follows on the one before
	Gaps          []string  `json:"gaps"`
	Missing       []Use     `json:"missing"`  // not used in a whole epoch, and not left out
	Repeated      []Use     `json:"repeated"` // used more than once in an epoch
	LeftOut       []LeftOut `json:"left_out"`
	Truncated     bool      `json:"truncated"` // missing or repeated have more than maxListed
	Spans         []Span    `json:"spans"`
	Fed           *Fed      `json:"fed"` // nil: no record was compared
}

// maxListed bounds the lists of a report.
const maxListed = 1000

// Run audits a run of a job.
func Run(ctx context.Context, spec *job.Spec, l Ledger) (*Report, error) {
	o, err := order(ctx, spec)
	if err != nil {
		return nil, err
	}
	total, err := spec.TotalSteps(o.Count)
	if err != nil {
		return nil, err
	}
	r := &Report{
		Run: l.Run, Job: spec.Name, Dataset: spec.Dataset.Train, Samples: o.Count, Batch: o.Batch, Lanes: o.Lanes,
		StepsPerEpoch: o.StepsPerEpoch(), Committed: l.Committed, Total: total, Spans: l.Spans,
		Gaps: []string{}, Missing: []Use{}, Repeated: []Use{}, LeftOut: []LeftOut{},
	}
	if r.Spans == nil {
		r.Spans = []Span{}
	}
	r.follow(l)
	if err := r.count(ctx, o); err != nil {
		return nil, err
	}
	r.judge()
	return r, nil
}

// order is the order of the job's samples, as the workers have it.
func order(ctx context.Context, spec *job.Spec) (dataset.Order, error) {
	var none dataset.Order
	b, err := location.Open(ctx, spec.Dataset.Train)
	if err != nil {
		return none, fmt.Errorf("dataset.train: %w", err)
	}
	d, err := dataset.Open(ctx, b)
	if err != nil {
		return none, fmt.Errorf("dataset.train: %w", err)
	}
	m := d.Manifest()
	o := dataset.Order{
		Count: m.Count, Batch: spec.Batch, Lanes: spec.Lanes, Chunk: spec.Dataset.Chunk, Seed: spec.Seed,
		ShardCounts: m.ShardCounts(),
	}
	return o, o.Validate()
}

// follow looks for gaps in the ledger.
func (r *Report) follow(l Ledger) {
	if l.Committed > r.Total {
		r.Gaps = append(r.Gaps, fmt.Sprintf("%d steps are committed, the job has %d", l.Committed, r.Total))
	}
	at, generation := 0, uint64(0)
	for _, s := range l.Spans {
		if s.From != at || s.To < s.From {
			r.Gaps = append(r.Gaps, fmt.Sprintf("generation %d has committed the steps %d to %d, after step %d", s.Generation, s.From+1, s.To, at))
		}
		if s.Generation < generation {
			r.Gaps = append(r.Gaps, fmt.Sprintf("generation %d comes after generation %d", s.Generation, generation))
		}
		at, generation = s.To, s.Generation
	}
	if len(l.Spans) > 0 && at < l.Committed {
		r.Gaps = append(r.Gaps, fmt.Sprintf("nobody has committed the steps %d to %d", at+1, l.Committed))
	}
}

// count counts the uses of each sample in each epoch, lane by lane and step by step.
func (r *Report) count(ctx context.Context, o dataset.Order) error {
	if r.StepsPerEpoch == 0 {
		return errors.New("the dataset has fewer images than a batch")
	}
	used := make([]int, o.Count)
	for epoch := 0; epoch*r.StepsPerEpoch < r.Committed; epoch++ {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		clear(used)
		steps := min(r.StepsPerEpoch, r.Committed-epoch*r.StepsPerEpoch)
		for lane := range o.Lanes {
			samples := o.Lane(epoch, lane)
			for _, s := range samples[:steps*o.Batch/o.Lanes] {
				used[s]++
				r.Uses++
			}
		}
		r.epoch(o, epoch, used, steps == r.StepsPerEpoch)
	}
	return nil
}

// epoch judges the uses of an epoch.
func (r *Report) epoch(o dataset.Order, epoch int, used []int, whole bool) {
	left := o.LeftOut(epoch)
	slices.Sort(left)
	for s, n := range used {
		_, isLeft := slices.BinarySearch(left, s)
		switch {
		case n > 1 || n > 0 && isLeft:
			r.list(&r.Repeated, Use{epoch, s})
		case n == 0 && whole && !isLeft:
			r.list(&r.Missing, Use{epoch, s})
		}
	}
	if !whole {
		return
	}
	r.Epochs++
	if len(left) > 0 {
		r.LeftOut = append(r.LeftOut, LeftOut{epoch, left})
	}
}

func (r *Report) list(to *[]Use, u Use) {
	if len(*to) == maxListed {
		r.Truncated = true
		return
	}
	*to = append(*to, u)
}

func (r *Report) judge() {
	r.Gapless = len(r.Gaps) == 0
	r.ExactlyOnce = r.Gapless && len(r.Missing) == 0 && len(r.Repeated) == 0 && (r.Fed == nil || r.Fed.Agrees)
}
