package random_test

import (
	"math"
	"slices"
	"sync"
	"testing"

	"pupil/internal/random"
)

func words(n int, key ...uint64) []uint64 {
	s := random.New(key...)
	v := make([]uint64, n)
	for i := range v {
		v[i] = s.Uint64()
	}
	return v
}

func TestSameKeySameNumbers(t *testing.T) {
	want := words(100, random.PurposeTest, 1, 2, 3)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			words(17, random.PurposeTest, 9)
			if got := words(100, random.PurposeTest, 1, 2, 3); !slices.Equal(got, want) {
				t.Error("a key gave different numbers in another goroutine")
			}
		})
	}
	wg.Wait()
}

func TestStreamsDoNotInfluenceEachOther(t *testing.T) {
	wantA, wantB := words(50, random.PurposeTest, 1), words(50, random.PurposeTest, 2)
	a, b := random.New(random.PurposeTest, 1), random.New(random.PurposeTest, 2)
	for i := range 50 {
		if a.Uint64() != wantA[i] || b.Uint64() != wantB[i] {
			t.Fatalf("number %d changed when two streams were read in turn", i)
		}
	}
}

func TestDifferentKeysDiffer(t *testing.T) {
	keys := [][]uint64{
		{},
		{0},
		{0, 0},
		{1},
		{2},
		{1, 2},
		{2, 1},
		{1, 2, 0},
		{0, 1, 2},
		{1 << 32},
		{1, 1 << 32},
		{math.MaxUint64},
		{random.PurposeInit, 1},
		{random.PurposePrior, 1},
		{random.PurposeOrder, 1},
		{random.PurposeAugment, 1},
		{1 << 63, 5},
		{5, 1 << 63},
		{0, 1, 2, 3, 4, 5},
		{0, 1, 2, 3, 5, 4},
	}
	seen := map[uint64]int{}
	for i, k := range keys {
		v := words(1, k...)[0]
		if j, ok := seen[v]; ok {
			if !slices.Equal(keys[j], k) {
				t.Errorf("keys %v and %v start with the same number", keys[j], k)
			}
		}
		seen[v] = i
	}
}

// Purpose words are part of every stored result's identity: they must never change.
func TestPurposesAreFixed(t *testing.T) {
	got := []uint64{
		random.PurposeInit, random.PurposePrior, random.PurposeOrder, random.PurposeAugment, random.PurposeTest,
		random.PurposeChannels,
	}
	if !slices.Equal(got, []uint64{1, 2, 3, 4, 5, 6}) {
		t.Errorf("purposes are %v", got)
	}
}

// The bits of each draw, so that a change of the generator, or an architecture that rounds otherwise, is seen.
func TestGoldenBits(t *testing.T) {
	s := random.New(random.PurposeTest, 42)
	var hash uint64
	mix := func(v uint64) { hash = (hash ^ v) * 0x9e3779b97f4a7c15; hash ^= hash >> 29 }
	for i := range 2000 {
		mix(uint64(s.Uint32()))
		mix(s.Uint64())
		mix(math.Float64bits(s.Float64()))
		mix(math.Float64bits(s.Uniform(-1.7, 3.9)))
		mix(uint64(s.IntN(i + 1)))
		mix(math.Float64bits(s.Normal()))
		mix(math.Float64bits(s.Laplace()))
	}
	for _, v := range s.Perm(100) {
		mix(uint64(v))
	}
	const want = 0xb3953b7c31501915
	if hash != want {
		t.Errorf("the hash of the draws is %#x, want %#x", hash, uint64(want))
	}
}

// moments returns mean, variance and the mean fourth power about the mean, over the square of the variance.
func moments(v []float64) (mean, variance, kurtosis float64) {
	for _, x := range v {
		mean += x
	}
	mean /= float64(len(v))
	var m4 float64
	for _, x := range v {
		d := x - mean
		variance += d * d
		m4 += d * d * d * d
	}
	n := float64(len(v))
	variance /= n
	return mean, variance, m4 / n / (variance * variance)
}

