package measure

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"pupil/internal/kernel"
)

// rows is how many images are compared with all at once.
const rows = 64

// Retrieval is the mean average precision of finding images of the same label: each image of unit features [n, width] asks
// for all others, ranked by cosine, the smaller index first among equals. Images that are alone with their label do not
// ask. It is NaN-free: without any question it is 0.
func Retrieval(unit []float32, width int, labels []int, threads int) float64 {
	n := len(labels)
	precisions := make([]float64, n) // -1: did not ask
	blocks := make(chan int)
	var wg sync.WaitGroup
	for range max(1, threads) {
		wg.Go(func() {
			var ws kernel.Workspace
			cosines, order := make([]float32, rows*n), make([]int, n)
			for first := range blocks {
				last := min(first+rows, n)
				kernel.Gemm(false, true, last-first, n, width, unit[first*width:], width, unit, width, false, cosines, n, &ws)
				for i := first; i < last; i++ {
					precisions[i] = averagePrecision(cosines[(i-first)*n:][:n], labels, i, order)
				}
			}
		})
	}
	for first := 0; first < n; first += rows {
		blocks <- first
	}
	close(blocks)
	wg.Wait()
	sum, asked := 0.0, 0
	for _, p := range precisions {
		if p >= 0 {
			sum += p
			asked++
		}
	}
	return sum / float64(max(1, asked))
}

// averagePrecision is the mean over the images of the same label of the precision at their rank.
func averagePrecision(cosines []float32, labels []int, query int, order []int) float64 {
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(cosines[b], cosines[a]), a-b) })
	sum, found, rank := 0.0, 0, 0
	for _, i := range order {
		if i == query {
			continue
		}
		rank++
		if labels[i] == labels[query] {
			found++
			sum += float64(found) / float64(rank)
		}
	}
	if found == 0 {
		return -1
	}
	return sum / float64(found)
}

// Verification is how well a threshold of the cosine tells pairs of one label from pairs of two.
type Verification struct {
	Same        int          `json:"same"`         // pairs of one label
	Different   int          `json:"different"`    // pairs of two labels
	FalseAccept float64      `json:"false_accept"` // rate at which Accepted is measured
	Accepted    float64      `json:"accepted"`     // share of the pairs of one label that pass (TAR)
	Threshold   float64      `json:"threshold"`    // cosine
	EqualError  float64      `json:"equal_error"`  // rate at which as many pairs of one label fail as of two pass
	Curve       [][2]float64 `json:"curve"`        // false and true accept rate, from strict to lax
}

// mostVerified bounds the images whose pairs are taken; more are sampled evenly.
const mostVerified = 2000

// curvePoints is how many points a curve has at most, at rates that are evenly spread on a logarithmic scale.
const curvePoints = 60

// Verify compares all pairs of images with unit features [n, width].
func Verify(unit []float32, width int, labels []int, falseAccept float64) Verification {
	n := min(len(labels), mostVerified)
	pick := func(i int) int { return i * len(labels) / max(1, n) }
	var same, different []float32
	for i := range n {
		a := unit[pick(i)*width:][:width]
		for j := range i {
			c := float32(product(a, unit[pick(j)*width:][:width]))
			if labels[pick(i)] == labels[pick(j)] {
				same = append(same, c)
			} else {
				different = append(different, c)
			}
		}
	}
	v := Verification{Same: len(same), Different: len(different), FalseAccept: falseAccept}
	if len(same) == 0 || len(different) == 0 {
		return v
	}
	down := func(a, b float32) int { return cmp.Compare(b, a) }
	slices.SortFunc(same, down)
	slices.SortFunc(different, down)
	v.Accepted, v.Threshold = accepted(same, different, falseAccept)
	v.Curve, v.EqualError = curve(same, different)
	return v
}

func product(a, b []float32) float64 {
	sum := 0.0
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}

// accepted is the share of same that is above the smallest threshold that at most a rate of different reaches.
func accepted(same, different []float32, rate float64) (share, threshold float64) {
	allowed := min(int(rate*float64(len(different))), len(different)-1)
	bound := different[allowed] // it must not pass
	pass, _ := slices.BinarySearchFunc(same, bound, func(c, bound float32) int { return cmp.Compare(bound, c) })
	return float64(pass) / float64(len(same)), math.Nextafter(float64(bound), 2)
}

// curve samples the operating points, and finds where both errors are equal.
func curve(same, different []float32) (points [][2]float64, equal float64) {
	equal = 1
	n := len(different)
	lowest := 1 / float64(n)
	for i := range curvePoints {
		rate := math.Pow(lowest, 1-float64(i)/(curvePoints-1))
		share, _ := accepted(same, different, rate)
		points = append(points, [2]float64{rate, share})
	}
	for k := range n { // with k of different passing
		pass, _ := slices.BinarySearchFunc(same, different[k], func(c, bound float32) int { return cmp.Compare(bound, c) })
		equal = min(equal, max(float64(k)/float64(n), 1-float64(pass)/float64(len(same))))
	}
	return points, equal
}
