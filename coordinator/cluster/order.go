package cluster

// Instruction is a kind of order.
type Instruction string

// The instructions.
const (
	Rest  Instruction = "rest"  // carry nothing; let go of what was carried
	Ready Instruction = "ready" // the same, and prepare for a run
	Train Instruction = "train" // carry the plan
	Pause Instruction = "pause" // carry the plan, and end after a step: another generation follows
	Halt  Instruction = "halt"  // carry the plan, and stop after a step, with a checkpoint
)

// Order is what a worker should be told.
type Order struct {
	Instruction Instruction
	Run         string
	Generation  uint64
	Reason      string // of Pause and Halt
}

// Order says what the worker should be told now.
func (s *State) Order(worker string) Order {
	w := s.Worker(worker)
	if w != nil && w.Run == "" && w.Preparing != "" {
		if r := s.Run(w.Preparing); r != nil && !r.Phase.Over() {
			return Order{Instruction: Ready, Run: r.Run}
		}
	}
	if w == nil || w.Run == "" {
		return Order{Instruction: Rest}
	}
	r := s.Run(w.Run)
	o := Order{Instruction: Train, Run: w.Run, Generation: w.Generation}
	switch {
	case r.Phase == Stopping:
		o.Instruction, o.Reason = Halt, r.Reason
	case r.Yielding != "" && r.Handover:
		o.Instruction, o.Reason = Halt, r.Yielding
	case r.Yielding != "":
		o.Instruction, o.Reason = Pause, r.Yielding
	}
	return o
}