func TestMoments(t *testing.T) {
	const n = 200_000
	for _, c := range []struct {
		name                     string
		draw                     func(*random.Stream) float64
		mean, variance, kurtosis float64
		tolerance                [3]float64
	}{
		{"float64", (*random.Stream).Float64, 0.5, 1.0 / 12, 1.8, [3]float64{0.003, 0.001, 0.02}},
		{
			"uniform", func(s *random.Stream) float64 { return s.Uniform(-3, 5) },
			1, 64.0 / 12, 1.8,
			[3]float64{0.03, 0.06, 0.02},
		},
		{"normal", (*random.Stream).Normal, 0, 1, 3, [3]float64{0.01, 0.015, 0.06}},
		{"laplace", (*random.Stream).Laplace, 0, 2, 6, [3]float64{0.015, 0.05, 0.4}},
	} {
		s := random.New(random.PurposeTest, 3)
		v := make([]float64, n)
		for i := range v {
			v[i] = c.draw(s)
			if math.IsNaN(v[i]) || math.IsInf(v[i], 0) {
				t.Fatalf("%s: draw %d is %g", c.name, i, v[i])
			}
		}
		mean, variance, kurtosis := moments(v)
		for i, d := range []float64{mean - c.mean, variance - c.variance, kurtosis - c.kurtosis} {
			if math.Abs(d) > c.tolerance[i] {
				t.Errorf("%s: mean %.4f, variance %.4f, kurtosis %.3f; want %.4f, %.4f, %.3f",
					c.name, mean, variance, kurtosis, c.mean, c.variance, c.kurtosis)
				break
			}
		}
	}
}

// chiSquare is the statistic of counts that should all be equal.
func chiSquare(counts []int) float64 {
	total := 0
	for _, c := range counts {
		total += c
	}
	want := float64(total) / float64(len(counts))
	sum := 0.0
	for _, c := range counts {
		sum += (float64(c) - want) * (float64(c) - want) / want
	}
	return sum
}

func TestUniformCounts(t *testing.T) {
	const bins, draws = 64, 64_000
	for _, c := range []struct {
		name string
		draw func(s *random.Stream, i int) int
	}{
		{"intn", func(s *random.Stream, _ int) int { return s.IntN(bins) }},
		{"float64", func(s *random.Stream, _ int) int { return int(s.Float64() * bins) }},
		{"low bits", func(s *random.Stream, _ int) int { return int(s.Uint32() % bins) }},
		{"first number of successive keys", func(_ *random.Stream, i int) int {
			return random.New(random.PurposeTest, uint64(i)).IntN(bins)
		}},
		{"first number of successive first words", func(_ *random.Stream, i int) int {
			return random.New(uint64(i), 5, 5).IntN(bins)
		}},
	} {
		counts := make([]int, bins)
		s := random.New(random.PurposeTest, 11)
		for i := range draws {
			counts[c.draw(s, i)]++
		}
		// 63 degrees of freedom: 20 and 130 are beyond the 1e-6 quantiles.
		if x := chiSquare(counts); x < 20 || x > 130 {
			t.Errorf("%s: chi-square %.1f", c.name, x)
		}
	}
}

func TestIntNBounds(t *testing.T) {
	s := random.New(random.PurposeTest, 4)
	for _, n := range []int{1, 2, 3, 5, 1 << 31, math.MaxInt} {
		for range 200 {
			if v := s.IntN(n); v < 0 || v >= n {
				t.Fatalf("IntN(%d) = %d", n, v)
			}
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("IntN(0) did not panic")
		}
	}()
	s.IntN(0)
}

func TestPerm(t *testing.T) {
	s := random.New(random.PurposeTest, 5)
	if p := s.Perm(0); len(p) != 0 {
		t.Errorf("Perm(0) = %v", p)
	}
	counts := map[[4]int]int{}
	for range 24_000 {
		p := s.Perm(4)
		counts[[4]int(p)]++
		slices.Sort(p)
		if !slices.Equal(p, []int{0, 1, 2, 3}) {
			t.Fatalf("not a permutation: %v", p)
		}
	}
	list := make([]int, 0, 24)
	for _, c := range counts {
		list = append(list, c)
	}
	if x := chiSquare(list); len(list) != 24 || x > 70 {
		t.Errorf("%d of 24 permutations, chi-square %.1f", len(list), x)
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if random.New(random.PurposeAugment, 1, 2, 3, 4, 5).Uint32() == 0 {
			b.Log("zero")
		}
	}
}
