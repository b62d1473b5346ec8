package kernel

// These kernels work on bands, see type band, and on n channels, a multiple of bandLanes. Rows of
// a band are given by offsets in its first block of channels.

// normBandGeneric lays cols pixels, stride apart, into a row of a band with the norm applied:
//
//	y[c/8*block + p*8 + c%8] = act((x[p*stride + c] - mean) * scale + shift)
func normBandGeneric(cols, n, stride int, x []float32, s []strip, act Activation, y []float32, block int) {
	for p := range cols {
		for c := 0; c < n; c += bandLanes {
			to := eightAt(y, c/bandLanes*block+p*bandLanes)[:]
			normApplyGeneric(1, bandLanes, stride, x[p*stride+c:], s[c/stripWidth:], act, to)
		}
	}
}

// normBackwardBandGeneric lays the gradient of a norm's input into a row of a band:
//
//	y[c/8*block + p*8 + c%8] = dz[p*stride + c] * scale + (x[p*stride + c] - mean) * slope + offset
func normBackwardBandGeneric(cols, n, stride int, x, dz []float32, s []strip, y []float32, block int) {
	for p := range cols {
		for c := 0; c < n; c += bandLanes {
			at, to := p*stride+c, eightAt(y, c/bandLanes*block+p*bandLanes)[:]
			normBackwardApplyGeneric(1, bandLanes, stride, x[at:], dz[at:], s[c/stripWidth:], to)
		}
	}
}

// multiplyAdd computes sum += a * b.
func multiplyAdd(a, b, sum *[bandLanes]float32) {
	for i, v := range a {
		sum[i] += float32(v * b[i])
	}
}

func eightAt(v []float32, at int) *[bandLanes]float32 { return (*[bandLanes]float32)(v[at:]) }

// depthwiseBandGeneric convolves rows of a band with filters w [blocks][3][3][8] into images of NHWC: for block b, row i
// and pixel j
//
//	y[b*8 + i*yRow + j*yCol + c] = sum_rs x[b*block + table[3i+r] + (j*step + s)*8 + c] * w[b][r][s][c]
func depthwiseBandGeneric(
	blocks, rows, cols int, x []float32, table []int, block, step int, w, y []float32, yRow, yCol int,
) {
	for b := range blocks {
		for i := range rows {
			for j := range cols {
				var sum [bandLanes]float32
				for r, at := range table[3*i : 3*i+3] {
					for s := range 3 {
						v := eightAt(x, b*block+at+(j*step+s)*bandLanes)
						multiplyAdd(v, eightAt(w, (9*b+3*r+s)*bandLanes), &sum)
					}
				}
				*eightAt(y, b*bandLanes+i*yRow+j*yCol) = sum
			}
		}
	}
}

// depthwiseBandSumsGeneric adds to the gradients of filters, sums [blocks][3][3][8], what rows of the gradient dy give,
// a band as well:
//
//	sums[b][r][s][c] += sum_ij x[b*block + table[3i+r] + (j*step + s)*8 + c] * dy[b*dyBlock + dyTable[i] + j*8 + c]
func depthwiseBandSumsGeneric(
	blocks, rows, cols int, x []float32, table []int, block, step int, dy []float32, dyTable []int, dyBlock int,
	sums []float32,
) {
	for b := range blocks {
		for r := range 3 {
			for s := range 3 {
				sum := eightAt(sums, (9*b+3*r+s)*bandLanes)
				for i := range rows {
					for j := range cols {
						v := eightAt(x, b*block+table[3*i+r]+(j*step+s)*bandLanes)
						multiplyAdd(v, eightAt(dy, b*dyBlock+dyTable[i]+j*bandLanes), sum)
					}
				}
			}
		}
	}
}

// depthwiseBandSpreadGeneric computes the data gradient of a convolution of stride 2, in NHWC, from rows of the gradient
// of its output. Row i is met by one row of x with the filter's second row, or, where table[2i+1] is not -1, by two with
// its third and its first; columns likewise:
//
//	y[.., 2j, c] = sum_r x[.., j, c] * w[b][r][1][c],  y[.., 2j+1, c] = sum_r x[.., j, c] * w[b][r][2][c] + x[.., j+1, c] * w[b][r][0][c]
func depthwiseBandSpreadGeneric(
	blocks, rows, cols int, x []float32, table []int, block int, w, y []float32, yRow, yCol int,
) {
	for b := range blocks {
		for i := range rows {
			met := table[2*i : 2*i+2]
			taps := []int{2, 0}
			if met[1] < 0 {
				met, taps = met[:1], []int{1}
			}
			for j := range cols {
				var sum [bandLanes]float32
				for k, at := range met {
					v, f := x[b*block+at+j/2*bandLanes:], w[(9*b+3*taps[k])*bandLanes:]
					if j%2 == 0 {
						multiplyAdd(eightAt(v, 0), eightAt(f, bandLanes), &sum)
					} else {
						multiplyAdd(eightAt(v, 0), eightAt(f, 2*bandLanes), &sum)
						multiplyAdd(eightAt(v, bandLanes), eightAt(f, 0), &sum)
					}
				}
				*eightAt(y, b*bandLanes+i*yRow+j*yCol) = sum
			}
		}
	}
}
