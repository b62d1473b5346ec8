package train

import (
	"errors"
	"fmt"
	"math"

	"pupil/loss"
)

// Collapse says when a student that merges its classes stops the job. A bound of 0 never stops it.
type Collapse struct {
	UsedClasses   float64 // share of the classes that the teacher uses
	Information   float64 // least I(S;T) / log C of the product joint
	EffectiveRank float64 // of the student's features
	Patience      int     // steps in a row; of the effective rank, steps over which every measurement is too low
}

// ErrCollapsed says that the student is under one of the bounds of Collapse.
var ErrCollapsed = errors.New("the student collapsed")

// Collapsing counts the steps in a row in which a student was under a bound.
type Collapsing struct {
	Classes     int `json:"classes"`
	Information int `json:"information"`
	Rank        int `json:"rank"` // since the first of the measurements in a row
}

// watch counts one more step. measured says that rank was measured in it, every so many steps.
func (c Collapse) watch(n *Collapsing, step int, h loss.Health, rank float64, measured bool, every int) error {
	need := int(math.Ceil(c.UsedClasses * float64(h.TeacherUsedClasses)))
	share := h.MutualInformation / h.LogClasses
	count(&n.Classes, h.UsedClasses < need, 1)
	count(&n.Information, h.Measured && share < c.Information, 1)
	if measured {
		passed := 1 // the steps since the measurement before, if that was low as well
		if n.Rank > 0 {
			passed = every
		}
		// Rounded, so that processors whose last bits differ come to the same verdict.
		count(&n.Rank, math.Round(rank*1e6)/1e6 < c.EffectiveRank, passed)
	}
	const advice = "keep a KL term beside the mutual information (start.kl of its term), lower the learning rate, or lower"
	switch {
	case c.Patience < 1:
	case n.Classes >= c.Patience:
		return fmt.Errorf("%w: it used %d classes, fewer than %d, in each of the last %d steps (step %d); %s "+
			"collapse.used_classes", ErrCollapsed, h.UsedClasses, need, c.Patience, step, advice)
	case n.Information >= c.Patience:
		return fmt.Errorf("%w: its mutual information with the teacher is %.3f of log C, under %g, in each of the last %d steps "+
			"(step %d); %s collapse.information", ErrCollapsed, share, c.Information, c.Patience, step, advice)
	case n.Rank >= c.Patience:
		return fmt.Errorf("%w: the effective rank of its features is %.2f, under %g, in every measurement of the last %d steps "+
			"(step %d); %s collapse.effective_rank", ErrCollapsed, rank, c.EffectiveRank, n.Rank, step, advice)
	}
	return nil
}

// count adds steps while something is low, and begins anew when it is not.
func count(n *int, low bool, steps int) {
	if low {
		*n += steps
	} else {
		*n = 0
	}
}
