package cluster

import "fmt"

// Instruction is a kind of order.
type Instruction string

// The instructions.
const (
	Rest    Instruction = "rest"    // there is nothing to do
	Train   Instruction = "train"   // carry the plan
	Halt    Instruction = "halt"    // carry the plan, and stop after a step
	Abort   Instruction = "abort"   // the generation is over; let go of it at once
	Dismiss Instruction = "dismiss" // all have done their part; go
)

// Order is what a worker should be told.
type Order struct {
	Instruction Instruction
	Run         string
	Generation  uint64
	Reason      string // of Halt and Abort
}

// Order says what the worker should be told now.
func (s *State) Order(worker string) Order {
	w := s.Worker(worker)
	if w == nil || w.Run == "" {
		return Order{Instruction: Rest}
	}
	r := s.Run(w.Run)
	o := Order{Instruction: Train, Run: w.Run, Generation: w.Generation}
	over := r.Phase.Over() || r.generation() != w.Generation
	switch {
	case w.Done && over:
		o.Instruction = Dismiss
	case w.Done: // others may still ask it about the last step
		o = Order{Instruction: Rest}
	case over && r.Reason != "" && r.generation() == w.Generation:
		o.Instruction, o.Reason = Abort, r.Reason
	case over:
		o.Instruction, o.Reason = Abort, fmt.Sprintf("generation %d is over", w.Generation)
	case r.Phase == Stopping:
		o.Instruction, o.Reason = Halt, r.Reason
	}
	return o
}
