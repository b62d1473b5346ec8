package machine_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pupil/allreduce/internal/frame"
	"pupil/allreduce/internal/machine"
)

var update = flag.Bool("update", false, "rewrite testdata with what the scripts print")

// The scripts in testdata are commands, each followed by what it printed, indented. Commands:
//
//	ring N [chunk=BYTES] [window=N] [deadline=D] [early=BYTES] [wide=RANK]    wide: a rank that knows no int24
//	start RANK STEP BUCKET int32|int64 ELEMENT...
//	share RANK STEP BUCKET TEXT           a state; without TEXT: the rank lacks it, and accepts 100 bytes
//	commit RANK STEP
//	deliver [FROM>TO] [KIND] [CHUNK]      the messages that match, oldest first, and (with no argument) what follows
//	repeat, drop, corrupt FROM>TO [KIND] [CHUNK]   the first that matches: delivered and kept, lost, delivered damaged
//	advance D                             time passes, every machine ticks
//	fail RANK TEXT...
//	held RANK
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			s := &script{out: &got}
			for line := range strings.Lines(string(want)) {
				if strings.HasPrefix(line, "    ") {
					continue
				}
				got.WriteString(line)
				if fields := strings.Fields(line); len(fields) > 0 && fields[0] != "#" {
					if err := s.do(fields); err != nil {
						t.Fatalf("%q: %v", strings.TrimSpace(line), err)
					}
				}
			}
			if *update {
				if err := os.WriteFile(name, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", got.Bytes(), want)
			}
		})
	}
}

type script struct {
	out    *bytes.Buffer
	now    time.Duration
	ranks  []*machine.Machine
	failed []bool
	data   []map[machine.Completion]vector // by rank; sum is the rank's own slice
	queue  []queued
}

type queued struct {
	from, to int
	message  []byte
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(s.out, "    "+format+"\n", args...) }

func (s *script) do(f []string) error {
	num := func(i int) int {
		n, err := strconv.Atoi(f[i])
		if err != nil {
			panic(err)
		}
		return n
	}
	switch f[0] {
	case "ring":
		return s.ring(num(1), f[2:])
	case "start":
		s.start(num(1), num(2), num(3), f[4], f[5:])
	case "share":
		s.share(num(1), num(2), num(3), f[4:])
	case "commit":
		if err := s.ranks[num(1)].Commit(s.now, uint64(num(2))); err != nil {
			s.printf("error: %v", err)
		}
	case "deliver":
		s.deliver(f[1:])
	case "repeat", "drop", "corrupt":
		if err := s.fault(f[0], f[1:]); err != nil {
			return err
		}
	case "advance":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			return err
		}
		s.now += d
		for _, m := range s.ranks {
			m.Tick(s.now)
		}
	case "fail":
		s.ranks[num(1)].Fail(fmt.Errorf("%s", strings.Join(f[2:], " ")))
	case "held":
		s.printf("%d bytes", s.ranks[num(1)].Held())
	default:
		return fmt.Errorf("unknown command")
	}
	s.collect()
	return nil
}

func (s *script) ring(size int, options []string) error {
	c := machine.Config{
		Job: 1, Generation: 1, Size: size, Deadline: 640 * time.Millisecond,
		ChunkBytes: 8, Window: 1, EarlyBytes: 1 << 20,
	}
	wide := -1
	for _, o := range options {
		k, v, _ := strings.Cut(o, "=")
		n, err := strconv.Atoi(v)
		switch k {
		case "chunk":
			c.ChunkBytes = n
		case "window":
			c.Window = n
		case "early":
			c.EarlyBytes = n
		case "wide":
			wide = n
		case "deadline":
			c.Deadline, err = time.ParseDuration(v)
		default:
			return fmt.Errorf("unknown option %q", k)
		}
		if err != nil {
			return err
		}
	}
	*s = script{out: s.out, failed: make([]bool, size)}
	for c.Rank = range size {
		c.Wide = c.Rank == wide
		s.ranks = append(s.ranks, machine.New(c))
		s.data = append(s.data, map[machine.Completion]vector{})
	}
	return nil
}

func (s *script) start(rank, step, bucket int, dtype string, elements []string) {
	v := vector{dtype: frame.Int32}
	if dtype == "int64" {
		v.dtype = frame.Int64
	}
	for i, e := range elements {
		x, err := strconv.Atoi(e)
		if err != nil {
			panic(err)
		}
		v.sum = binary.LittleEndian.AppendUint64(v.sum, uint64(x))[:(i+1)*v.dtype.Size()]
	}
	key := machine.Completion{Step: uint64(step), Bucket: uint32(bucket)}
	err := s.ranks[rank].Start(s.now, key.Step, key.Bucket, v.dtype, &frame.Buffer{Bytes: v.sum})
	if err != nil {
		s.printf("error: %v", err)
		return
	}
	s.data[rank][key] = v
}

func (s *script) share(rank, step, bucket int, text []string) {
	v := vector{dtype: frame.Byte}
	var state *frame.Buffer
	var hash [sha256.Size]byte
	if len(text) > 0 {
		state = &frame.Buffer{Bytes: []byte(strings.Join(text, " "))}
		hash = sha256.Sum256(state.Bytes)
	}
	if err := s.ranks[rank].Share(s.now, uint64(step), uint32(bucket), state, hash, 100); err != nil {
		s.printf("error: %v", err)
		return
	}
	s.data[rank][machine.Completion{Step: uint64(step), Bucket: uint32(bucket)}] = v
}

