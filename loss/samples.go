package loss

import "pupil/internal/kernel"

// This file holds what is computed sample by sample: softmaxes, what a sample adds to the sums, and its gradient.

// distributions fills features and views.
func (l *Lane) distributions(b Batch, moments []*Moments) {
	for i, x := range l.loss.sources {
		var m *Moments
		if x.standardize {
			m = moments[x.head]
		}
		l.features[i].read(x, b.Heads[x.head], m)
	}
	for i, spec := range l.loss.views {
		v, x, f := &l.views[i], l.loss.sources[spec.source], &l.features[spec.source]
		softmaxes(v.s, v.logS, f.student, x.student, spec.student)
		if x.teacher > 0 {
			softmaxes(v.t, v.logT, f.teacher, x.teacher, spec.teacher)
		}
	}
}

// count adds every sample to the sums.
func (l *Lane) count(b Batch) {
	at := l.loss.layout
	x, f := l.loss.mainSource(), &l.features[l.loss.views[l.loss.main].source]
	main := &l.views[l.loss.main]
	size := x.teacher * x.student
	for n := range l.n {
		for g := range x.groups {
			s := x.group(main.s, n, g, x.student)
			l.sums[at.studentCounts+g*x.student+largest(x.group(f.student, n, g, x.student))]++
			if x.teacher > 0 {
				l.sums[at.teacherCounts+g*x.teacher+largest(x.group(f.teacher, n, g, x.teacher))]++
			}
			if !l.loss.joint {
				for j, p := range s {
					l.sums[at.marginal+g*x.student+j] += l.loss.unit.count(p)
				}
				continue
			}
			t := x.group(main.t, n, g, x.teacher)
			if at.logPosterior >= 0 {
				logS := l.u[:x.student]
				floorLogs(logS, s, x.group(main.logS, n, g, x.student))
				addOuter(l.sums[at.logPosterior+g*size:][:size], t, logS, l.scaled, l.loss.wide)
			}
		}
	}
	if l.loss.joint {
		for g := range x.groups {
			l.countJoint(x, main, g, l.sums[at.joint+g*size:][:size])
		}
	}
	for i := range l.loss.parts {
		l.countValues(i, b.Labels)
	}
}

// countJoint adds the counts of t_i s_j of all samples in a feature group, row by row, so that a row stays in a near cache.
func (l *Lane) countJoint(x source, v *view, g int, sums []int64) {
	scaled := l.scaledRows[:l.n*x.student]
	for n := range l.n {
		for j, p := range x.group(v.s, n, g, x.student) {
			scaled[n*x.student+j] = p * l.loss.unit.scale // exact
		}
	}
	for i := range x.teacher {
		row := sums[i*x.student:][:x.student]
		for n := range l.n {
			kernel.AddRounded(row, x.group(v.t, n, g, x.teacher)[i], scaled[n*x.student:][:x.student])
		}
	}
}

