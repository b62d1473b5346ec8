package kernel_test

import (
	"math"
	"math/big"
	"testing"

	"pupil/internal/kernel"
	"pupil/internal/random"
)

func TestToFixed32(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	const most = math.MaxInt32
	for _, c := range []struct {
		name      string
		exponent  int
		limit     int32
		src       []float32
		want      []int32
		saturated int
	}{
		{"halves go to the even", 0, 100, []float32{0.5, 1.5, 2.5, -0.5, -1.5, -2.5}, []int32{0, 2, 2, 0, -2, -2}, 0},
		{"scale", -3, 100, []float32{1, -0.125, 0.0625, 0.1875}, []int32{8, -1, 0, 2}, 0},
		{"large scale", 4, 100, []float32{16, 24, 40, -8}, []int32{1, 2, 2, 0}, 0},
		{"limit", 0, 7, []float32{7, -7, 7.4, 7.5, -7.5, 8, 1e30, -1e30}, []int32{7, -7, 7, 7, -7, 7, 7, -7}, 5},
		{"not finite", 0, 9, []float32{nan, inf, -inf, -nan, 1}, []int32{9, 9, -9, 9, 1}, 4},
		{"all", 0, most, []float32{0x1p31, -0x1p31, 0x1p30, 2147483520}, []int32{most, -most, 1 << 30, 2147483520}, 2},
		{"far exponents", -1000, 3, []float32{0, 1e-45, -1e-45}, []int32{0, 3, -3}, 2},
		{"far exponents", 1000, 3, []float32{0, 3e38, nan}, []int32{0, 0, 3}, 1},
		{"no room", 0, 0, []float32{0, 0.4, 1}, []int32{0, 0, 0}, 1},
		{"empty", 0, 1, nil, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T) {
				for shift := range 9 { // every position in a register
					a := newArena(t)
					src, dst := output[float32](a, shift+len(c.src)), output[int32](a, shift+len(c.src))
					clear(src)
					copy(src[shift:], c.src)
					if n := kernel.ToFixed32(dst, src, c.exponent, c.limit); n != c.saturated {
						t.Errorf("%d values saturated, want %d", n, c.saturated)
					}
					same(t, "dst", dst[shift:], c.want)
				}
			})
		})
	}
}

// TestFixed32RoundTrip holds that what fits comes back exactly, for every exponent and with the implementations
// agreeing.
func TestFixed32RoundTrip(t *testing.T) {
	each(t, func(t *testing.T) {
		s := random.New(random.PurposeTest, 40)
		for exponent := -120; exponent <= 90; exponent += 7 {
			a := newArena(t)
			q, back, v := output[int32](a, 101), output[int32](a, 101), output[float32](a, 101)
			for i := range q {
				q[i] = int32(s.IntN(1<<25)) - 1<<24
			}
			kernel.FromFixed32(v, q, exponent)
			for i := range q {
				if want := math.Ldexp(float64(q[i]), exponent); float64(v[i]) != want {
					t.Fatalf("%d * 2^%d = %v, want %v", q[i], exponent, v[i], want)
				}
			}
			if n := kernel.ToFixed32(back, v, exponent, 1<<24); n != 0 {
				t.Fatalf("%d values saturated", n)
			}
			same(t, "back", back, q)
		}
		v := make([]float32, 3)
		kernel.FromFixed32(v, []int32{1<<24 + 1, 1<<24 + 3, math.MinInt32}, 0)
		same(t, "rounded once, to even", v, []float32{1 << 24, 1<<24 + 4, -0x1p31})
	})
}

// TestFixedOrder holds that sums do not depend on the order of what is added: the reason for fixed point.
func TestFixedOrder(t *testing.T) {
	each(t, func(t *testing.T) {
		const lanes, n = 9, 203
		s := random.New(random.PurposeTest, 41)
		parts, parts64 := make([][]int32, lanes), make([][]int64, lanes)
		for l := range parts {
			src, src64 := make([]float32, n), make([]float64, n)
			for i := range src {
				src64[i] = s.Normal() * math.Exp(8*s.Normal())
				src[i] = float32(src64[i])
			}
			parts[l], parts64[l] = make([]int32, n), make([]int64, n)
			kernel.ToFixed32(parts[l], src, -10, 1<<27)
			kernel.ToFixed64(parts64[l], src64, -30, 1<<58)
		}
		var first []int32
		var first64 []int64
		for range 20 {
			order := make([]int, lanes)
			for i := range order {
				j := s.IntN(i + 1)
				order[i], order[j] = order[j], i
			}
			a := newArena(t)
			sum, sum64 := output[int32](a, n), output[int64](a, n)
			clear(sum)
			clear(sum64)
			for _, l := range order {
				kernel.AddFixed32(sum, parts[l])
				kernel.AddFixed64(sum64, parts64[l])
			}
			if first == nil {
				first, first64 = append(first, sum...), append(first64, sum64...)
			}
			same(t, "sum", sum, first)
			same(t, "64-bit sum", sum64, first64)
		}
		for i, v := range first {
			want := new(big.Int)
			for l := range parts {
				want.Add(want, big.NewInt(int64(parts[l][i])))
			}
			if want.Int64() != int64(v) {
				t.Fatalf("sum %d is %d, want %v", i, v, want)
			}
		}
	})
}

func TestFixed64(t *testing.T) {
	const most = math.MaxInt64
	src := []float64{0.5, 1.5, -2.5, 0x1p63, -0x1p63, 0x1p62, math.NaN(), math.Inf(-1), 1e300}
	dst := make([]int64, len(src))
	if n := kernel.ToFixed64(dst, src, 0, most); n != 5 {
		t.Errorf("%d values saturated, want 5", n)
	}
	same(t, "dst", dst, []int64{0, 2, -2, most, -most, 1 << 62, most, -most, most})
	if n := kernel.ToFixed64(dst[:4], []float64{8, 9, -9, 8.5}, 0, 8); n != 2 {
		t.Errorf("%d values saturated, want 2", n)
	}
	same(t, "dst", dst[:4], []int64{8, 8, -8, 8})
	if n := kernel.ToFixed64(dst[:2], []float64{1<<60 + 256, 1 << 60}, 0, 1<<60+1); n != 1 {
		t.Errorf("%d values saturated, want 1", n)
	}
	same(t, "a limit that is no float64", dst[:2], []int64{1<<60 + 1, 1 << 60})

	back := make([]float64, 3)
	kernel.FromFixed64(back, []int64{3, -1, 1<<53 + 1}, -2)
	same(t, "back", back, []float64{0.75, -0.25, 0x1p51})
}
