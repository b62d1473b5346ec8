package loss_test

import (
	"math"
	"sync"
	"testing"

	"pupil/internal/random"
	"pupil/loss"
)

// TestEffectiveRank: features that vary alike in k directions have rank k, whatever lanes hold them.
func TestEffectiveRank(t *testing.T) {
	const samples, classes = 300, 7
	alike := func(k int) []float64 { // every direction takes each sign equally often, independently of the others
		f := make([]float64, samples*classes)
		for n := range samples {
			for j := range k {
				f[n*classes+j] = 5
				if n>>j&1 == 1 {
					f[n*classes+j] = -1
				}
			}
		}
		return f
	}
	one := normals(random.New(random.PurposeTest, 1), samples, 1)
	line := make([]float64, samples*classes)
	for i := range line {
		line[i] = one[i/classes] * float64(1+i%classes)
	}
	for _, test := range []struct {
		name    string
		student []float64
		want    float64
	}{
		{"constant", make([]float64, samples*classes), 0},
		{"line", line, 1},
		{"three", alike(3), 3},
		{"seven", alike(7), 7},
	} {
		l := must(single([]loss.Config{loss.DefaultConfig(loss.L2)}, classes, samples))
		b := pair(make([]float64, samples*classes), test.student)
		var first float64
		for _, cut := range [][]int{{samples}, {100, 0, 200}} {
			ranks := make([]float64, len(cut))
			reducer := newBarrier(len(cut))
			var wg sync.WaitGroup
			at := 0
			for i, n := range cut {
				lane, mine := l.Lane(at, n), part(b, samples, at, at+n)
				at += n
				wg.Go(func() { ranks[i] = must(lane.EffectiveRank(mine, reducer.reduce)) })
			}
			wg.Wait()
			if first == 0 {
				first = ranks[0]
			}
			for _, r := range ranks {
				if math.Abs(r-test.want) > 1e-3 || r != first {
					t.Errorf("%s, cut %v: rank %v, want %v", test.name, cut, r, test.want)
				}
			}
		}
	}
}
