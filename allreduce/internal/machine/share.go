package machine

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"pupil/allreduce/internal/frame"
)

// share is what a bucket has that is a state to be handed on, not a vector to be summed. Who lacks it asks the previous
// rank for pieces, a window of them at a time; who has pieces sends them, and who does not yet, sends them as they
// come. So a state goes from every rank that has it along the ring to those that lack it, over each link once.
type share struct {
	known  bool // length and hash
	hash   [sha256.Size]byte
	most   int    // bytes that are accepted
	asked  []bool // by piece: asked for
	under  int    // pieces that were asked for and are not here
	next   int    // the next piece to ask for
	wanted []bool // by piece: the next rank waits for it
	first  bool   // the next rank waits for the first piece, before it is known how many there are
}

// pieceBytes is how much of a state a PART holds beside the hash.
func pieceBytes(c Config) int { return max(c.ChunkBytes, 2*sha256.Size) - sha256.Size }

// MaxState bounds a state, in bytes.
const MaxState = math.MaxUint32

// Share hands a state to the ranks that lack it. A rank that has it gives it, with its SHA-256; it must not change
// until the step is committed. A rank that lacks it gives nil, and the most bytes that it accepts; Shared has the state
// once the completion has come. The error is one of this call alone, unless Err says otherwise.
func (m *Machine) Share(
	now time.Duration, step uint64, id uint32, state *frame.Buffer, hash [sha256.Size]byte, most int,
) error {
	m.now = now
	if err := m.admit(step, id); err != nil {
		return err
	}
	b := &bucket{
		id: id, dtype: frame.Byte, elems: pieceBytes(m.c), started: now, own: math.MaxInt, missing: 1,
		share: &share{most: most},
	}
	m.buckets[id] = b
	if state == nil {
		m.live = append(m.live, b)
		m.restart(&b.ask)
		m.request(b)
		return nil
	}
	b.memory = state.Keep()
	b.learnState(state.Bytes, hash)
	for i := range b.state {
		b.state[i] = total
	}
	b.missing = 0
	m.held += b.bytes
	m.complete(b)
	return nil
}

// Shared is the state of a completed Share of the open step, and the hash that came with it.
func (m *Machine) Shared(id uint32) (state []byte, hash [sha256.Size]byte) {
	if b := m.buckets[id]; b != nil && b.share != nil && b.missing == 0 {
		return b.data, b.share.hash
	}
	return nil, hash
}

// learnState sets a state's memory and hash. Even an empty state is a piece, so that its hash is told.
func (b *bucket) learnState(data []byte, hash [sha256.Size]byte) {
	pieces := max(1, (len(data)+b.elems-1)/b.elems)
	b.data, b.bytes, b.state, b.missing = data, len(data), make([]chunkState, pieces), pieces
	s := b.share
	s.known, s.hash = true, hash
	asked := s.asked
	s.asked, s.wanted = make([]bool, pieces), make([]bool, pieces)
	copy(s.asked, asked)
	s.wanted[0] = s.first
}

// request asks for pieces until a window of them is under way, half a window at a time.
func (m *Machine) request(b *bucket) {
	s := b.share
	if s.under > m.c.Window/2 {
		return
	}
	if !s.known { // the first piece tells how many there are
		if s.next == 0 {
			s.next, s.under, s.asked = 1, 1, []bool{true}
			m.askPieces(b, []int{0}, 0)
		}
		return
	}
	var pieces []int
	for ; s.next < len(b.state) && s.under < min(m.c.Window, maxEntries); s.next++ {
		s.asked[s.next] = true
		s.under++
		pieces = append(pieces, s.next)
	}
	if len(pieces) > 0 {
		m.askPieces(b, pieces, 0)
	}
}

// requestAgain asks for what was asked for and did not come: for some pieces, halved with every question; see learn. The
// answers are long and have one link to themselves, so that questions come more rarely than for sums, up to Deadline/8
// apart: on a slow network, the same piece again is what holds up the next.
func (m *Machine) requestAgain(b *bucket) {
	var pieces []int
	most := min(maxEntries, max(1, m.answers>>min(b.ask.level, 30)))
	for i, asked := range b.share.asked {
		if asked && len(pieces) < most && (!b.share.known || b.state[i] != total) {
			pieces = append(pieces, i)
		}
	}
	b.ask.attempt = min(b.ask.attempt, math.MaxUint8-1) + 1
	m.askPieces(b, pieces, b.ask.attempt)
	m.again(&b.ask, m.patience)
	b.ask.at = m.now + min(m.wait(0, 0)<<min(b.ask.level+m.patience, 16), m.c.Deadline/8)
}

func (m *Machine) askPieces(b *bucket, pieces []int, attempt uint8) {
	f := m.c.Pool.New(m.header(frame.Need), 4*len(pieces))
	f.Bucket, f.Count, f.Total, f.Attempt = b.id, uint32(len(pieces)), uint32(len(pieces)), attempt
	for i, p := range pieces {
		binary.LittleEndian.PutUint32(f.Payload()[4*i:], uint32(p))
	}
	f.Seal()
	m.send(m.previous(), f)
}

