package machine

import "pupil/allreduce/internal/frame"

// narrow says whether sums of int32 whose elements all have 24 bits may be sent in 3 bytes each (frame.Int24). All ranks must take
// them, for what one sends the others send on; each says so in its DONEs. So the sums of a generation's first step have 4.
type narrow struct {
	takes   []bool // by rank
	missing int    // ranks that have not said it, this one too
}

func newNarrow(c Config) narrow {
	n := narrow{takes: make([]bool, c.Size), missing: c.Size}
	if !c.Wide {
		n.learn(c.Rank)
	}
	return n
}

// learn notes that a rank takes them.
func (n *narrow) learn(rank int) {
	if !n.takes[rank] {
		n.takes[rank] = true
		n.missing--
	}
}

// offer is what a DONE's DType says.
func (m *Machine) offer() frame.DType {
	if m.c.Wide {
		return 0
	}
	return frame.Int24
}

// fills tells whether a message's elements can be those of a chunk.
func (m *Machine) fills(b *bucket, f frame.Frame) bool {
	return f.DType == b.dtype || f.DType == frame.Int24 && b.dtype == frame.Int32 && !m.c.Wide
}

// input is a frame with a copy of this rank's input to a chunk.
func (m *Machine) input(b *bucket, i int) frame.Frame {
	part, h := b.chunk(i), m.dataHeader(b, i, frame.Trail(0).Add(m.c.Rank))
	if b.dtype == frame.Int32 && m.narrow.missing == 0 {
		h.DType = frame.Int24
		f := m.c.Pool.New(h, len(part)/4*3)
		if frame.Narrow(f.Payload(), part) {
			f.Seal()
			return f
		}
		f.Release()
		h.DType = frame.Int32
	}
	f := m.c.Pool.New(h, len(part))
	copy(f.Payload(), part)
	f.Seal()
	return f
}

// add adds this rank's input to a partial sum, and returns the sum, held once: f itself, if it has room. overflow is that of
// frame.Add.
func (m *Machine) add(b *bucket, i int, f frame.Frame) (sum frame.Frame, overflow bool) {
	t, part := f.DType, b.chunk(i)
	h := m.dataHeader(b, i, f.Contributors.Add(m.c.Rank))
	sum = f.Keep()
	switch {
	case t != frame.Int24:
		overflow = frame.Add(t, f.Payload(), part)
	case frame.AddNarrow(f.Payload(), part):
		h.DType = t
	default: // from here on in 4 bytes
		sum.Release()
		sum = m.c.Pool.New(h, len(part))
		frame.Widen(sum.Payload(), f.Payload(), part)
	}
	sum.Header = h
	sum.Seal()
	return sum, overflow
}

// copyTotal writes a total to the place of this rank's input.
func (b *bucket) copyTotal(i int, f frame.Frame) {
	if f.DType == frame.Int24 {
		frame.WidenTo(b.chunk(i), f.Payload())
		return
	}
	copy(b.chunk(i), f.Payload())
}
