package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"pupil/allreduce/internal/frame"
	"pupil/internal/random"
)

func sample() frame.Frame {
	f := frame.New(frame.Header{
		Kind: frame.Data, DType: frame.Int64, Size: 0x0201, Sender: 0x0102, Attempt: 0x34, Job: 0xdeadbeef, Bucket: 7,
		Chunk: 9, Total: 1 << 31, Count: 3, Generation: 1<<63 + 5, Step: 1 << 40, Contributors: 1<<63 | 1,
	}, 24)
	copy(f.Payload(), "abcdefghijklmnopqrstuvwx")
	f.Seal()
	return f
}

// The bytes are those of docs/protocol.md.
func TestBytes(t *testing.T) {
	got := slices.Clone(sample().Encode())
	want := []byte{
		'P', 'U', 'P', 'R', 3, 1, 2, 0x34, 5, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 1, 0, 0,
		7, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0x80, 3, 0, 0, 0,
		1, 2, 2, 1, 0xef, 0xbe, 0xad, 0xde,
	}
	want = binary.LittleEndian.AppendUint32(want, frame.Checksum([]byte("abcdefghijklmnopqrstuvwx")))
	want = binary.LittleEndian.AppendUint32(want, frame.Checksum(want))
	want = append(want, "abcdefghijklmnopqrstuvwx"...)
	if !bytes.Equal(got, want) {
		t.Errorf("encoded\n% x\nwant\n% x", got, want)
	}
	// "123456789" is the check value of the CRC catalogues.
	if got := frame.Checksum([]byte("123456789")); got != 0xe3069283 {
		t.Errorf("CRC-32C is %08x", got)
	}
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	got, err := frame.Decode(slices.Clone(want.Encode()))
	if err != nil || got.Header != want.Header || !bytes.Equal(got.Payload(), want.Payload()) {
		t.Errorf("decoded %+v, error %v; want %+v", got, err, want)
	}
}

// Every single damaged bit, and every cut, is found out.
func TestDamage(t *testing.T) {
	message := sample().Encode()
	for i := range len(message) * 8 {
		bad := slices.Clone(message)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := frame.Decode(bad); !errors.Is(err, frame.ErrCorrupt) {
			t.Errorf("bit %d: error %v", i, err)
		}
	}
	for n := range message {
		if _, err := frame.Decode(slices.Clone(message[:n])); !errors.Is(err, frame.ErrCorrupt) {
			t.Errorf("%d bytes: error %v", n, err)
		}
	}
	if _, err := frame.Decode(append(slices.Clone(message), 0)); !errors.Is(err, frame.ErrCorrupt) {
		t.Errorf("a byte more: error %v", err)
	}
}

// Fields that cannot be are refused even with right checksums.
func TestFields(t *testing.T) {
	for _, test := range []struct {
		change func(*frame.Frame)
		want   string
	}{
		{func(f *frame.Frame) { f.Kind = 0 }, "unknown kind 0"},
		{func(f *frame.Frame) { f.Kind = 8 }, "unknown kind 8"},
		{func(f *frame.Frame) { f.DType = frame.Byte }, "not to be summed: byte"},
		{func(f *frame.Frame) { f.Kind = frame.Part }, "a piece of a state in int64"},
		{func(f *frame.Frame) { f.Kind, f.DType = frame.Part, frame.Byte }, "the header says 3"},
		{func(f *frame.Frame) { f.DType = 6 }, "not to be summed: dtype 6"},
		{func(f *frame.Frame) { f.DType = frame.Int24 }, "the payload has 24 bytes, the header says 9"},
		{func(f *frame.Frame) { f.Count = 2 }, "the payload has 24 bytes, the header says 16"},
		{func(f *frame.Frame) { f.Count = 1<<29 + 3 }, "the header says 4294967320"},
		{func(f *frame.Frame) { f.Kind = frame.Need }, "the header says 12"},
		{func(f *frame.Frame) { f.Kind = frame.Abort }, "the header says 3"},
		{func(f *frame.Frame) { f.Size = 0 }, "0 ranks"},
		{func(f *frame.Frame) { f.Size = 1025 }, "1025 ranks"},
		{func(f *frame.Frame) { f.Sender = 0x0201 }, "sender 513 of 513"},
	} {
		f := sample()
		test.change(&f)
		_, err := frame.Decode(f.Encode())
		if !errors.Is(err, frame.ErrCorrupt) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v; want %q", err, test.want)
		}
	}
	other := sample().Encode()
	other[4] = 1
	binary.LittleEndian.PutUint32(other[60:], frame.Checksum(other[:60]))
	if _, err := frame.Decode(other); !errors.Is(err, frame.ErrVersion) {
		t.Errorf("error %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	whole := sample().Encode()
	f.Add(whole)
	f.Add(whole[:frame.HeaderSize])
	f.Add([]byte{})
	need := frame.New(frame.Header{Kind: frame.Need, Size: 2, Count: 2}, 8)
	need.Seal()
	f.Add(need.Encode())
	part := frame.New(frame.Header{Kind: frame.Part, DType: frame.Byte, Size: 2, Total: 9, Count: 41}, 41)
	part.Seal()
	f.Add(part.Encode())
	narrow := frame.New(frame.Header{Kind: frame.Data, DType: frame.Int24, Size: 2, Total: 2, Count: 2}, 6)
	narrow.Seal()
	f.Add(narrow.Encode())
	f.Add(frame.New(frame.Header{Kind: frame.Alive, Size: 2, Total: 9}, 0).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		// The checksums are put right, so that the checks behind them are reached.
		if len(data) >= frame.HeaderSize {
			binary.LittleEndian.PutUint32(data[56:], frame.Checksum(data[frame.HeaderSize:]))
			binary.LittleEndian.PutUint32(data[60:], frame.Checksum(data[:60]))
		}
		d, err := frame.Decode(data)
		if err != nil {
			return
		}
		again := frame.Frame{Header: d.Header, Buffer: slices.Clone(d.Buffer)}
		clear(again.Buffer[:frame.HeaderSize])
		if !bytes.Equal(again.Encode(), data) {
			t.Errorf("decoded and encoded, % x became % x", data, again.Buffer)
		}
	})
}

