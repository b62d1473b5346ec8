package student

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"pupil/internal/kernel"
)

// KNN is the accuracy of weighted k-nearest-neighbour classification, as DINO measures features (Caron et al. 2021,
// after Wu et al. 2018): features are scaled to length 1; each of the k training images nearest to a test image by cosine
// votes for its label with the weight exp(cosine / temperature). Equal distances and votes go to the smaller index.
func KNN(train, test Features, k int, temperature float64, threads int) (float64, error) {
	if train.Width != test.Width {
		return 0, fmt.Errorf("k-NN: features of width %d and %d", train.Width, test.Width)
	}
	classes := 0
	for _, set := range [][]int{train.Labels, test.Labels} {
		for i, l := range set {
			if l < 0 {
				return 0, fmt.Errorf("k-NN needs labels; image %d has none", i)
			}
			classes = max(classes, l+1)
		}
	}
	if k < 1 || k > len(train.Labels) {
		return 0, fmt.Errorf("k-NN: %d neighbours of %d training images", k, len(train.Labels))
	}
	if len(test.Labels) == 0 {
		return 0, fmt.Errorf("k-NN: there are no test images")
	}
	n := neighbours{
		train: Unit(train.Values, train.Width), labels: train.Labels, width: train.Width,
		k: k, temperature: temperature, classes: classes,
	}
	return n.accuracy(Unit(test.Values, test.Width), test.Labels, threads), nil
}

type neighbours struct {
	train       []float32
	labels      []int
	width       int
	k           int
	temperature float64
	classes     int
}

// block is how many test images are compared at once: [block, training images] cosines stay small.
const block = 64

func (n *neighbours) accuracy(test []float32, labels []int, threads int) float64 {
	blocks := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex
	right := 0
	for range max(1, threads) {
		wg.Go(func() {
			var ws kernel.Workspace
			cosines := make([]float32, block*len(n.labels))
			for first := range blocks {
				last := min(first+block, len(labels))
				hits := n.classify(test[first*n.width:last*n.width], labels[first:last], cosines, &ws)
				mu.Lock()
				right += hits
				mu.Unlock()
			}
		})
	}
	for first := 0; first < len(labels); first += block {
		blocks <- first
	}
	close(blocks)
	wg.Wait()
	return float64(right) / float64(len(labels))
}

func (n *neighbours) classify(test []float32, labels []int, cosines []float32, ws *kernel.Workspace) (hits int) {
	m := len(n.labels)
	kernel.Gemm(false, true, len(labels), m, n.width, test, n.width, n.train, n.width, false, cosines, m, ws)
	votes := make([]float64, n.classes)
	nearest := make([]int, 0, n.k+1)
	for i, label := range labels {
		row := cosines[i*m:][:m]
		nearest = nearestOf(row, n.k, nearest[:0])
		clear(votes)
		for _, j := range nearest {
			votes[n.labels[j]] += math.Exp(float64(row[j]) / n.temperature)
		}
		best := 0
		for c, v := range votes {
			if v > votes[best] {
				best = c
			}
		}
		if best == label {
			hits++
		}
	}
	return hits
}

// nearestOf appends the indices of the k largest cosines to to, largest first, smaller indices first among equals.
func nearestOf(cosines []float32, k int, to []int) []int {
	for j, c := range cosines {
		if len(to) == k && c <= cosines[to[k-1]] {
			continue
		}
		at := len(to)
		for at > 0 && cosines[to[at-1]] < c {
			at--
		}
		to = slices.Insert(to, at, j)
		to = to[:min(len(to), k)]
	}
	return to
}

// Unit returns the rows of v [n, width] scaled to length 1, in float64; a row of zeros stays.
func Unit(v []float32, width int) []float32 {
	out := make([]float32, len(v))
	for at := 0; at+width <= len(v) && width > 0; at += width {
		sum := 0.0
		for _, x := range v[at : at+width] {
			sum += float64(float64(x) * float64(x))
		}
		if sum == 0 {
			continue
		}
		scale := 1 / math.Sqrt(sum)
		for i, x := range v[at : at+width] {
			out[at+i] = float32(float64(x) * scale)
		}
	}
	return out
}
