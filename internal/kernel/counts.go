package kernel

import "math"

// AddRounded computes sums += round(w v), where round takes halves to the even neighbour: how the loss counts products of
// probabilities in units. No product may be beyond +-2^62. sums has the length of v.
func AddRounded(sums []int64, w float64, v []float64) {
	checkLen("AddRounded", "sums", len(sums), len(v))
	addRounded(sums, w, v)
}

func addRoundedGeneric(sums []int64, w float64, v []float64) {
	sums = sums[:len(v)]
	for i, x := range v {
		sums[i] += int64(math.RoundToEven(w * x))
	}
}
