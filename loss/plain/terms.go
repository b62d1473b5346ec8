package plain

import "math"

// floor is that of log x = log max(x, 1e-12), whose gradient is 0 under it.
const floor = 1e-12

func log(x float64) float64 { return math.Log(max(x, floor)) }

// over is the derivative of log: 1/x, or 0 under the floor.
func over(x float64) float64 {
	if x < floor {
		return 0
	}
	return 1 / x
}

// softmax returns softmax(f / temperature) and its logarithm, row by row.
func softmax(f matrix, temperature float64) (p, logP matrix) {
	p, logP = newMatrix(len(f), len(f[0])), newMatrix(len(f), len(f[0]))
	for n, row := range f {
		top := math.Inf(-1)
		for _, v := range row {
			top = max(top, v)
		}
		sum := 0.0
		for _, v := range row {
			sum += math.Exp((v - top) / temperature)
		}
		for j, v := range row {
			logP[n][j] = (v-top)/temperature - math.Log(sum)
			p[n][j] = math.Exp(logP[n][j])
		}
	}
	return p, logP
}

// backSoftmax returns s_j (g_j - sum_k s_k g_k), row by row: the gradient of f / temperature when that of s is g.
func backSoftmax(g, s matrix) matrix {
	out := newMatrix(len(s), len(s[0]))
	for n, row := range s {
		mean := 0.0
		for j, p := range row {
			mean += p * g[n][j]
		}
		for j, p := range row {
			out[n][j] = p * (g[n][j] - mean)
		}
	}
	return out
}

// divergence returns the mean of KL(t || s) over samples and its gradient with respect to f_S / temperature.
func divergence(t, logT, s, logS matrix) (value float64, g matrix) {
	samples := float64(len(s))
	g = newMatrix(len(s), len(s[0]))
	for n := range s {
		for j, p := range t[n] {
			value += p * (logT[n][j] - logS[n][j]) / samples
			g[n][j] = (s[n][j] - p) / samples
		}
	}
	return value, g
}

// crossEntropy returns the mean of -sum_j y_j log s_j over labelled samples and its gradient with respect to
// f_S / temperature.
func crossEntropy(s, logS matrix, labels []int, smoothing float64) (value float64, g matrix) {
	labelled := 0.0
	for _, y := range labels {
		if y >= 0 {
			labelled++
		}
	}
	g = newMatrix(len(s), len(s[0]))
	for n, label := range labels {
		if label < 0 {
			continue
		}
		for j := range s[n] {
			y := smoothing / float64(len(s[n]))
			if j == label {
				y += 1 - smoothing
			}
			value -= y * logS[n][j] / labelled
			g[n][j] = (s[n][j] - y) / labelled
		}
	}
	return value, g
}

// l2 returns the mean squared difference over samples and channels and its gradient with respect to f_S.
func l2(t, s matrix) (value float64, g matrix) {
	count := float64(len(s) * len(s[0]))
	g = newMatrix(len(s), len(s[0]))
	for n := range s {
		for j, x := range s[n] {
			value += (x - t[n][j]) * (x - t[n][j]) / count
			g[n][j] = 2 * (x - t[n][j]) / count
		}
	}
	return value, g
}

// cosine returns the mean of 1 - cos(t, s) over samples and its gradient with respect to f_S.
func cosine(t, s matrix) (value float64, g matrix) {
	samples := float64(len(s))
	g = newMatrix(len(s), len(s[0]))
	for n := range s {
		dot, tt, ss := 0.0, 0.0, 0.0
		for j, x := range s[n] {
			dot, tt, ss = dot+x*t[n][j], tt+t[n][j]*t[n][j], ss+x*x
		}
		length := math.Sqrt(tt) * math.Sqrt(ss)
		value += (1 - dot/length) / samples
		for j, x := range s[n] {
			g[n][j] = (dot/length*x/ss - t[n][j]/length) / samples
		}
	}
	return value, g
}

// information is the mutual information of a joint.
func information(p matrix) float64 {
	rows, columns := marginals(p)
	v := 0.0
	for i := range p {
		for j, q := range p[i] {
			v += q * (log(q) - log(rows[i]) - log(columns[j]))
		}
	}
	return v
}

func marginals(p matrix) (rows, columns []float64) {
	rows, columns = make([]float64, len(p)), make([]float64, len(p[0]))
	for i := range p {
		for j, q := range p[i] {
			rows[i] += q
			columns[j] += q
		}
	}
	return rows, columns
}
