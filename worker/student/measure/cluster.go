package measure

import (
	"math"

	"pupil/internal/random"
)

// Clusters is how well clusters that were found without labels match the classes.
type Clusters struct {
	Accuracy float64 `json:"accuracy"` // share of images in the cluster that the best one-to-one match gives to their class
	Count    int     `json:"count"`    // clusters
}

const (
	restarts   = 4
	rounds     = 50
	seedOfKind = 1
)

// Cluster finds as many clusters of unit features [n, width] as there are classes, by k-means with k-means++ starts (Arthur
// and Vassilvitskii 2007), the best of four by the sum of squares, and matches them to the classes one to one so that the
// most images agree (Kuhn 1955).
func Cluster(unit []float32, width int, labels []int, classes int) Clusters {
	n := len(labels)
	best, cost := []int(nil), math.Inf(1)
	for r := range restarts {
		assigned, c := kmeans(unit, width, n, min(classes, n), uint64(r))
		if c < cost {
			best, cost = assigned, c
		}
	}
	agree := make([][]float64, classes)
	for i := range agree {
		agree[i] = make([]float64, classes)
	}
	for i, cluster := range best {
		agree[cluster][labels[i]]--
	}
	right := 0.0
	for cluster, class := range Assign(agree) {
		right -= agree[cluster][class]
	}
	return Clusters{Accuracy: right / float64(max(1, n)), Count: classes}
}

// kmeans returns each image's cluster, and the sum of squared distances.
func kmeans(x []float32, width, n, k int, start uint64) (assigned []int, cost float64) {
	centres := plusPlus(x, width, n, k, start)
	assigned = make([]int, n)
	for round := range rounds {
		changed := false
		cost = 0
		for i := range n {
			at, d := nearest(x[i*width:][:width], centres, width)
			changed = changed || at != assigned[i]
			assigned[i] = at
			cost += d
		}
		if !changed && round > 0 {
			break
		}
		counts := make([]float64, k)
		sums := make([]float64, len(centres))
		for i, a := range assigned {
			counts[a]++
			for j, v := range x[i*width:][:width] {
				sums[a*width+j] += float64(v)
			}
		}
		for c, count := range counts {
			if count == 0 { // an empty one keeps its centre
				continue
			}
			for j := range width {
				centres[c*width+j] = sums[c*width+j] / count
			}
		}
	}
	return assigned, cost
}

// plusPlus draws centres, each with a probability that grows with the squared distance from those before.
func plusPlus(x []float32, width, n, k int, start uint64) []float64 {
	r := random.New(random.PurposeClusters, seedOfKind, start)
	centres := widen(x[r.IntN(n)*width:][:width])
	distances := make([]float64, n)
	for len(centres) < k*width {
		total := 0.0
		for i := range n {
			_, distances[i] = nearest(x[i*width:][:width], centres, width)
			total += distances[i]
		}
		at, left := 0, r.Uniform(0, total)
		for at < n-1 && left >= distances[at] {
			left -= distances[at]
			at++
		}
		centres = append(centres, widen(x[at*width:][:width])...)
	}
	return centres
}

func nearest(x []float32, centres []float64, width int) (at int, distance float64) {
	distance = math.Inf(1)
	for c := 0; c*width < len(centres); c++ {
		sum := 0.0
		for j, v := range x {
			d := float64(v) - centres[c*width+j]
			sum += float64(d * d)
		}
		if sum < distance {
			at, distance = c, sum
		}
	}
	return at, distance
}

// Assign gives each row of a square matrix a column of its own so that the sum of the entries is the least: the Hungarian
// method (Kuhn 1955; Munkres 1957) with potentials and shortest augmenting paths, O(n^3).
func Assign(cost [][]float64) []int {
	n := len(cost)
	// Rows and columns are numbered from 1; column 0 is where a path starts.
	u, v := make([]float64, n+1), make([]float64, n+1)
	rowOf, way := make([]int, n+1), make([]int, n+1)
	for row := 1; row <= n; row++ {
		rowOf[0] = row
		column := 0
		least, used := make([]float64, n+1), make([]bool, n+1)
		for j := range least {
			least[j] = math.Inf(1)
		}
		for rowOf[column] != 0 {
			used[column] = true
			r, next, delta := rowOf[column], 0, math.Inf(1)
			for j := 1; j <= n; j++ {
				if used[j] {
					continue
				}
				if reduced := cost[r-1][j-1] - u[r] - v[j]; reduced < least[j] {
					least[j], way[j] = reduced, column
				}
				if least[j] < delta {
					next, delta = j, least[j]
				}
			}
			for j := range used {
				if used[j] {
					u[rowOf[j]] += delta
					v[j] -= delta
				} else {
					least[j] -= delta
				}
			}
			column = next
		}
		for column != 0 {
			rowOf[column] = rowOf[way[column]]
			column = way[column]
		}
	}
	out := make([]int, n)
	for j := 1; j <= n; j++ {
		out[rowOf[j]-1] = j - 1
	}
	return out
}
