// Package cluster is what the coordinators agree on, as a pure state machine: runs, workers, the generation, the lane
// plan, the committed step, checkpoints, events. It has no I/O, no goroutine and no clock.
//
//	s := cluster.New()
//	err := s.Apply(now, cluster.Join{Worker: ...})         // what has happened
//	d := cluster.Decide(s, now, cluster.DefaultConfig())   // what to do about it, and why
//	if d.Command != nil {
//		err = s.Apply(now, d.Command)                      // it is done by being applied
//	}
//	order := s.Order("w0")                                 // what a worker should be told now
//
// The caller's duties:
//
//  1. Apply the same commands with the same times in the same order everywhere. Apply uses nothing else, so all copies
//     of the state are equal. A refused command changes nothing, and is refused everywhere.
//  2. After each command, and when Decision.Until is reached, call Decide until its Command is nil.
//  3. Tell each worker its Order, again and again until it is seen to follow it.
//  4. Report a worker as Lost when its lease runs out. The state knows nothing of heartbeats.
//
// Runs are carried in the order of their submission, side by side as far as there are workers. The generation rises with every
// plan, over all runs; what a worker says about another generation than its run's is refused with ErrStale.
//
// # A run's phases
//
//	waiting -> running -> finished
//	   ^          |   \-> failed     (Resume: waiting)
//	   \----------|-> stopping -> stopped (Resume: waiting), failed, finished
//	waiting -> stopped, failed
//
// # Generations
//
// A run is carried by one generation of workers after another. A new one is planned
//
//   - at once, when a member is lost or goes, or when the ring breaks: the others keep their lanes, and with them what
//     they have computed of the current step, and those of the lost member go to the ones with the fewest;
//   - at the end of a step, which the members are asked for, when workers have come or want to leave: then lanes are
//     spread evenly, and as few as can be move.
//
// With fewer workers than the run needs it waits, and goes on from where those that are left stand, or from the newest
// checkpoint. A run fails by an error of the job itself only, and when generation after generation breaks without a step.
//
// A member whose part has ended keeps it until the generation is over, since others may still ask it about the last step.
package cluster
