package machine

import (
	"encoding/binary"
	"math"

	"pupil/allreduce/internal/frame"
)

// hasPartial marks an entry of a NEED: its sender has contributed to the chunk and lacks the total only. The other bits
// are the chunk.
const hasPartial = 1 << 31

// maxEntries bounds the entries of a NEED.
const maxEntries = MaxControl / 4

// need asks the previous rank for the first missing chunks: for some answers, halved with every question, out of as many chunks as
// may be under way.
func (m *Machine) need(b *bucket) {
	if b.share != nil {
		m.requestAgain(b)
		return
	}
	b.ask.attempt = min(b.ask.attempt, math.MaxUint8-1) + 1
	underWay := m.c.Size * m.c.Window
	entries := min(underWay, b.missing, maxEntries)
	f := m.c.Pool.New(m.header(frame.Need), entries*4)
	f.Bucket, f.Count, f.Attempt = b.id, uint32(entries), b.ask.attempt
	f.Total = uint32(max(1, m.answers>>min(b.ask.level, 30)))
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
	m.again(&b.ask, m.patience)
}

// serve answers a NEED with what this rank has: the total, or the partial sum that it had sent on. What it has not, it
// sends when it comes, as ever.
func (m *Machine) serve(f frame.Frame) {
	b := m.buckets[f.Bucket]
	if b == nil || int(f.Sender) != m.next() {
		return
	}
	if b.share != nil {
		m.servePieces(b, f)
		return
	}
	left := f.Total
	for p := f.Payload(); len(p) > 0 && left > 0; p = p[4:] {
		entry := binary.LittleEndian.Uint32(p)
		i := int(entry &^ hasPartial)
		if i >= len(b.state) {
			m.mismatch("rank %d asks for chunk %d of bucket %d, which has %d; give every rank the same ChunkBytes",
				f.Sender, i, f.Bucket, len(b.state))
			return
		}
		var again frame.Frame
		switch {
		case b.state[i] == total, b.state[i] == contributed && entry&hasPartial == 0:
			again = b.kept[i].Keep()
		default:
			continue
		}
		left--
		again.Attempt = f.Attempt
		m.stats.Resent++
		m.send(m.next(), again)
		if f.Attempt == 1 { // the asking rank has moved since it last asked
			m.progress = m.now
		}
	}
}
