package student

import (
	"math"
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/mat"

	"pupil/internal/kernel"
)

// metric is a change of variables in which the probe's objective is nearly round where the fit begins. A network's
// features resemble each other so much that L-BFGS takes ten times as many iterations without it; what it converges to
// is the same.
//
// With all parameters 0 the Hessian is (I - 1 1^T / K) / K (x) S for K classes and the features' correlations S. With
// the penalty A = S / K + ridge I = L L^T, and weights W = V L^-1 the Hessian by V is the identity, up to the
// projection.
type metric struct {
	classes, width int
	root           blas64.Triangular // L [width, width]
	intercept      float64           // intercepts are this times their variable
}

// leastRidge keeps A definite: S is summed in float32.
const leastRidge = 1e-6

// metricTile is how many features' correlations one thread computes at a time.
const metricTile = 64

// newMetric takes standardised features [n, width].
func newMetric(features []float32, n, width, classes int, penalty float64, threads int) metric {
	sums := make([]float32, width*width) // its lower triangle
	tiles := make(chan int)
	var wg sync.WaitGroup
	for range max(1, threads) {
		wg.Go(func() {
			var ws kernel.Workspace
			for first := range tiles {
				last := min(first+metricTile, width)
				kernel.Gemm(true, false, last-first, last, n, features[first:], width, features, width, false,
					sums[first*width:], width, &ws)
			}
		})
	}
	for first := 0; first < width; first += metricTile {
		tiles <- first
	}
	close(tiles)
	wg.Wait()
	a := mat.NewSymDense(width, nil)
	m := metric{classes: classes, width: width, intercept: math.Sqrt(float64(classes))}
	var c mat.Cholesky
	for ridge := max(penalty, leastRidge); ; ridge *= 10 {
		for i := range width {
			for j := range i {
				a.SetSym(i, j, float64(sums[i*width+j])/float64(n*classes))
			}
			a.SetSym(i, i, float64(sums[i*width+i])/float64(n*classes)+ridge)
		}
		if c.Factorize(a) || ridge > 1 { // with a ridge above its rounding it is definite
			break
		}
	}
	var root mat.TriDense
	c.LTo(&root)
	m.root = root.RawTriangular()
	return m
}

// rows are the weights' part of parameters [classes * width weights, classes intercepts].
func (m metric) rows(x []float64) blas64.General {
	return blas64.General{Rows: m.classes, Cols: m.width, Stride: m.width, Data: x[:m.classes*m.width]}
}

// parameters are those that variables stand for: W = V L^-1.
func (m metric) parameters(variables []float64) []float64 {
	x := append([]float64(nil), variables...)
	blas64.Trsm(blas.Right, blas.NoTrans, 1, m.root, m.rows(x))
	for i := m.classes * m.width; i < len(x); i++ {
		x[i] *= m.intercept
	}
	return x
}

// gradient turns the gradient by parameters into that by variables: dV = dW L^-T.
func (m metric) gradient(to, byParameters []float64) {
	copy(to, byParameters)
	blas64.Trsm(blas.Right, blas.Trans, 1, m.root, m.rows(to))
	for i := m.classes * m.width; i < len(to); i++ {
		to[i] *= m.intercept
	}
}