// collect queues and prints what the machines put out.
func (s *script) collect() {
	for rank, m := range s.ranks {
		out := m.Take()
		for _, x := range out.Sends {
			s.queue = append(s.queue, queued{rank, x.To, slices.Clone(x.Frame.Encode())})
		}
		for _, c := range out.Completed {
			if c.Commit {
				s.printf("rank %d: step %d is committed", rank, c.Step)
				continue
			}
			v := s.data[rank][c]
			if v.dtype == frame.Byte {
				state, _ := m.Shared(c.Bucket)
				s.printf("rank %d: state %d is %q", rank, c.Bucket, state)
				continue
			}
			s.printf("rank %d: bucket %d is %v", rank, c.Bucket, elements(v))
		}
		if err := m.Err(); err != nil && !s.failed[rank] {
			s.failed[rank] = true
			s.printf("rank %d: failed: %v", rank, err)
		}
	}
}

func elements(v vector) (x []int) {
	for b := v.sum; len(b) > 0; b = b[v.dtype.Size():] {
		switch v.dtype {
		case frame.Int32:
			x = append(x, int(int32(binary.LittleEndian.Uint32(b))))
		case frame.Int24:
			x = append(x, int(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)>>8))
		default:
			x = append(x, int(binary.LittleEndian.Uint64(b)))
		}
	}
	return x
}

var kinds = []string{"", "data", "need", "done", "query", "abort", "part", "alive"}

// ranksOf are the contributors of a chunk, ascending.
func ranksOf(f frame.Frame) (ranks []int) {
	size, n := int(f.Size), f.Contributors.Count()
	first := int((f.Chunk + f.Bucket) % uint32(size))
	if frame.Arc(first, n, size) != f.Contributors {
		return []int{-1}
	}
	for i := range n {
		ranks = append(ranks, (first+i)%size)
	}
	slices.Sort(ranks)
	return ranks
}

func (q queued) String() string {
	f, err := frame.Decode(q.message)
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("%d>%d %s %d", q.from, q.to, kinds[f.Kind], f.Step)
	switch f.Kind {
	case frame.Data:
		text += fmt.Sprintf(" bucket %d chunk %d of ranks", f.Bucket, f.Chunk)
		for _, r := range ranksOf(f) {
			text += fmt.Sprintf(" %d", r)
		}
		text += fmt.Sprint(" = ", elements(vector{dtype: f.DType, sum: f.Payload()}))
		if f.DType == frame.Int24 {
			text += " in 24 bits"
		}
	case frame.Need:
		text += fmt.Sprintf(" bucket %d at most %d of:", f.Bucket, f.Total)
		for p := f.Payload(); len(p) > 0; p = p[4:] {
			e := binary.LittleEndian.Uint32(p)
			text += fmt.Sprintf(" %d", e&^(1<<31))
			if e>>31 == 1 {
				text += "(total)"
			}
		}
	case frame.Part:
		text += fmt.Sprintf(" state %d piece %d of %d bytes = %q", f.Bucket, f.Chunk, f.Total, f.Payload()[sha256.Size:])
	case frame.Alive:
		text += fmt.Sprintf(" %d pieces", f.Total)
	case frame.Done:
		if f.Payload()[32] == 1 {
			text += " by all"
		}
	case frame.Abort:
		text += fmt.Sprintf(" %s", f.Payload())
	}
	if f.Attempt > 0 {
		text += fmt.Sprintf(" attempt %d", f.Attempt)
	}
	return text
}

// matches tells whether a message is of FROM>TO, KIND and CHUNK, as far as they are given.
func (q queued) matches(f []string) bool {
	fields := strings.Fields(q.String())
	switch {
	case len(f) > 0 && fields[0] != f[0] || len(f) > 1 && fields[1] != f[1]:
		return false
	case len(f) > 2:
		return len(fields) > 6 && fields[6] == f[2]
	}
	return true
}

func (s *script) deliver(f []string) {
	for again := true; again; {
		again = false
		queue := s.queue
		s.queue = nil
		for _, q := range queue {
			if !q.matches(f) {
				s.queue = append(s.queue, q)
				continue
			}
			s.printf("%s", q)
			s.hand(q, q.message)
			s.collect()
			again = len(f) == 0
		}
	}
}

func (s *script) hand(q queued, message []byte) {
	d, err := frame.Decode(slices.Clone(message))
	if err != nil {
		s.printf("refused: %v", err)
		return
	}
	s.ranks[q.to].Receive(s.now, d)
}

func (s *script) fault(kind string, f []string) error {
	for i, q := range s.queue {
		if !q.matches(f) {
			continue
		}
		if kind != "repeat" {
			s.queue = slices.Delete(slices.Clone(s.queue), i, i+1)
		}
		s.printf("%s", q)
		if kind == "corrupt" {
			q.message[len(q.message)-1] ^= 1
		}
		if kind != "drop" {
			s.hand(q, q.message)
		}
		return nil
	}
	return fmt.Errorf("no message matches")
}