// servePieces answers a NEED of a state with the pieces that are here; the others go out when they come.
func (m *Machine) servePieces(b *bucket, f frame.Frame) {
	s := b.share
	for p := f.Payload(); len(p) > 0; p = p[4:] {
		i := int(binary.LittleEndian.Uint32(p))
		switch {
		case !s.known:
			s.first = s.first || i == 0
		case i >= len(b.state):
			m.mismatch("rank %d asks for piece %d of state %d, which has %d; give every rank the same ChunkBytes",
				f.Sender, i, f.Bucket, len(b.state))
			return
		case b.state[i] != total:
			s.wanted[i] = true
		default:
			if f.Attempt > 0 {
				m.stats.Resent++
			}
			m.sendPiece(b, i, f.Attempt)
			if f.Attempt <= 1 { // the asking rank has moved since it last asked
				m.progress = m.now
			}
		}
	}
}

func (m *Machine) sendPiece(b *bucket, i int, attempt uint8) {
	part := b.chunk(i)
	f := m.c.Pool.New(m.partHeader(b, i), sha256.Size+len(part))
	f.Attempt = attempt
	copy(f.Payload(), b.share.hash[:])
	copy(f.Payload()[sha256.Size:], part)
	f.Seal()
	m.send(m.next(), f)
}

func (m *Machine) partHeader(b *bucket, i int) frame.Header {
	h := m.header(frame.Part)
	h.DType, h.Bucket, h.Chunk = frame.Byte, b.id, uint32(i)
	h.Total, h.Count = uint32(b.bytes), uint32(sha256.Size+b.chunkBytes(i))
	return h
}

// receivePart takes a piece of a state, and sends it on if the next rank waits for it.
func (m *Machine) receivePart(f frame.Frame) {
	b := m.buckets[f.Bucket]
	if b == nil { // this rank has not asked for anything
		m.stats.Stale++
		return
	}
	if err := m.checkPart(b, f); err != nil {
		m.Fail(err)
		return
	}
	s, i := b.share, int(f.Chunk)
	if !s.known {
		b.learnState(make([]byte, f.Total), [sha256.Size]byte(f.Payload()))
		m.held += b.bytes
		if i >= len(b.state) || len(f.Payload()) != sha256.Size+b.chunkBytes(i) {
			m.Fail(m.otherPieces(f))
			return
		}
	}
	if b.state[i] == total {
		m.stats.Duplicates++
		m.learn(b, f.Attempt, true)
		m.hear(b, f.Attempt)
		return
	}
	m.learn(b, f.Attempt, false)
	m.moved(b)
	m.pieces++
	copy(b.chunk(i), f.Payload()[sha256.Size:])
	b.state[i] = total
	b.missing--
	if s.asked[i] {
		s.under--
	}
	if s.wanted[i] {
		s.wanted[i] = false
		f.Header = m.partHeader(b, i)
		f.PayloadCRC = frame.Checksum(f.Payload())
		m.send(m.next(), f.Keep())
	}
	m.request(b)
	m.settle(b)
}

// checkPart tells whether a piece can be one of the state that the bucket is about.
func (m *Machine) checkPart(b *bucket, f frame.Frame) error {
	s := b.share
	var what string
	switch {
	case s == nil:
		what = "which this rank sums"
	case int(f.Sender) != m.previous():
		what = "though this rank asks another"
	case len(f.Payload()) < sha256.Size:
		what = fmt.Sprintf("in %d bytes, fewer than a hash's", len(f.Payload()))
	case !s.known && int64(f.Total) > int64(s.most):
		what = fmt.Sprintf("of %d bytes; this rank accepts %d", f.Total, s.most)
	case !s.known:
		return nil
	case int(f.Total) != b.bytes || [sha256.Size]byte(f.Payload()) != s.hash:
		what = fmt.Sprintf("of %d bytes with the hash %x, this rank has one of %d bytes with the hash %x",
			f.Total, f.Payload()[:4], b.bytes, s.hash[:4])
	case int(f.Chunk) >= len(b.state) || len(f.Payload()) != sha256.Size+b.chunkBytes(int(f.Chunk)):
		return m.otherPieces(f)
	default:
		return nil
	}
	return fmt.Errorf("%w: step %d: rank %d hands on state %d, %s", ErrMismatch, f.Step, f.Sender, f.Bucket, what)
}

func (m *Machine) otherPieces(f frame.Frame) error {
	return fmt.Errorf("%w: step %d: rank %d cuts state %d into other pieces; give every rank the same ChunkBytes",
		ErrMismatch, f.Step, f.Sender, f.Bucket)
}

// alive tells a rank that waits for this one's DONE how many pieces have come: more than before is progress.
func (m *Machine) alive(to int) {
	f := m.c.Pool.New(m.header(frame.Alive), 0)
	f.Total = m.pieces
	m.send(to, f)
}

func (m *Machine) receiveAlive(f frame.Frame) {
	if from := &m.done[f.Sender]; f.Total > from.pieces {
		from.pieces = f.Total
		m.progress = m.now
	}
}
