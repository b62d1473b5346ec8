package loss

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// maxRankSamples bounds what is gathered for the effective rank: the first samples of the global batch. It is the
// largest rank that can be seen.
const maxRankSamples = 256

// EffectiveRank measures in how many directions the student's features of the main head vary: exp(-sum p_i log p_i),
// where p_i are the singular values of the centred features, divided by their sum (Roy and Vetterli, "The effective
// rank", 2007). It is between 1 and the smaller of their width and of the number of samples looked at, up to 256; 0 when
// all samples are alike. Near 1 the student has collapsed.
//
// Every lane calls it with its part of the batch, after an Evaluate of it; all get the same number. No
// gradient depends on it, and its last bits may differ between processors.
func (l *Lane) EffectiveRank(b Batch, reduce Reduce) (float64, error) {
	head := l.loss.MainHead()
	c, rows := l.loss.heads[head].Student, min(l.loss.samples, maxRankSamples)
	gathered := make([]int64, rows*c) // each row comes from one lane, so that the sum keeps its bits
	for i, v := range b.Heads[head].Student {
		if at := l.first*c + i; at < len(gathered) {
			gathered[at] = int64(math.Float64bits(v))
		}
	}
	if err := reduce(gathered); err != nil {
		return 0, fmt.Errorf("gather features for the effective rank: %w", err)
	}
	x := mat.NewDense(rows, c, nil)
	for i, q := range gathered {
		x.Set(i/c, i%c, math.Float64frombits(uint64(q)))
	}
	return effectiveRank(x), nil
}

func effectiveRank(x *mat.Dense) float64 {
	rows, c := x.Dims()
	largest := 0.0
	for j := range c {
		mean := 0.0
		for i := range rows {
			mean += x.At(i, j) / float64(rows)
		}
		for i := range rows {
			x.Set(i, j, x.At(i, j)-mean)
			largest = max(largest, math.Abs(x.At(i, j)))
		}
	}
	if largest == 0 {
		return 0
	}
	x.Scale(1/largest, x) // squares neither overflow nor vanish
	gram := mat.NewSymDense(min(rows, c), nil)
	if rows <= c {
		gram.SymOuterK(1, x)
	} else {
		gram.SymOuterK(1, x.T())
	}
	var e mat.EigenSym
	if !e.Factorize(gram, false) {
		return 0 // it did not converge, which symmetric matrices of finite numbers do
	}
	sum := 0.0
	singular := e.Values(nil)
	for i, v := range singular {
		singular[i] = math.Sqrt(max(v, 0))
		sum += singular[i]
	}
	h := 0.0
	for _, v := range singular {
		if p := v / sum; p > 0 {
			h -= p * math.Log(p)
		}
	}
	return math.Exp(h)
}
