package cluster

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Pace is how fast a worker is.
type Pace struct {
	Worker  string  `json:"worker"`
	Seconds float64 `json:"seconds"` // that a lane takes it in a step, with what it computes at the same time
}

// worth is how much sooner a step must end to be worth that lanes change hands.
const worth = 0.2

// Measured says how fast the members of a generation were over some steps. It is told when lanes should move (Uneven):
// Decide has them move at the end of a step, and plans for the run go by it from then on. The result never depends on it.
type Measured struct {
	Run        string `json:"run"`
	Generation uint64 `json:"generation"`
	Paces      []Pace `json:"paces"`
}

func (Measured) kind() string { return "measured" }

func (c Measured) apply(s *State, _ time.Time) error {
	r, err := s.current(c.Run, c.Generation)
	if err != nil {
		return err
	}
	for _, p := range c.Paces {
		if r.Plan.Rank(p.Worker) < 0 || !(p.Seconds > 0) || math.IsInf(p.Seconds, 0) {
			return refuse(ErrRefused, "a lane takes worker %s %v seconds", p.Worker, p.Seconds)
		}
	}
	r.Paces = slices.Clone(c.Paces)
	return nil
}

// Uneven says whether a step of a plan would end sooner by a fifth at least if its lanes were spread by these paces.
func Uneven(members []Member, paces []Pace) bool {
	var workers []string
	lanes := 0
	for _, m := range members {
		workers = append(workers, m.Worker)
		lanes += len(m.Lanes)
	}
	weights := weigh(workers, paces)
	better := planLanes(lanes, workers, members, weights)
	return longest(better, weights) < (1-worth)*longest(members, weights)
}

// weigh gives each worker its pace; one that was not measured has the mean of the others.
func weigh(workers []string, paces []Pace) []float64 {
	mean := 1.0
	if len(paces) > 0 {
		mean = 0
		for _, p := range paces {
			mean += p.Seconds / float64(len(paces))
		}
	}
	weights := make([]float64, len(workers))
	for i, w := range workers {
		weights[i] = mean
		for _, p := range paces {
			if p.Worker == w {
				weights[i] = p.Seconds
			}
		}
	}
	return weights
}

// longest is the time that the slowest member takes.
func longest(members []Member, weights []float64) (seconds float64) {
	for i, m := range members {
		seconds = max(seconds, float64(float64(len(m.Lanes))*weights[i]))
	}
	return seconds
}

// slowest says in words which member the others wait for.
func (r *Run) slowest() string {
	by := func(a, b Pace) int { return cmp.Compare(a.Seconds, b.Seconds) }
	most, least := slices.MaxFunc(r.Paces, by), slices.MinFunc(r.Paces, by)
	if most.Seconds < least.Seconds/(1-worth) {
		return "no worker is slower than the others any more"
	}
	return fmt.Sprintf("worker %s is slow, it computes a lane in %.3gs and the fastest in %.3gs", most.Worker, most.Seconds, least.Seconds)
}

// spread is planLanes by the run's paces.
func (r *Run) spread(lanes int, workers []string, previous []Member) []Member {
	return planLanes(lanes, workers, previous, weigh(workers, r.Paces))
}
