package machine

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"pupil/allreduce/internal/frame"
)

// smallestChunk is the payload, in bytes, under which a vector is not cut to give every rank a part: a message costs as
// much time as copying about that many bytes.
const smallestChunk = 8 << 10

// A chunk's state at a rank.
type chunkState uint8

const (
	untouched   chunkState = iota
	contributed            // this rank's input is in, and the partial sum was sent on
	total                  // the sum over all ranks is in the bucket's data, and kept as it came
)

// bucket is one vector on its way.
type bucket struct {
	id      uint32
	dtype   frame.DType
	data    []byte        // this rank's input; by chunk replaced by the total; of a sum nil once that is complete
	memory  *frame.Buffer // that of data
	bytes   int           // of data
	elems   int           // of a chunk, but for a shorter last one
	started time.Duration
	ask     asker

	state   []chunkState  // by chunk
	kept    []frame.Frame // by chunk: what this rank can send again, the partial sum or the total
	sums    []uint32      // by chunk: CRC-32C of the total
	missing int           // chunks whose total is not there
	first   int           // no chunk before it is missing
	own     int           // the next chunk that this rank starts
	under   int           // own chunks under way
	share   *share        // not nil: a state, not a sum
}

// chunkElements is how many elements a chunk of a vector has: every rank starts a part of equally many chunks, so that all
// links carry the same, unless that makes small chunks.
func chunkElements(n int, t frame.DType, c Config) int {
	part := (n + c.Size - 1) / c.Size
	most := c.ChunkBytes / t.Size()
	chunks := max(1, (part+most-1)/most)
	return min(most, max(smallestChunk/t.Size(), (part+chunks-1)/chunks))
}

// ChunkSize is how many bytes a chunk of a vector has, but for a shorter last one, in a ring of so many ranks.
func ChunkSize(vector int, t frame.DType, size, chunkBytes int) int {
	return t.Size() * chunkElements(vector/t.Size(), t, Config{Size: size, ChunkBytes: chunkBytes})
}

// newBucket makes a bucket of b's memory.
func newBucket(b *bucket, id uint32, t frame.DType, memory *frame.Buffer, c Config) *bucket {
	var data []byte
	if memory != nil {
		data = memory.Bytes
	}
	n := len(data) / t.Size()
	*b = bucket{
		id: id, dtype: t, data: data, memory: memory.Keep(), bytes: len(data), elems: chunkElements(n, t, c),
		state: b.state, kept: b.kept, sums: b.sums,
	}
	chunks := (n + b.elems - 1) / b.elems
	if c.Size == 1 { // the vector is its own sum
		chunks = 0
	}
	b.state, b.kept, b.sums = zeros(b.state, chunks), zeros(b.kept, chunks), zeros(b.sums, chunks)
	b.missing = chunks
	for b.own = 0; b.own < chunks && b.origin(b.own, c.Size) != c.Rank; {
		b.own++
	}
	return b
}

