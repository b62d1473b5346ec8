package kernel_test

import (
	"math"
	"testing"

	"pupil/internal/kernel"
	"pupil/internal/random"
)

func TestToFixed16(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	const most = math.MaxInt16
	for _, c := range []struct {
		name        string
		exponent    int
		limit       int16
		src, before []float32
		want        []int16
		after       []float32
		saturated   int
	}{
		{"halves go to the even", 0, 100, []float32{0.5, 1.5, -2.5}, []float32{0, 0, 0}, []int16{0, 2, -2}, []float32{0.5, -0.5, -0.5}, 0},
		{"what was left comes with it", -2, 100, []float32{1, 1, 0}, []float32{0.125, -0.125, 0.25}, []int16{4, 4, 1}, []float32{0.125, -0.125, 0}, 0},
		{"what is clamped is left", 1, 7, []float32{15, 100, -40}, []float32{0, 1, -1}, []int16{7, 7, -7}, []float32{1, 87, -27}, 3},
		{"all", 0, most, []float32{40000, -32767, 32766.5}, []float32{0, 0, 0}, []int16{most, -most, 32766}, []float32{7233, 0, 0.5}, 1},
		{"far exponents", -1000, 3, []float32{0, 1e-45}, []float32{0, 0}, []int16{0, 3}, []float32{0, 1e-45}, 1},
		{"far exponents", 1000, 3, []float32{0, 3e38}, []float32{0, 0}, []int16{0, 0}, []float32{0, 3e38}, 0},
		{"not finite", 0, 9, []float32{nan, inf, -inf}, []float32{0, 0, 0}, []int16{9, 9, -9}, []float32{nan, inf, -inf}, 3},
		{"empty", 0, 1, nil, nil, nil, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T) {
				for shift := range 17 { // every position in a register
					a := newArena(t)
					n := shift + len(c.src)
					src, before, after, dst := output[float32](a, n), output[float32](a, n), output[float32](a, n), output[int16](a, n)
					clear(src)
					clear(before)
					copy(src[shift:], c.src)
					copy(before[shift:], c.before)
					if n := kernel.ToFixed16(dst, after, src, before, c.exponent, c.limit); n != c.saturated {
						t.Errorf("%d values saturated, want %d", n, c.saturated)
					}
					same(t, "dst", dst[shift:], c.want)
					for i, want := range c.after {
						if got := after[shift+i]; got != want && (got == got || want == want) {
							t.Errorf("after[%d] = %v, want %v", i, got, want)
						}
					}
				}
			})
		})
	}
}

// TestAddFixed16 holds that an overflow is found at any place, in either direction, and that there is none elsewhere.
func TestAddFixed16(t *testing.T) {
	each(t, func(t *testing.T) {
		s := random.New(random.PurposeTest, 45)
		for n := range 70 {
			a := newArena(t)
			x, y := output[int16](a, n), output[int16](a, n)
			fill := func() (want []int16) {
				for i := range x {
					x[i], y[i] = int16(s.Uint32()), int16(s.Uint32())
					if sum := int(x[i]) + int(y[i]); sum != int(int16(sum)) {
						y[i] = -1 - x[i] // at the border
					}
					want = append(want, x[i]+y[i])
				}
				return want
			}
			if want := fill(); kernel.AddFixed16(x, y) {
				t.Errorf("%d values: an overflow without one", n)
			} else {
				same(t, "sums", x, want)
			}
			for _, pair := range [][2]int16{{32767, 1}, {-32768, -1}, {-32768, -32768}, {20000, 20000}} {
				if n == 0 {
					continue
				}
				want, at := fill(), s.IntN(n)
				x[at], y[at], want[at] = pair[0], pair[1], pair[0]+pair[1]
				if !kernel.AddFixed16(x, y) {
					t.Errorf("%d values: the overflow at %d was not found", n, at)
				}
				same(t, "sums", x, want)
			}
		}
	})
}

// TestFixed16LosesNothing holds that integer and feedback make up the value, exactly where nothing saturates, that both
// may stand in one place, and that sums come back as what they stand for.
func TestFixed16LosesNothing(t *testing.T) {
	each(t, func(t *testing.T) {
		s := random.New(random.PurposeTest, 44)
		for exponent := -130; exponent <= 90; exponent += 11 {
			const n, limit = 101, 4095
			a := newArena(t)
			src, rest, q, sum := output[float32](a, n), output[float32](a, n), output[int16](a, n), output[int16](a, n)
			value, back := make([]float32, n), output[float32](a, n)
			for i := range src {
				src[i] = float32(math.Ldexp(s.Normal()*1000, exponent))
				rest[i] = float32(math.Ldexp(s.Float64()-0.5, exponent))
				value[i] = src[i] + rest[i]
			}
			clear(sum)
			saturated := kernel.ToFixed16(q, rest, src, rest, exponent, limit)
			kernel.AddFixed16(sum, q)
			kernel.AddFixed16(sum, q)
			kernel.FromFixed16(back, sum, exponent)
			for i := range q {
				whole := math.Ldexp(float64(q[i]), exponent)
				if float64(rest[i]) != float64(value[i])-whole {
					t.Fatalf("2^%d: %v is %v, and %v is left", exponent, value[i], whole, rest[i])
				}
				if q[i] == limit || q[i] == -limit {
					saturated--
				} else if math.Abs(float64(rest[i])) > math.Ldexp(0.5, exponent) {
					t.Fatalf("2^%d: %v is left of %v", exponent, rest[i], value[i])
				}
				if float64(back[i]) != 2*whole {
					t.Fatalf("2^%d: twice %d is %v", exponent, q[i], back[i])
				}
			}
			if saturated > 0 {
				t.Errorf("2^%d: %d more values count as saturated than are at the limit", exponent, saturated)
			}
		}
	})
}