// addOuter adds the counts of a_i b_j, [len(a), len(b)]. Scaled is scratch, at least as long as b.
func addOuter(sums []int64, a, b, scaled []float64, format fixed) {
	scaled = scaled[:len(b)]
	for j, v := range b {
		scaled[j] = v * format.scale // exact
	}
	for i, w := range a {
		kernel.AddRounded(sums[i*len(b):][:len(b)], w, scaled)
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

// countValues adds a part's values, if it is a mean over samples.
func (l *Lane) countValues(part int, labels []int) {
	p, at := l.loss.parts[part], l.loss.layout
	x, f := l.loss.sources[p.source], &l.features[p.source]
	sum := l.sums[at.values+2*part:][:2]
	for n := range l.n {
		switch p.kind {
		case kindStart, kindKL:
			v := &l.views[p.view]
			lo, hi := n*x.groups*x.student, (n+1)*x.groups*x.student
			value := divergence(v.t[lo:hi], v.logT[lo:hi], v.logS[lo:hi]) / float64(x.groups)
			l.loss.unit.addValue(sum, value)
		case kindL2:
			l.loss.unit.addValue(sum, squaredDistance(x.group(f.teacher, n, 0, x.teacher), x.group(f.student, n, 0, x.student)))
		case kindCosine:
			l.loss.unit.addValue(sum, cosineDistance(x.group(f.teacher, n, 0, x.teacher), x.group(f.student, n, 0, x.student)))
		case kindCross:
			if labels[n] < 0 {
				continue
			}
			logS := x.group(l.views[p.view].logS, n, 0, x.student)
			l.loss.unit.addValue(sum, crossEntropy(logS, labels[n], p.LabelSmoothing))
		}
	}
	if p.kind == kindCross && part == l.loss.firstCross() {
		l.countHits(x, f, labels)
	}
}

// firstCross is the number of the first cross_entropy part, whose features Health's accuracy is about, or -1.
func (l *Loss) firstCross() int {
	for i, p := range l.parts {
		if p.kind == kindCross {
			return i
		}
	}
	return -1
}

func (l *Lane) countHits(x source, f *features, labels []int) {
	at := l.loss.layout
	for n, y := range labels {
		if y < 0 {
			continue
		}
		l.sums[at.labelled]++
		if largest(x.group(f.student, n, 0, x.student)) == y {
			l.sums[at.hits]++
		}
	}
}

// divergence is KL(t || s) = sum_j t_j (log t_j - log s_j); of several groups, the sum.
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
		case kindMutual:
		case kindCross:
			t.Value = sum / max(float64(l.sums[l.loss.layout.labelled]), 1)
		default:
			t.Value = sum / float64(l.loss.samples)
		}
		l.result.Terms[i] = t
	}
}

// gradient fills Result.Gradients.
func (l *Lane) gradient(b Batch) {
	for _, g := range l.result.Gradients {
		clear(g)
	}
	for i, x := range l.loss.sources {
		if x.order != nil {
			clear(l.features[i].gradient)
		}
	}
	for i, p := range l.loss.parts {
		if weight := l.result.Terms[i].Weight; weight != 0 {
			l.addGradient(p, weight, b.Labels)
		}
	}
	for i, x := range l.loss.sources {
		if x.order != nil {
			l.features[i].addBack(x, l.result.Gradients[x.head])
		}
	}
}

// addGradient adds a part's gradient to that of its source.
func (l *Lane) addGradient(p part, weight float64, labels []int) {
	samples := float64(l.loss.samples)
	labelled := max(float64(l.sums[l.loss.layout.labelled]), 1)
	x, f := l.loss.sources[p.source], &l.features[p.source]
	if p.view < 0 {
		weight /= samples
		for n := range l.n {
			g := x.group(f.gradient, n, 0, x.student)
			t, s := x.group(f.teacher, n, 0, x.teacher), x.group(f.student, n, 0, x.student)
			if p.kind == kindL2 {
				addSquaredGradient(g, t, s, weight)
			} else {
				addCosineGradient(g, t, s, weight)
			}
		}
		return
	}
	weight /= p.StudentTemperature * float64(x.groups)
	v, u := &l.views[p.view], l.u[:x.student]
	for n := range l.n {
		for k := range x.groups {
			g, s := x.group(f.gradient, n, k, x.student), x.group(v.s, n, k, x.student)
			switch p.kind {
			case kindMutual:
				l.mutuals[k].direction(u, n, x.group(v.t, n, k, x.teacher), s, samples)
				addSoftmaxGradient(g, u, s, weight)
			case kindStart, kindKL:
				addDivergenceGradient(g, s, x.group(v.t, n, k, x.teacher), weight/samples)
			case kindCross:
				if labels[n] >= 0 {
					addCrossEntropyGradient(g, s, labels[n], p.LabelSmoothing, weight/labelled)
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
