package cluster

import "slices"

// Cause is why a worker is slow.
type Cause string

// The causes.
const (
	Computing Cause = "compute" // of its lanes: lanes move away from it when that is worth it (Measured)
	Sending   Cause = "send"    // to the worker after it in the ring
	Receiving Cause = "receive" // from the worker before it: its messages come late, or it is slow to take them
)

// Load is where a worker's time of a step went, in seconds.
type Load struct {
	Compute float64 // of its lanes together
	Send    float64 // messages to the other workers
	Receive float64 // checking and adding messages
	Left    float64 // it waited for messages of the worker before it
	Wait    float64 // it waited for images, and after its lanes had ended for sums
}

func (l Load) busy() float64 { return l.Compute + l.Send + l.Receive }

// slowShare is the part of a step by which a worker must be behind all others to be called slow.
const slowShare = 1. / 3

// Slow names the member that the others wait for, by its rank: the one that is busy for longer than all others by a third of
// the step, or else the one whose messages come so much later. A link into a worker that is slow does the others the same as
// one out of the worker before it, but there Send would be long (worker/agent lets the kernel take little ahead). A cause of "" says that there is none.
func Slow(loads []Load) (rank int, cause Cause) {
	if len(loads) < 2 {
		return -1, ""
	}
	rank, next := most(loads, Load.busy)
	a, b := loads[rank], loads[next]
	if step := a.busy() + a.Wait; a.busy()-b.busy() > float64(slowShare*step) {
		cause, by := Computing, a.Compute-b.Compute
		if d := a.Send - b.Send; d > by {
			cause, by = Sending, d
		}
		if a.Receive-b.Receive > by {
			cause = Receiving
		}
		return rank, cause
	}
	rank, next = most(loads, func(l Load) float64 { return l.Left })
	if step := loads[rank].busy() + loads[rank].Wait; loads[rank].Left-loads[next].Left > float64(slowShare*step) {
		return rank, Receiving
	}
	return -1, ""
}

// most are the indexes of the two largest values.
func most(loads []Load, of func(Load) float64) (first, second int) {
	order := make([]int, len(loads))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch a, b := of(loads[i]), of(loads[j]); {
		case a > b:
			return -1
		case a < b:
			return 1
		}
		return 0
	})
	return order[0], order[1]
}
