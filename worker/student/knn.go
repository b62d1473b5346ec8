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
	right, err := Neighbours(train, test, []int{k}, temperature, threads)
	if err != nil {
		return 0, err
	}
	return right[0].Top1, nil
}

// Share is how often a label is the first guess, and among the first five.
type Share struct {
	Top1 float64 `json:"top1"`
	Top5 float64 `json:"top5"`
}

// Neighbours is KNN for several numbers of neighbours.
func Neighbours(train, test Features, ks []int, temperature float64, threads int) ([]Share, error) {
	if train.Width != test.Width {
		return nil, fmt.Errorf("k-NN: features of width %d and %d", train.Width, test.Width)
	}
	classes := 0
	for _, set := range [][]int{train.Labels, test.Labels} {
		for i, l := range set {
			if l < 0 {
				return nil, fmt.Errorf("k-NN needs labels; image %d has none", i)
			}
			classes = max(classes, l+1)
		}
	}
	for _, k := range ks {
		if k < 1 || k > len(train.Labels) {
			return nil, fmt.Errorf("k-NN: %d neighbours of %d training images", k, len(train.Labels))
		}
	}
	if len(test.Labels) == 0 || len(ks) == 0 {
		return nil, fmt.Errorf("k-NN: there are no test images")
	}
	n := neighbours{
		train: Unit(train.Values, train.Width), labels: train.Labels, width: train.Width,
		ks: ks, most: slices.Max(ks), temperature: temperature, classes: classes,
	}
	return n.shares(Unit(test.Values, test.Width), test.Labels, threads), nil
}

type neighbours struct {
	train       []float32
	labels      []int
	width       int
	ks          []int
	most        int // of ks
	temperature float64
	classes     int
}

// block is how many test images are compared at once: [block, training images] cosines stay small.
const block = 64

func (n *neighbours) shares(test []float32, labels []int, threads int) []Share {
	blocks := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex
	first, five := make([]int, len(n.ks)), make([]int, len(n.ks)) // hits
	for range max(1, threads) {
		wg.Go(func() {
			var ws kernel.Workspace
			cosines := make([]float32, block*len(n.labels))
			for at := range blocks {
				last := min(at+block, len(labels))
				ranks := n.ranks(test[at*n.width:last*n.width], labels[at:last], cosines, &ws)
				mu.Lock()
				for i, rank := range ranks {
					if rank < 1 {
						first[i%len(n.ks)]++
					}
					if rank < 5 {
						five[i%len(n.ks)]++
					}
				}
				mu.Unlock()
			}
		})
	}
	for at := 0; at < len(labels); at += block {
		blocks <- at
	}
	close(blocks)
	wg.Wait()
	out := make([]Share, len(n.ks))
	for i := range out {
		out[i] = Share{float64(first[i]) / float64(len(labels)), float64(five[i]) / float64(len(labels))}
	}
	return out
}

// ranks are the places of labels among the votes [images, ks], 0 the first.
func (n *neighbours) ranks(test []float32, labels []int, cosines []float32, ws *kernel.Workspace) (ranks []int) {
	m := len(n.labels)
	kernel.Gemm(false, true, len(labels), m, n.width, test, n.width, n.train, n.width, false, cosines, m, ws)
	votes := make([]float64, n.classes)
	nearest := make([]int, 0, n.most+1)
	for i, label := range labels {
		row := cosines[i*m:][:m]
		nearest = nearestOf(row, n.most, nearest[:0])
		for _, k := range n.ks {
			clear(votes)
			for _, j := range nearest[:k] {
				votes[n.labels[j]] += math.Exp(float64(row[j]) / n.temperature)
			}
			ranks = append(ranks, Rank(votes, label))
		}
	}
	return ranks
}

// Rank is how many classes have a higher score than a label, or an equal one and a smaller index.
func Rank(scores []float64, label int) (rank int) {
	for c, v := range scores {
		if v > scores[label] || v == scores[label] && c < label {
			rank++
		}
	}
	return rank
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
