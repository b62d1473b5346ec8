package kernel_test

import (
	"fmt"
	"testing"

	"pupil/internal/kernel"
	"pupil/internal/random"
)

type product struct {
	transA, transB, accumulate bool
	m, n, k                    int
	gapA, gapB, gapC           int // values between rows
}

func products() []product {
	var list []product
	sizes := [][3]int{
		{1, 1, 1},
		{6, 16, 4},
		{5, 15, 3},
		{7, 17, 9},
		{13, 8, 33},
		{12, 24, 16},
		{3, 40, 700},
		{100, 9, 1},
		{50, 70, 400},
		{20, 300, 1100},
		{13, 40, 1024}, // rows that compete for the same places of the cache
		{512, 130, 5},
		{3, 130, 5},
		{0, 3, 2},
		{3, 0, 2},
		{3, 2, 0},
	}
	for _, s := range sizes {
		for bits := range 8 {
			list = append(list, product{
				transA: bits&1 != 0, transB: bits&2 != 0, accumulate: bits&4 != 0, m: s[0], n: s[1], k: s[2],
			})
		}
	}
	r := random.New(random.PurposeTest, 5)
	for range 60 {
		list = append(list, product{
			transA: r.IntN(2) == 0, transB: r.IntN(2) == 0, accumulate: r.IntN(2) == 0, m: r.IntN(40), n: r.IntN(50),
			k: r.IntN(60), gapA: r.IntN(5), gapB: r.IntN(5), gapC: r.IntN(5),
		})
	}
	return list
}

// stored gives the stride of a matrix and the number of values that hold it.
func stored(rows, cols, gap int, transposed bool) (ld, n int) {
	if transposed {
		rows, cols = cols, rows
	}
	if rows == 0 || cols == 0 {
		return cols + gap, 0
	}
	return cols + gap, (rows-1)*(cols+gap) + cols
}

func element(v []float32, i, j, ld int, transposed bool) float64 {
	if transposed {
		i, j = j, i
	}
	return float64(v[i*ld+j])
}

func TestGemm(t *testing.T) {
	each(t, func(t *testing.T) {
		var ws kernel.Workspace
		for i, p := range products() {
			t.Run(fmt.Sprintf("%+v", p), func(t *testing.T) {
				arena, next := newArena(t), normal(6, uint64(i))
				lda, na := stored(p.m, p.k, p.gapA, p.transA)
				ldb, nb := stored(p.k, p.n, p.gapB, p.transB)
				ldc, nc := stored(p.m, p.n, p.gapC, false)
				a, b := input[float32](arena, na, next), input[float32](arena, nb, next)
				c := input[float32](arena, nc, next)
				want := make([]sum, nc)
				for i := range want {
					inside := i%ldc < p.n
					if p.accumulate || !inside {
						want[i].add(float64(c[i]))
					}
					if inside {
						for k := range p.k {
							want[i].add(element(a, i/ldc, k, lda, p.transA) * element(b, k, i%ldc, ldb, p.transB))
						}
					}
				}
				kernel.Gemm(p.transA, p.transB, p.m, p.n, p.k, a, lda, b, ldb, p.accumulate, c, ldc, &ws)
				compare(t, "c", c, want)
			})
		}
	})
}

// TestGemmRows holds that a row and a column of a product do not depend on how many others there are.
func TestGemmRows(t *testing.T) {
	each(t, func(t *testing.T) {
		const m, n, k = 37, 53, 1500
		next := normal(7)
		arena := newArena(t)
		a, b := input[float32](arena, m*k, next), input[float32](arena, k*n, next)
		for _, trans := range []bool{false, true} {
			var ws kernel.Workspace
			c := make([]float32, m*n)
			lda, ldb := k, n
			if trans {
				lda, ldb = m, k
			}
			kernel.Gemm(trans, trans, m, n, k, a, lda, b, ldb, false, c, n, &ws)
			for _, part := range [][2]int{{1, n}, {11, 5}, {m, 9}, {2, 24}} {
				few := make([]float32, part[0]*part[1])
				kernel.Gemm(trans, trans, part[0], part[1], k, a, lda, b, ldb, false, few, part[1], &ws)
				for i := range part[0] {
					same(t, fmt.Sprint("row ", i), few[i*part[1]:][:part[1]], c[i*n:][:part[1]])
				}
			}
		}
	})
}
