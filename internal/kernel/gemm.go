package kernel

// Gemm computes the product of two matrices into c [m, n]:
//
//	c = op(a) * op(b)       or, with accumulate,       c = c + op(a) * op(b)
//
// where op(a) is [m, k] and op(b) is [k, n]. All are row-major; lda, ldb and ldc are the values from one row to the
// next as they are stored. With transA a is stored as [k, m], with transB b is stored as [n, k]. c overlaps neither a
// nor b. A sum over k is taken in blocks, in order; it does not depend on m and n.
func Gemm(
	transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, accumulate bool, c []float32, ldc int,
	ws *Workspace,
) {
	checkMatrix("a", a, m, k, lda, transA)
	checkMatrix("b", b, k, n, ldb, transB)
	checkMatrix("c", c, m, n, ldc, false)
	if m == 0 || n == 0 {
		return
	}
	if k == 0 && !accumulate {
		for i := range m {
			clear(c[i*ldc:][:n])
		}
	}
	blockDepth := depthBlock
	if transA {
		blockDepth = pixelBlock
	}
	for k0 := 0; k0 < k; k0 += blockDepth {
		depth := min(blockDepth, k-k0)
		w := right{values: b[at(k0, 0, ldb, transB):], ld: ldb, transposed: transB}
		if transA {
			offsets := grow(&ws.offsets, depth)
			for i := range offsets {
				offsets[i] = (k0 + i) * lda
			}
			transposedLeft{a, offsets, m}.multiply(w, n, accumulate || k0 > 0, c, ldc, ws)
		} else {
			l := matrix(m, depth, lda, ldc, append(grow(&ws.taps, 1)[:0], tap{}))
			var e follow
			if accumulate || k0 > 0 {
				e.old = c
			}
			l.multiply(a[k0:], w, n, e, c, ws)
		}
	}
}

// at is where element (i, j) of a matrix lies.
func at(i, j, ld int, transposed bool) int {
	if transposed {
		i, j = j, i
	}
	return i*ld + j
}

func checkMatrix(argument string, v []float32, rows, cols, ld int, transposed bool) {
	if transposed {
		rows, cols = cols, rows
	}
	if rows < 0 || cols < 0 || ld < cols {
		panic("kernel: Gemm: impossible shape of " + argument)
	}
	if rows > 0 && cols > 0 {
		checkLen("Gemm", argument, len(v), (rows-1)*ld+cols)
	}
}
