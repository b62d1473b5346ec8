package kernel

// Add computes z = x + y. The slices have the length of z; z may be x or y.
func Add(x, y, z []float32) {
	checkLen("Add", "x", len(x), len(z))
	checkLen("Add", "y", len(y), len(z))
	add(x[:len(z)], y[:len(z)], z)
}

// AddBias adds b [c] to every row of x [rows, c], in place.
func AddBias(rows, c int, x, b []float32) {
	checkLen("AddBias", "x", len(x), rows*c)
	checkLen("AddBias", "b", len(b), c)
	b = b[:c]
	for r := range rows {
		row := x[r*c:][:c]
		add(row, b, row)
	}
}

// SumRows overwrites out [c] by the sum of the rows of x [rows, c], taken in float64: the gradient of a bias.
func SumRows(rows, c int, x, out []float32) {
	checkLen("SumRows", "x", len(x), rows*c)
	checkLen("SumRows", "out", len(out), c)
	sumScaled(rows, c, x, 1, out)
}

// sumsWidth is how many channels are summed at once, and sumsRows how many of their rows.
const (
	sumsWidth = 128
	sumsRows  = 64
)

// sumScaled computes out = factor * sum of the rows of x.
func sumScaled(rows, c int, x []float32, factor float64, out []float32) {
	for c0 := 0; c0 < c; c0 += sumsWidth {
		n := min(sumsWidth, c-c0)
		var sums [sumsWidth]float64
		for r := 0; r < rows; r += sumsRows {
			sumRows(min(sumsRows, rows-r), n, c, x[r*c+c0:], &sums)
		}
		for i, v := range sums[:n] {
			out[c0+i] = float32(v * factor)
		}
	}
}

// ScaleChannels computes y = x * s by channel, for images x and y [n, hw, c] and factors s [n, c]: the second half of
// squeeze-and-excitation. y may be x.
func ScaleChannels(n, hw, c int, x, s, y []float32) {
	checkLen("ScaleChannels", "x", len(x), n*hw*c)
	checkLen("ScaleChannels", "y", len(y), n*hw*c)
	checkLen("ScaleChannels", "s", len(s), n*c)
	for i := range n {
		factors := s[i*c:][:c]
		for p := i * hw; p < (i+1)*hw; p++ {
			multiply(x[p*c:][:c], factors, y[p*c:][:c])
		}
	}
}

// ScaleChannelsBackward computes the gradients of ScaleChannels from the gradient dy [n, hw, c] of its output. It
// overwrites dx [n, hw, c] = dy * s, which may be dy, and ds [n, c] = sum over hw of dy * x, taken in float64.
func ScaleChannelsBackward(n, hw, c int, x, s, dy, dx, ds []float32) {
	const function = "ScaleChannelsBackward"
	for _, v := range [...][]float32{x, dy, dx} {
		checkLen(function, "x, dy or dx", len(v), n*hw*c)
	}
	checkLen(function, "s", len(s), n*c)
	checkLen(function, "ds", len(ds), n*c)
	for i := range n {
		for c0 := 0; c0 < c; c0 += sumsWidth {
			m := min(sumsWidth, c-c0)
			var sums [sumsWidth]float64
			for p := 0; p < hw; p += sumsRows {
				at := (i*hw+p)*c + c0
				dotRows(min(sumsRows, hw-p), m, c, x[at:], dy[at:], &sums)
			}
			for j, v := range sums[:m] {
				ds[i*c+c0+j] = float32(v)
			}
		}
	}
	ScaleChannels(n, hw, c, dy, s, dx)
}
