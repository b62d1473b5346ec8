package frame_test

import (
	"slices"
	"testing"

	"pupil/allreduce/internal/frame"
	"pupil/internal/random"
)

// draw gives integers of 24 bits, at the borders often.
func draw(rng *random.Stream) int32 {
	borders := []int32{0, -1, 0x7fffff, -0x800000}
	if k := rng.IntN(8); k < len(borders) {
		return borders[k]
	}
	return int32(rng.Uint32()) >> 8
}

// Sums of 24 bits are those of 32, at every length and offset; one beyond is found at any place and made whole; nothing else is
// written.
func TestNarrow(t *testing.T) {
	rng := random.New(random.PurposeTest, 6)
	for n := range 40 {
		for offset := range 5 {
			a, b, want := make([]int32, n), make([]int32, n), make([]int32, n)
			for i := range n {
				a[i], want[i] = draw(rng), draw(rng)
				b[i] = want[i] - a[i]
			}
			checkNarrow(t, a, b, want, offset, true)
			if n == 0 {
				continue
			}
			for _, far := range []int32{0x800000, -0x800001, 1<<31 - 1, -1 << 31} {
				at := rng.IntN(n)
				c, sums := slices.Clone(b), slices.Clone(want)
				c[at], sums[at] = far-a[at], far
				checkNarrow(t, a, c, sums, offset, false)
				wide, narrow := guarded(4*n, offset), guarded(3*n, offset)
				frame.Put(wide, sums)
				if frame.Narrow(narrow, wide) {
					t.Fatalf("length %d, offset %d: %d at %d is to fit", n, offset, far, at)
				}
				checkGuard(t, narrow)
			}
		}
	}
}

// checkNarrow packs a, adds b, and unpacks; want are the sums.
func checkNarrow(t *testing.T, a, b, want []int32, offset int, fits bool) {
	t.Helper()
	n := len(a)
	x, y, sums, back := guarded(4*n, offset), guarded(4*n, 4-offset), guarded(3*n, offset), guarded(4*n, offset)
	frame.Put(x, a)
	frame.Put(y, b)
	if !frame.Narrow(sums, x) {
		t.Fatalf("length %d, offset %d: integers of 24 bits do not fit", n, offset)
	}
	frame.WidenTo(back, sums)
	got := make([]int32, n)
	if frame.Get(got, back); !slices.Equal(got, a) {
		t.Fatalf("length %d, offset %d: %d became %d", n, offset, a, got)
	}
	switch frame.AddNarrow(sums, y) {
	case !fits:
		t.Fatalf("length %d, offset %d: that the sums fit is %t", n, offset, !fits)
	case true:
		frame.WidenTo(back, sums)
	default:
		frame.Widen(back, sums, y)
	}
	if frame.Get(got, back); !slices.Equal(got, want) {
		t.Fatalf("length %d, offset %d: %d + %d gave %d", n, offset, a, b, got)
	}
	checkGuard(t, sums)
	checkGuard(t, back)
}

// A value beyond 24 bits is found in any block of a long vector.
func TestNarrowLong(t *testing.T) {
	v := make([]int32, 20_000)
	x, dst := make([]byte, 4*len(v)), make([]byte, 3*len(v))
	for _, at := range []int{0, 4095, 4096, 8191, 19_999} {
		v[at] = 1 << 23
		if frame.Put(x, v); frame.Narrow(dst, x) {
			t.Errorf("at %d: it is to fit", at)
		}
		v[at] = 1<<23 - 1
		if frame.Put(x, v); !frame.Narrow(dst, x) {
			t.Errorf("at %d: it does not fit", at)
		}
	}
}

func BenchmarkNarrow(b *testing.B) {
	wide, narrow := make([]byte, 256<<10), make([]byte, 192<<10)
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"pack", func() { frame.Narrow(narrow, wide) }},
		{"add", func() { frame.AddNarrow(narrow, wide) }},
		{"unpack", func() { frame.WidenTo(wide, narrow) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(256 << 10)
			for b.Loop() {
				c.run()
			}
		})
	}
}
