package kernel

// These kernels work on n channels, of as many strips as they need, in rows that lie stride values apart.

// groupRows is how many rows are summed in float32, as (0 + 1) + (2 + 3), before that is added to float64 sums. Rows behind
// the last whole group are added by themselves.
const groupRows = 4

// group is how many rows the group has that begins with row r.
func group(r, rows int) int {
	if r+groupRows <= rows {
		return groupRows
	}
	return 1
}

// of gives the strip of channel c, and the channel's place in it.
func of(s []strip, c int) (*strip, int) { return &s[c/stripWidth], c % stripWidth }

// normSumsGeneric adds, for each channel, x - mean to the sums and (x - mean)^2 to the products.
func normSumsGeneric(rows, n, stride int, x []float32, s []strip) {
	for r := 0; r < rows; r += group(r, rows) {
		for c := range n {
			p, i := of(s, c)
			var d [groupRows]float32
			square := float32(0)
			for k := range group(r, rows) {
				d[k] = x[(r+k)*stride+c] - p.mean[i]
				square += float32(d[k] * d[k])
			}
			p.sums[i] += float64((d[0] + d[1]) + (d[2] + d[3]))
			p.products[i] += float64(square)
		}
	}
}

// normalise computes z = (x - mean) * scale + shift for one row.
func normalise(s []strip, x, z []float32) {
	for c := 0; c < len(x); c += stripWidth {
		p, n := &s[c/stripWidth], min(stripWidth, len(x)-c)
		dst := z[c:][:n]
		for i, v := range x[c:][:n] {
			dst[i] = float32((v-p.mean[i])*p.scale[i]) + p.shift[i]
		}
	}
}

// normApplyGeneric computes y = act((x - mean) * scale + shift).
func normApplyGeneric(rows, n, stride int, x []float32, s []strip, act Activation, y []float32) {
	for r := range rows {
		dst := y[r*stride:][:n]
		normalise(s, x[r*stride:][:n], dst)
		if act != Identity {
			activateGeneric(act, dst, dst)
		}
	}
}

// normBackwardSumsGeneric adds, for each channel, dz to the sums and dz * (x - mean) to the products, where
// dz = dy * act'((x - mean) * scale + shift), which it writes unless the activation is Identity. dz may be dy.
func normBackwardSumsGeneric(rows, n, stride int, x, dy []float32, s []strip, act Activation, dz []float32) {
	if act != Identity {
		for r := range rows {
			for c := 0; c < n; c += stripWidth {
				var z [stripWidth]float32
				at, k := r*stride+c, min(stripWidth, n-c)
				normalise(s[c/stripWidth:], x[at:][:k], z[:k])
				activateBackwardGeneric(act, z[:k], dy[at:][:k], dz[at:][:k])
			}
		}
		dy = dz
	}
	for r := 0; r < rows; r += group(r, rows) {
		for c := range n {
			p, i := of(s, c)
			var d [groupRows]float32
			product := float32(0)
			for k := range group(r, rows) {
				at := (r+k)*stride + c
				d[k] = dy[at]
				product += float32(d[k] * (x[at] - p.mean[i]))
			}
			p.sums[i] += float64((d[0] + d[1]) + (d[2] + d[3]))
			p.products[i] += float64(product)
		}
	}
}

// normBackwardApplyGeneric computes dx = dz * scale + (x - mean) * slope + offset. dx may be dz.
func normBackwardApplyGeneric(rows, n, stride int, x, dz []float32, s []strip, dx []float32) {
	for r := range rows {
		gradient, dst := dz[r*stride:][:n], dx[r*stride:][:n]
		for c, v := range x[r*stride:][:n] {
			p, i := of(s, c)
			dst[c] = float32(gradient[c]*p.scale[i]) + (float32((v-p.mean[i])*p.slope[i]) + p.offset[i])
		}
	}
}

// scaleShiftGeneric computes y = act(x * scale + shift).
func scaleShiftGeneric(rows, n, stride int, x []float32, s []strip, act Activation, y []float32) {
	for r := range rows {
		dst := y[r*stride:][:n]
		for c, v := range x[r*stride:][:n] {
			p, i := of(s, c)
			dst[c] = float32(v*p.scale[i]) + p.shift[i]
		}
		if act != Identity {
			activateGeneric(act, dst, dst)
		}
	}
}
