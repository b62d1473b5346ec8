package allreduce

import (
	"context"
	"sync"

	"pupil/allreduce/internal/machine"
)

// solo is a ring of one, where every vector is its own sum: a machine that is there for the rules of the calls. It gets
// no data, and completes everything at once.
type solo struct {
	mu sync.Mutex
	m  *machine.Machine
}

func newSolo(c Config) *solo { return &solo{m: machine.New(machineConfig(c, nil))} }

// alone makes a call of a ring of one, unless the ring or ctx has ended.
func (r *Ring) alone(ctx context.Context, call func(*machine.Machine) error) error {
	if err := r.Err(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.solo.mu.Lock()
	defer r.solo.mu.Unlock()
	err := call(r.solo.m)
	r.solo.m.Take()
	return err
}
