package machine

import (
	"encoding/binary"
	"math"

	"pupil/allreduce/internal/frame"
)

// hasPartial marks an entry of a NEED: its sender has contributed to the chunk and lacks the total only. The other bits
// are the chunk.
const hasPartial = 1 << 31

// need asks the previous rank for the first missing chunks: as many as may be under way, halved with every question.
func (m *Machine) need(b *bucket) {
	b.ask.attempt = min(b.ask.attempt, math.MaxUint16-1) + 1
	limit := max(1, m.c.Size*m.c.Window>>min(b.ask.level, 30))
	limit = min(limit, b.missing, m.c.ChunkBytes/4)
	f := frame.New(m.header(frame.Need), limit*4)
	f.Bucket, f.Count, f.Attempt = b.id, uint32(limit), b.ask.attempt
	for i, p := b.first, f.Payload(); len(p) > 0; i++ {
		entry := uint32(i)
		switch b.state[i] {
		case total:
			continue
		case contributed:
			entry |= hasPartial
		}
		binary.LittleEndian.PutUint32(p, entry)
		p = p[4:]
	}
	f.Seal()
	m.send(m.previous(), f)
	m.again(&b.ask)
}

// serve answers a NEED with what this rank has: the total, or the partial sum that it had sent on. What it has not, it
// sends when it comes, as ever.
func (m *Machine) serve(f frame.Frame) {
	b := m.buckets[f.Bucket]
	if b == nil || int(f.Sender) != m.next() {
		return
	}
	for p := f.Payload(); len(p) > 0; p = p[4:] {
		entry := binary.LittleEndian.Uint32(p)
		i := int(entry &^ hasPartial)
		if i >= len(b.state) {
			m.mismatch("rank %d asks for chunk %d of bucket %d, which has %d; give every rank the same ChunkBytes",
				f.Sender, i, f.Bucket, len(b.state))
			return
		}
		var again frame.Frame
		switch {
		case b.state[i] == total:
			again = m.copyOf(b, i, m.c.Size)
		case b.state[i] == contributed && entry&hasPartial == 0:
			again = b.kept[i]
		default:
			continue
		}
		again.Attempt = f.Attempt
		m.stats.Resent++
		m.send(m.next(), again)
		if f.Attempt == 1 { // the asking rank has moved since it last asked
			m.progress = m.now
		}
	}
}
