package student_test

import (
	"fmt"
	"math"
	"sort"
	"testing"

	"pupil/internal/random"
	"pupil/worker/student"
)

// slow classifies by the definition: cosines in float64, a full sort, weighted votes.
func slow(train, test student.Features, k int, temperature float64) float64 {
	w := train.Width
	right := 0
	for i, label := range test.Labels {
		type pair struct {
			cosine float64
			index  int
		}
		pairs := make([]pair, len(train.Labels))
		for j := range pairs {
			var ab, aa, bb float64
			for c := range w {
				a, b := float64(test.Values[i*w+c]), float64(train.Values[j*w+c])
				ab, aa, bb = ab+a*b, aa+a*a, bb+b*b
			}
			pairs[j] = pair{ab / math.Sqrt(aa*bb), j}
		}
		sort.Slice(pairs, func(a, b int) bool { return pairs[a].cosine > pairs[b].cosine })
		votes := map[int]float64{}
		for _, p := range pairs[:k] {
			votes[train.Labels[p.index]] += math.Exp(p.cosine / temperature)
		}
		best := 0
		for c, v := range votes {
			if v > votes[best] {
				best = c
			}
		}
		if best == label {
			right++
		}
	}
	return float64(right) / float64(len(test.Labels))
}

// clouds are noisy points around a centre for each class.
func clouds(seed uint64, n, width, classes int, noise float64) student.Features {
	f := student.Features{Width: width}
	r := random.New(random.PurposeTest, seed)
	for i := range n {
		label := i % classes
		centre := random.New(random.PurposeTest, 1000, uint64(label))
		f.Labels = append(f.Labels, label)
		for range width {
			f.Values = append(f.Values, float32(centre.Normal()+noise*r.Normal()))
		}
	}
	return f
}

func TestKNNFollowsItsDefinition(t *testing.T) {
	for _, c := range []struct {
		train, test, width, classes, k int
		noise                          float64
	}{{40, 17, 3, 4, 5, 1}, {200, 130, 16, 10, 20, 2}, {64, 64, 8, 2, 1, 3}, {30, 5, 4, 3, 30, 1}} {
		train, test := clouds(1, c.train, c.width, c.classes, c.noise), clouds(2, c.test, c.width, c.classes, c.noise)
		want := slow(train, test, c.k, 0.07)
		for _, threads := range []int{1, 3} {
			got, err := student.KNN(train, test, c.k, 0.07, threads)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%+v with %d threads: accuracy %v, want %v", c, threads, got, want)
			}
		}
	}
}

func TestKNNRefuses(t *testing.T) {
	good := clouds(1, 10, 4, 2, 1)
	unlabelled := clouds(1, 10, 4, 2, 1)
	unlabelled.Labels[3] = -1
	for name, f := range map[string]func() (float64, error){
		"another width":   func() (float64, error) { return student.KNN(good, clouds(1, 10, 5, 2, 1), 3, 0.07, 1) },
		"no label":        func() (float64, error) { return student.KNN(unlabelled, good, 3, 0.07, 1) },
		"too many":        func() (float64, error) { return student.KNN(good, good, 11, 0.07, 1) },
		"no neighbours":   func() (float64, error) { return student.KNN(good, good, 0, 0.07, 1) },
		"nothing to test": func() (float64, error) { return student.KNN(good, student.Features{Width: 4}, 3, 0.07, 1) },
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func ExampleKNN() {
	train := student.Features{Width: 2, Values: []float32{1, 0, 2, 0.1, 0, 1, 0.1, 3}, Labels: []int{0, 0, 1, 1}}
	test := student.Features{Width: 2, Values: []float32{5, 1, 1, 5}, Labels: []int{0, 1}}
	accuracy, err := student.KNN(train, test, 2, 0.07, 1)
	fmt.Println(accuracy, err)
	// Output: 1 <nil>
}
