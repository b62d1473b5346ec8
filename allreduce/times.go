package allreduce

import "pupil/allreduce/internal/meter"

// Times is where a rank's time went. Its parts may overlap: sending goes on beside all else. Beside each other, those
// of all ranks tell who is slow, and why:
//
//   - much Behind, and less Wait than the others: the rank computes for longer than those before it, and they wait;
//   - much Send: the rank's way to the network is slow; the next rank Waits;
//   - much Add: the rank has too little processor time for the ring;
//   - much Wait everywhere, with little Behind and Send: the network is slow, or loses much (Stats.Asked).
type Times = meter.Times

// Times returns the times of the last committed step, and their sum over all steps, in which the open one counts up to
// now. A ring of one has none.
func (r *Ring) Times() (step, total Times) { return r.meter.Read(r.clock.now()) }
