package loss

import "math"

// This file holds what is computed sample by sample: softmaxes, what a sample adds to the sums, and its gradient.

// distributions fills the views.
func (l *Lane) distributions(b Batch) {
	c := l.loss.classes
	for i, tau := range l.loss.views {
		v := &l.views[i]
		for n := range l.n {
			lo, hi := n*c, (n+1)*c
			softmax(v.s[lo:hi], v.logS[lo:hi], b.Student[lo:hi], tau.student)
			if tau.teacher > 0 {
				softmax(v.t[lo:hi], v.logT[lo:hi], b.Teacher[lo:hi], tau.teacher)
			}
		}
	}
}

// count adds every sample to the sums.
func (l *Lane) count(b Batch) {
	c, at := l.loss.classes, l.loss.layout
	main := &l.views[l.loss.main]
	for n := range l.n {
		lo, hi := n*c, (n+1)*c
		s := main.s[lo:hi]
		l.sums[at.studentCounts+largest(b.Student[lo:hi])]++
		if l.loss.teacher {
			l.sums[at.teacherCounts+largest(b.Teacher[lo:hi])]++
			addOuter(l.sums[at.joint:], main.t[lo:hi], s, l.scaled, l.loss.unit)
		} else {
			for j, p := range s {
				l.sums[at.marginal+j] += l.loss.unit.count(p)
			}
		}
		if at.logPosterior >= 0 {
			floorLogs(l.u, s, main.logS[lo:hi])
			addOuter(l.sums[at.logPosterior:], main.t[lo:hi], l.u, l.scaled, l.loss.wide)
		}
		l.countValues(b, n)
	}
}

// addOuter adds the counts of a_i b_j, [C, C]. Scaled is scratch, [C].
func addOuter(sums []int64, a, b, scaled []float64, format fixed) {
	for j, v := range b {
		scaled[j] = v * format.scale // exact
	}
	for i, w := range a {
		row := sums[i*len(b):][:len(b)]
		for j, v := range scaled {
			row[j] += int64(math.RoundToEven(w * v))
		}
	}
}

// floorLogs writes log max(s, floor), given s and its exact logarithm.
func floorLogs(dst, s, logS []float64) {
	for j, p := range s {
		dst[j] = logS[j]
		if p < floor {
			dst[j] = logFloor
		}
	}
}

// countValues adds sample n's value of every part that is a mean over samples.
func (l *Lane) countValues(b Batch, n int) {
	c, at := l.loss.classes, l.loss.layout
	for i, p := range l.loss.parts {
		v := &l.views[p.view]
		sum := l.sums[at.values+2*i:][:2]
		lo, hi := n*c, (n+1)*c
		switch p.kind {
		case kindStart, kindKL:
			l.loss.unit.addValue(sum, divergence(v.t[lo:hi], v.logT[lo:hi], v.logS[lo:hi]))
		case kindCross:
			if b.Labels[n] >= 0 {
				l.loss.unit.addValue(sum, crossEntropy(v.logS[lo:hi], b.Labels[n], p.LabelSmoothing))
			}
		}
	}
	if l.loss.labels && b.Labels[n] >= 0 {
		l.sums[at.labelled]++
		if largest(b.Student[n*c:(n+1)*c]) == b.Labels[n] {
			l.sums[at.hits]++
		}
	}
}

// divergence is KL(t || s) = sum_j t_j (log t_j - log s_j).
func divergence(t, logT, logS []float64) float64 {
	v := 0.0
	for j, p := range t {
		v += float64(p * (logT[j] - logS[j]))
	}
	return v
}

// crossEntropy is -sum_j y_j log s_j with y = (1 - smoothing) onehot(label) + smoothing / C.
func crossEntropy(logS []float64, label int, smoothing float64) float64 {
	v := -float64((1 - smoothing) * logS[label])
	if smoothing > 0 {
		sum := 0.0
		for _, p := range logS {
			sum += p
		}
		v -= float64(smoothing / float64(len(logS)) * sum)
	}
	return v
}

// readTerms sets Result.Terms, but for the mutual information's value.
func (l *Lane) readTerms(progress float64) {
	for i, p := range l.loss.parts {
		t := p.term(progress)
		sum := l.loss.unit.readValue(l.sums[l.loss.layout.values+2*i:][:2])
		switch p.kind {
		case kindStart, kindKL:
			t.Value = sum / float64(l.loss.samples)
		case kindCross:
			t.Value = sum / max(float64(l.sums[l.loss.layout.labelled]), 1)
		}
		l.result.Terms[i] = t
	}
}

// gradient fills Result.Gradient.
func (l *Lane) gradient(b Batch) {
	clear(l.result.Gradient)
	c := l.loss.classes
	samples := float64(l.loss.samples)
	labelled := max(float64(l.sums[l.loss.layout.labelled]), 1)
	for i, p := range l.loss.parts {
		weight := l.result.Terms[i].Weight / p.StudentTemperature
		if weight == 0 {
			continue
		}
		v := &l.views[p.view]
		for n := range l.n {
			lo, hi := n*c, (n+1)*c
			g, s := l.result.Gradient[lo:hi], v.s[lo:hi]
			switch p.kind {
			case kindMutual:
				l.mutual.direction(l.u, n, v.t[lo:hi], s, samples)
				addSoftmaxGradient(g, l.u, s, weight)
			case kindStart, kindKL:
				addDivergenceGradient(g, s, v.t[lo:hi], weight/samples)
			case kindCross:
				if b.Labels[n] >= 0 {
					addCrossEntropyGradient(g, s, b.Labels[n], p.LabelSmoothing, weight/labelled)
				}
			}
		}
	}
}

// addSoftmaxGradient adds weight * s_j (u_j - sum_k s_k u_k): the gradient of the features when that of s is u.
func addSoftmaxGradient(g, u, s []float64, weight float64) {
	mean := 0.0
	for j, p := range s {
		mean += float64(p * u[j])
	}
	for j, p := range s {
		g[j] += float64(weight * float64(p*(u[j]-mean)))
	}
}

// addDivergenceGradient adds weight * (s - t).
func addDivergenceGradient(g, s, t []float64, weight float64) {
	for j, p := range s {
		g[j] += float64(weight * (p - t[j]))
	}
}

// addCrossEntropyGradient adds weight * (s - y).
func addCrossEntropyGradient(g, s []float64, label int, smoothing, weight float64) {
	spread := smoothing / float64(len(s))
	for j, p := range s {
		y := spread
		if j == label {
			y += 1 - smoothing
		}
		g[j] += float64(weight * (p - y))
	}
}

// largest is the index of the largest value, the first of equal ones.
func largest(f []float64) int {
	best := 0
	for j, v := range f {
		if v > f[best] {
			best = j
		}
	}
	return best
}
