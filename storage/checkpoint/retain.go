package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pupil/storage"
)

// DefaultGrace is how long files without a manifest may be those of a save under way.
const DefaultGrace = time.Hour

// Retention says which checkpoints stay: those that any of its rules names, and always the newest whole one.
type Retention struct {
	Last    int    // the newest so many; at least 1
	Every   int    // those whose step is a multiple of this; 0: none
	Best    int    // so many with the best values of Metric; 0: none
	Metric  string // a name of Manifest.Metrics
	Largest bool   // the largest values are the best; else the smallest

	Grace time.Duration // what unfinished saves left behind goes when nothing was written to it for so long
}

func (r Retention) validate() error {
	switch {
	case r.Last < 1:
		return fmt.Errorf("keep is %d, want 1 or more", r.Last)
	case r.Every < 0 || r.Best < 0 || r.Grace < 0:
		return fmt.Errorf("every %d, best %d, grace %s: want 0 or more", r.Every, r.Best, r.Grace)
	case r.Best > 0 && r.Metric == "":
		return errors.New("the best are asked for, without a metric")
	}
	return nil
}

// Removal is what Prune deletes of a step, and why.
type Removal struct {
	Step   int
	Whole  bool // the whole checkpoint; else what unfinished saves left beside it
	Reason string
	keys   []string // the manifest first
}

// Retain is Prune of all but the newest keep, at the present time.
func Retain(ctx context.Context, b storage.Bucket, keep int) error {
	_, err := Prune(ctx, b, Retention{Last: keep, Grace: DefaultGrace}, time.Now(), false)
	return err
}

// Prune deletes the checkpoints that a Retention does not keep, the manifest of each first, and what unfinished saves left
// behind. Nothing is deleted unless there is a whole checkpoint, every hash checked; the newest such always stays. Older ones
// count as kept when the manifest is good and the parts have the right sizes. A damaged one between the newest that stay is
// left for inspection. A dry run deletes nothing.
func Prune(ctx context.Context, b storage.Bucket, r Retention, now time.Time, dry bool) ([]Removal, error) {
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("retain checkpoints: %w", err)
	}
	plan, err := r.plan(ctx, b, now)
	if err != nil {
		return nil, fmt.Errorf("retain checkpoints: %w", err)
	}
	if dry {
		return plan, nil
	}
	for _, x := range plan {
		for _, key := range x.keys {
			if err := b.Delete(ctx, key); err != nil {
				return nil, fmt.Errorf("retain checkpoints: %w", err)
			}
		}
	}
	return plan, nil
}

// candidate is a step with its manifest, nil when there is no good one with all parts.
type candidate struct {
	saved
	manifest *Manifest
	keep     bool
}

func (r Retention) plan(ctx context.Context, b storage.Bucket, now time.Time) ([]Removal, error) {
	steps, err := list(ctx, b)
	if err != nil {
		return nil, err
	}
	all := make([]*candidate, len(steps))
	whole := false
	for i, s := range steps { // newest first
		all[i] = &candidate{saved: s}
		if _, finished := s.files[manifestName]; !finished {
			continue
		}
		read := readManifest
		if !whole {
			read = verify
		}
		m, err := read(ctx, b, s.step)
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, storage.ErrNotFound) {
			return nil, err
		}
		if err == nil && s.lacks(m) == "" {
			all[i].manifest, whole = m, true
		}
	}
	if !whole {
		return nil, nil
	}
	last := r.choose(all)
	var out []Removal
	for i, c := range all {
		if x := c.removal(now.Add(-r.Grace), i > last); len(x.keys) > 0 {
			out = append(out, x)
		}
	}
	return out, nil
}

// choose marks what stays, and returns the place of the oldest of the last that stay.
func (r Retention) choose(all []*candidate) (last int) {
	var good []*candidate
	for i, c := range all {
		if c.manifest == nil {
			continue
		}
		if good = append(good, c); len(good) <= r.Last {
			c.keep, last = true, i
		}
		if r.Every > 0 && c.step%r.Every == 0 {
			c.keep = true
		}
	}
	measured := slices.DeleteFunc(slices.Clone(good), func(c *candidate) bool {
		_, ok := c.manifest.Metrics[r.Metric]
		return !ok
	})
	slices.SortStableFunc(measured, func(a, b *candidate) int { // of equal ones the newest first
		x, y := a.manifest.Metrics[r.Metric], b.manifest.Metrics[r.Metric]
		if r.Largest {
			return cmp.Compare(y, x)
		}
		return cmp.Compare(x, y)
	})
	for _, c := range measured[:min(r.Best, len(measured))] {
		c.keep = true
	}
	return last
}

// removal is what goes of a step: all, or the files that no manifest names. abandoned is the time before which a file that
// belongs to no manifest was given up; old says that the step lies behind the newest that stay.
func (c *candidate) removal(abandoned time.Time, old bool) Removal {
	_, finished := c.files[manifestName]
	x := Removal{Step: c.step}
	named := map[string]bool{}
	switch {
	case finished && !c.keep && (old || c.manifest != nil):
		x.Whole, x.Reason = true, "it is none of those that stay"
		if c.manifest == nil {
			x.Reason = "it is damaged, and older than those that stay"
		}
		x.keys = append(x.keys, manifestKey(c.step))
		abandoned = time.Time{}
	case finished && c.manifest == nil:
		return x // left for inspection
	case finished:
		x.Reason = "files that its manifest does not name"
		for _, p := range c.manifest.Parts {
			named[strings.TrimPrefix(c.manifest.partKey(p), folder(c.step))] = true
		}
	default:
		x.Reason = "the save did not finish"
		if c.modified().After(abandoned) {
			return x // it may be under way
		}
		abandoned = time.Time{}
	}
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		if name != manifestName && !named[name] && (abandoned.IsZero() || c.files[name].Modified.Before(abandoned)) {
			x.keys = append(x.keys, folder(c.step)+name)
		}
	}
	return x
}
