package feed

import "context"

// Outputs are what a teacher makes of its views of a batch of n images.
type Outputs struct {
	Pooled []float32 // [n, pooled features]
	Logits []float32 // [n, classes]; empty when the teacher has no classifier
}

// TeacherCache keeps outputs of the teacher from one run to another. It may forget any of them; those that it has must be
// the bits that were stored. Its methods are called by several goroutines at a time.
type TeacherCache interface {
	Load(step, lane int) (Outputs, bool)
	// Store does not keep the slices.
	Store(ctx context.Context, step, lane int, o Outputs)
}

// Keep stores what the teacher made of the batch, if there is a cache.
func (b *Batch) Keep(ctx context.Context, o Outputs) {
	if b.cache != nil {
		b.cache.Store(ctx, b.Step, b.Lane, o)
	}
}

// recall looks whether the teacher's outputs are known, so that its views need not be made.
func (b *Batch) recall(c TeacherCache) {
	b.Known, b.cache = nil, c
	if c == nil || b.Teacher == nil {
		return
	}
	if o, ok := c.Load(b.Step, b.Lane); ok {
		b.Known = &o
	}
}