// zeros is n zeros, in the memory of s if that is enough.
func zeros[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// release lets go of all memory of vectors and messages.
func (b *bucket) release() {
	for i, f := range b.kept {
		f.Release()
		b.kept[i] = frame.Frame{}
	}
	b.giveBack()
}

// giveBack lets go of the data.
func (b *bucket) giveBack() {
	b.memory.Release()
	b.data, b.memory = nil, nil
}

// origin is the rank that starts a chunk. It depends on the bucket, so that buckets of one chunk spread over the ranks.
func (b *bucket) origin(chunk, size int) int {
	return int((uint64(chunk) + uint64(b.id)) % uint64(size))
}

// chunk is a chunk's part of the data.
func (b *bucket) chunk(i int) []byte {
	first := i * b.elems * b.dtype.Size()
	return b.data[first : first+b.chunkBytes(i)]
}

// chunkBytes is the length of a chunk.
func (b *bucket) chunkBytes(i int) int {
	size := b.elems * b.dtype.Size()
	return min(size, b.bytes-i*size)
}

// Start begins the sum of a vector over all ranks. data holds its elements in little-endian order; the
// machine keeps it, and writes to it, until the completion comes, when it holds the sums, or the machine has failed. A ring of one takes nil. The error is one of this call alone, unless Err
// says otherwise.
func (m *Machine) Start(now time.Duration, step uint64, id uint32, t frame.DType, data *frame.Buffer) error {
	m.now = now
	if err := m.admit(step, id); err != nil {
		return err
	}
	b := &bucket{}
	if n := len(m.spare); n > 0 {
		b, m.spare = m.spare[n-1], m.spare[:n-1]
	}
	newBucket(b, id, t, data, m.c)
	b.started = now
	m.buckets[id] = b
	m.held += len(b.data)
	if b.missing == 0 {
		m.complete(b)
	} else {
		m.live = append(m.live, b)
		m.restart(&b.ask)
		if m.overflowed {
			b.ask.at = now
		}
	}
	m.launch()
	m.replay()
	return nil
}

// admit opens a step for a bucket, if it can be begun.
func (m *Machine) admit(step uint64, id uint32) error {
	if m.err != nil {
		return m.err
	}
	if err := m.openStep(step); err != nil {
		return err
	}
	if m.buckets[id] != nil {
		return fmt.Errorf("step %d: bucket %d was started already", step, id)
	}
	if m.commit != nil {
		return fmt.Errorf("step %d: bucket %d: the step's commit has begun", step, id)
	}
	return nil
}

// launch starts own chunks as far as the window allows.
func (m *Machine) launch() {
	for _, b := range m.live {
		for b.own < len(b.state) && (b.under == 0 || m.circulating < m.c.Window) {
			i := b.own
			b.own += m.c.Size
			b.under++
			m.circulating++
			f := m.input(b, i)
			m.pass(b, i, f)
			f.Release()
		}
	}
}

// dataHeader is the header of a chunk's sum over some ranks.
func (m *Machine) dataHeader(b *bucket, i int, of frame.Trail) frame.Header {
	h := m.header(frame.Data)
	size := b.dtype.Size()
	h.DType, h.Bucket, h.Chunk, h.Contributors = b.dtype, b.id, uint32(i), of
	h.Total, h.Count = uint32(b.bytes/size), uint32(b.chunkBytes(i)/size)
	return h
}

// pass sends a partial sum with this rank's input on, and keeps it in case it gets lost.
func (m *Machine) pass(b *bucket, i int, f frame.Frame) {
	b.state[i], b.kept[i] = contributed, f.Keep()
	m.held += len(f.Buffer)
	m.send(m.next(), f.Keep())
}

// receiveData takes a chunk of a step that is open here.
func (m *Machine) receiveData(f frame.Frame) {
	b := m.buckets[f.Bucket]
	if b == nil {
		if m.commit != nil {
			m.mismatch("rank %d reduces bucket %d of step %d, which this rank committed without that bucket",
				f.Sender, f.Bucket, f.Step)
			return
		}
		m.keepEarly(f)
		return
	}
	if err := m.checkData(b, f); err != nil {
		m.Fail(err)
		return
	}
	i := int(f.Chunk)
	whole := f.Contributors == m.everyone[b.origin(i, m.c.Size)]
	if b.state[i] == total || b.state[i] == contributed && !whole {
		m.stats.Duplicates++
		m.learn(b, f.Attempt, true)
		m.hear(b, f.Attempt)
		return
	}
	m.learn(b, f.Attempt, false)
	m.moved(b)
	if whole {
		m.receiveTotal(b, i, f)
		return
	}
	m.contribute(b, i, f)
}

// checkData tells whether a chunk is what the sender, at its place in the ring, must send.
func (m *Machine) checkData(b *bucket, f frame.Frame) error {
	if b.share != nil {
		return fmt.Errorf("%w: step %d: rank %d sums bucket %d, which is a state here",
			ErrMismatch, f.Step, f.Sender, f.Bucket)
	}
	i, elements := int(f.Chunk), b.bytes/b.dtype.Size()
	var what string
	switch {
	case !m.fills(b, f) || int(f.Total) != elements:
		what = fmt.Sprintf("rank %d sums %d elements of %s, this rank %d of %s", f.Sender, f.Total, f.DType,
			elements, b.dtype)
	case i >= len(b.state) || int(f.Count) != b.chunkBytes(i)/b.dtype.Size():
		what = fmt.Sprintf("rank %d cuts the vector into other chunks; give every rank the same ChunkBytes", f.Sender)
	case int(f.Sender) != m.previous() || !m.canBe(b, f):
		what = fmt.Sprintf("rank %d sent chunk %d with the inputs of other ranks than can be (%v)", f.Sender, i, f.Contributors)
	default:
		return nil
	}
	return fmt.Errorf("%w: step %d, bucket %d: %s", ErrMismatch, f.Step, f.Bucket, what)
}

// canBe tells whether a chunk's contributors are all ranks, this one too, or those from the origin up to this one.
func (m *Machine) canBe(b *bucket, f frame.Frame) bool {
	origin := b.origin(int(f.Chunk), m.c.Size)
	if f.Contributors == m.everyone[origin] {
		return b.state[f.Chunk] != untouched
	}
	return origin != m.c.Rank && f.Contributors == m.before[origin]
}

// trails are, by origin, what a chunk's contributors are when it comes to this rank: first those before it, then everyone.
func trails(c Config) (before, everyone []frame.Trail) {
	for origin := range c.Size {
		t := frame.Arc(origin, (c.Rank-origin+c.Size)%c.Size, c.Size)
		before = append(before, t)
		for i := t.Count(); i < c.Size; i++ {
			t = t.Add((origin + i) % c.Size)
		}
		everyone = append(everyone, t)
	}
	return before, everyone
}

// contribute adds this rank's input to a partial sum.
func (m *Machine) contribute(b *bucket, i int, f frame.Frame) {
	f, overflow := m.add(b, i, f)
	defer f.Release()
	if overflow {
		m.Fail(fmt.Errorf("%w: step %d, bucket %d: chunk %d is beyond the range of %s with the input of rank %d; keep the "+
			"lanes' values within Scaler.Limit", ErrOverflow, m.step, b.id, i, b.dtype, m.c.Rank))
		return
	}
	if f.Contributors.Count() < m.c.Size {
		m.pass(b, i, f)
		return
	}
	m.store(b, i, f)
	m.send(m.next(), f.Keep())
	m.settle(b)
}

// receiveTotal takes the sum over all ranks and sends it on, unless the next rank is the one that completed it.
func (m *Machine) receiveTotal(b *bucket, i int, f frame.Frame) {
	origin := b.origin(i, m.c.Size)
	h := m.dataHeader(b, i, m.everyone[origin])
	h.DType, h.PayloadCRC = f.DType, f.PayloadCRC
	f.Header = h
	m.store(b, i, f)
	if m.next() != (origin+m.c.Size-1)%m.c.Size {
		m.send(m.next(), f.Keep())
	}
	if origin == m.c.Rank {
		b.under--
		m.circulating--
		m.launch()
	}
	m.settle(b)
}

// store takes a total, and keeps it for the next rank, should that lose it.
func (m *Machine) store(b *bucket, i int, f frame.Frame) {
	b.copyTotal(i, f)
	m.held += len(f.Buffer) - len(b.kept[i].Buffer)
	b.kept[i].Release()
	b.state[i], b.kept[i], b.sums[i] = total, f.Keep(), f.PayloadCRC
	b.missing--
	for b.first < len(b.state) && b.state[b.first] == total {
		b.first++
	}
}

// settle completes a bucket that has everything.
func (m *Machine) settle(b *bucket) {
	if b.missing > 0 {
		return
	}
	for i, l := range m.live {
		if l == b {
			m.live = append(m.live[:i], m.live[i+1:]...)
			break
		}
	}
	if !b.ask.asked {
		m.patience = max(0, m.patience-1)
	}
	m.complete(b)
}

// complete ends a call. A vector is then its caller's again; a state is needed until the commit.
func (m *Machine) complete(b *bucket) {
	if b.share == nil {
		m.held -= b.bytes
		b.giveBack()
	}
	m.out.Completed = append(m.out.Completed, Completion{Step: m.step, Bucket: b.id})
}

// describe tells what a bucket waits for.
func (m *Machine) describe(b *bucket) string {
	if b.share != nil && !b.share.known {
		return fmt.Sprintf("step %d: nothing of state %d came from rank %d; some rank must have it",
			m.step, b.id, m.previous())
	} else if b.share != nil {
		return fmt.Sprintf("step %d, state %d: %d of %d pieces did not come from rank %d",
			m.step, b.id, b.missing, len(b.state), m.previous())
	}
	var origins []string
	seen := map[int]bool{}
	for i := b.first; i < len(b.state); i++ {
		if o := b.origin(i, m.c.Size); b.state[i] != total && !seen[o] {
			seen[o] = true
			origins = append(origins, strconv.Itoa(o))
		}
	}
	return fmt.Sprintf("step %d, bucket %d: %d of %d chunks (of rank %s) did not come from rank %d",
		m.step, b.id, b.missing, len(b.state), strings.Join(origins, ", "), m.previous())
}