// Add is element-wise addition modulo 2^32 and 2^64, at every length and offset, and writes nothing else.
func TestAdd(t *testing.T) {
	rng := random.New(random.PurposeTest, 1)
	for n := range 40 {
		for offset := range 9 {
			a, b := make([]int32, n), make([]int32, n)
			c, d := make([]int64, n), make([]int64, n)
			for i := range n {
				a[i], b[i], c[i], d[i] = int32(rng.Uint32()), int32(rng.Uint32()), int64(rng.Uint64()), int64(rng.Uint64())
				if i%3 == 0 { // carries
					a[i], b[i], c[i] = -1, 1, -1
				}
			}
			x, y := guarded(n*4, offset), guarded(n*4, 8-offset)
			frame.Put(x, a)
			frame.Put(y, b)
			frame.Add(frame.Int32, x, y)
			got := make([]int32, n)
			frame.Get(got, x)
			for i := range n {
				if got[i] != a[i]+b[i] {
					t.Fatalf("int32, length %d, offset %d: %d + %d gave %d", n, offset, a[i], b[i], got[i])
				}
			}
			checkGuard(t, x)
			x, y = guarded(n*8, offset), guarded(n*8, 8-offset)
			frame.Put(x, c)
			frame.Put(y, d)
			frame.Add(frame.Int64, x, y)
			got64 := make([]int64, n)
			frame.Get(got64, x)
			for i := range n {
				if got64[i] != c[i]+d[i] {
					t.Fatalf("int64, length %d, offset %d: %d + %d gave %d", n, offset, c[i], d[i], got64[i])
				}
			}
			checkGuard(t, x)
		}
	}
}

// Sums of int16 are modulo 2^16, and an overflow at any place is found; without one none is.
func TestAddInt16(t *testing.T) {
	rng := random.New(random.PurposeTest, 5)
	for n := range 70 {
		for offset := range 9 {
			a, b := make([]int16, n), make([]int16, n)
			for i := range n {
				a[i] = int16(rng.Uint32())
				b[i] = int16(rng.Uint32())
				if s := int(a[i]) + int(b[i]); s != int(int16(s)) {
					b[i] = -1 - a[i] // at the border
				}
			}
			checkInt16(t, a, b, offset, false)
			if n == 0 {
				continue
			}
			at := rng.IntN(n)
			keepA, keepB := a[at], b[at]
			for _, pair := range [][2]int16{{32767, 1}, {-32768, -1}, {-32768, -32768}, {20000, 20000}} {
				a[at], b[at] = pair[0], pair[1]
				checkInt16(t, a, b, offset, true)
			}
			a[at], b[at] = keepA, keepB
		}
	}
}

func checkInt16(t *testing.T, a, b []int16, offset int, want bool) {
	t.Helper()
	n := len(a)
	x, y := guarded(n*2, offset), guarded(n*2, 8-offset)
	frame.Put(x, a)
	frame.Put(y, b)
	overflow := frame.Add(frame.Int16, x, y)
	got := make([]int16, n)
	frame.Get(got, x)
	for i := range n {
		if got[i] != a[i]+b[i] {
			t.Fatalf("length %d, offset %d: %d + %d gave %d", n, offset, a[i], b[i], got[i])
		}
	}
	if overflow != want {
		t.Fatalf("length %d, offset %d: overflow is %t", n, offset, overflow)
	}
	checkGuard(t, x)
}

// guarded returns n bytes behind an offset, with 16 bytes of 0xaa behind them.
func guarded(n, offset int) []byte {
	b := bytes.Repeat([]byte{0xaa}, offset+n+16)
	return b[offset : offset+n : offset+n+16]
}

func checkGuard(t *testing.T, b []byte) {
	t.Helper()
	if !bytes.Equal(b[len(b):cap(b)], bytes.Repeat([]byte{0xaa}, 16)) {
		t.Fatal("Add wrote behind its slice")
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, t := range []frame.DType{frame.Int16, frame.Int32, frame.Int64} {
		b.Run(t.String()+"_256KB", func(b *testing.B) {
			x, y := make([]byte, 256<<10), make([]byte, 256<<10)
			b.SetBytes(256 << 10)
			for b.Loop() {
				frame.Add(t, x, y)
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	f := frame.New(frame.Header{}, 256<<10)
	b.SetBytes(256 << 10)
	for b.Loop() {
		f.Seal()
	}
}
