package cluster

import (
	"fmt"
	"slices"
)

// maxLanes is the most lanes that a run can have.
const maxLanes = 1 << 16

// planLanes spreads the lanes 0..lanes-1 over the workers, which come in the order of their ranks, so that the one that
// takes the longest takes as short as can be: weights says how long each takes for a lane. With equal weights each carries
// lanes/len(workers) of them, or one more; with more workers than lanes, one or none. As few lanes as can be change
// their carrier from those of the previous plan: a worker keeps what it had up to its share, and those that had the
// most get the larger shares. Lanes without a carrier go to the workers in order, so that a first plan has ranges.
func planLanes(lanes int, workers []string, previous []Member, weights []float64) []Member {
	had := make([][]int, len(workers))
	for _, m := range previous {
		if i := slices.Index(workers, m.Worker); i >= 0 {
			had[i] = slices.DeleteFunc(slices.Clone(m.Lanes), func(l int) bool { return l >= lanes })
		}
	}
	share := shares(lanes, had, weights)
	members := make([]Member, len(workers))
	carried := make([]bool, lanes)
	for i, w := range workers {
		kept := had[i][:min(len(had[i]), share[i])]
		members[i] = Member{Worker: w, Lanes: append(make([]int, 0, share[i]), kept...)}
		for _, l := range kept {
			carried[l] = true
		}
	}
	next := 0
	for i := range members {
		m := &members[i]
		for len(m.Lanes) < share[i] {
			for carried[next] {
				next++
			}
			m.Lanes = append(m.Lanes, next)
			next++
		}
		slices.Sort(m.Lanes)
	}
	return members
}

// takeOver gives the lanes that nobody of the previous plan's members carries any more to those that carry the fewest.
// The others stay where they are, so that what was computed for them in the current step counts.
func takeOver(lanes int, workers []string, previous []Member) []Member {
	members := make([]Member, len(workers))
	carried := make([]bool, lanes)
	for i, w := range workers {
		members[i] = Member{Worker: w, Lanes: []int{}}
		for _, m := range previous {
			if m.Worker == w {
				members[i].Lanes = slices.DeleteFunc(slices.Clone(m.Lanes), func(l int) bool { return l >= lanes })
			}
		}
		for _, l := range members[i].Lanes {
			carried[l] = true
		}
	}
	for l := range carried {
		if carried[l] {
			continue
		}
		least := 0
		for i, m := range members {
			if len(m.Lanes) < len(members[least].Lanes) {
				least = i
			}
		}
		members[least].Lanes = append(members[least].Lanes, l)
	}
	for _, m := range members {
		slices.Sort(m.Lanes)
	}
	return members
}

// uneven says whether a member has more lanes than its even share, as after a takeOver.
func uneven(members []Member) bool {
	least, most := maxLanes, 0
	for _, m := range members {
		least, most = min(least, len(m.Lanes)), max(most, len(m.Lanes))
	}
	return most > least+1
}

// moved is the number of lanes that have another carrier than before.
func moved(before, now []Member) (n int) {
	was := map[int]string{}
	for _, m := range before {
		for _, l := range m.Lanes {
			was[l] = m.Worker
		}
	}
	for _, m := range now {
		for _, l := range m.Lanes {
			if w, ok := was[l]; ok && w != m.Worker {
				n++
			}
		}
	}
	return n
}

// shares says how many lanes each worker carries: one lane after the other goes to the worker that would have it done
// first, of several to the one that had the most before. With lanes for all, each has one at least, so that its pace is
// known.
func shares(lanes int, had [][]int, weights []float64) []int {
	share := make([]int, len(had))
	if lanes >= len(had) {
		for i := range share {
			share[i] = 1
		}
		lanes -= len(had)
	}
	for range lanes {
		best := 0
		for i := range had {
			a, b := float64(share[i]+1)*weights[i], float64(share[best]+1)*weights[best]
			if a < b || a == b && len(had[i]) > len(had[best]) {
				best = i
			}
		}
		share[best]++
	}
	return share
}

// checkLanes says whether different members carry each of the lanes 0..lanes-1 exactly once.
func checkLanes(lanes int, members []Member) error {
	carrier := make([]string, lanes)
	seen := make(map[string]bool, len(members))
	for _, m := range members {
		if seen[m.Worker] {
			return fmt.Errorf("worker %s is in the plan twice", m.Worker)
		}
		seen[m.Worker] = true
		for _, l := range m.Lanes {
			if l < 0 || l >= lanes {
				return fmt.Errorf("worker %s carries lane %d of %d", m.Worker, l, lanes)
			}
			if carrier[l] != "" {
				return fmt.Errorf("lane %d is carried by %s and by %s", l, carrier[l], m.Worker)
			}
			carrier[l] = m.Worker
		}
	}
	if l := slices.Index(carrier, ""); l >= 0 {
		return fmt.Errorf("nobody carries lane %d", l)
	}
	return nil
}
