package kernel

// depthwiseRunGeneric computes count output pixels of c channels that meet the same rows x cols taps, 3 x 3 at most.
// For pixel p:
//
//	y[p*yStep + c] (+)= sum_ij x[x0 + p*xStep + i*xRow + j*C + c] * w[w0 + i*wRow + j*wCol + c]
//
// in the order of i, then j.
func depthwiseRunGeneric(
	rows, cols, c, count int, x []float32, x0, xRow, xStep int, w []float32, w0, wRow, wCol int, y []float32, yStep int,
	accumulate bool,
) {
	for p := range count {
		dst := y[p*yStep:][:c]
		if !accumulate {
			clear(dst)
		}
		for i := range rows {
			for j := range cols {
				src := x[x0+p*xStep+i*xRow+j*c:][:len(dst)]
				tap := w[w0+i*wRow+j*wCol:][:len(dst)]
				for k := range dst {
					dst[k] += float32(src[k] * tap[k])
				}
			}
		}
	}
}

// depthwiseSumsGeneric adds to the gradients of rows x cols taps, 3 x 3 at most, what count output pixels of c channels
// give:
//
//	dw[w0 + i*wRow + j*C + c] += sum_p x[x0 + p*xStep + i*xRow + j*C + c] * dy[p*C + c]
func depthwiseSumsGeneric(
	rows, cols, c, count int, x []float32, x0, xRow, xStep int, dy, dw []float32, w0, wRow int,
) {
	for i := range rows {
		for j := range cols {
			sums := dw[w0+i*wRow+j*c:][:c]
			for p := range count {
				src := x[x0+p*xStep+i*xRow+j*c:][:len(sums)]
				gradient := dy[p*c:][:len(sums)]
				for k := range sums {
					sums[k] += float32(src[k] * gradient[k])
				}
			}
		}
	}
}
