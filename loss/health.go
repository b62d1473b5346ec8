package loss

import "pupil/internal/random/elementary"

// Health says how a student is doing, from the global batch: what a user watches beside the loss. It is about the
// softmaxes of the prior mutual information, or else of the first kl, or else of the features of the first l2 or cosine,
// or else of the first cross_entropy. Over several feature groups, numbers of classes are sums and the rest are means.
// Entropies are in nats.
type Health struct {
	// Measured says that there is a joint distribution: with a teacher, and, where no loss needs one, with up to 2^16
	// elements in it. Without it MutualInformation, JointInformation and Bias are 0, and ConditionalEntropy is H(S).
	Measured bool
	// MutualInformation is I(S;T) of the product joint P = t^T s / N. (The symmetric joint of two different networks has
	// mutual information even if the student is constant; JointInformation shows it.)
	MutualInformation float64
	// JointInformation is the mutual information of the loss's own joint; 0 without a prior mutual information.
	JointInformation float64
	// LogClasses is log C, which no mutual information exceeds, for the smaller C of teacher and student.
	LogClasses float64
	// StudentEntropy is H(S) of the student's marginal, mean_n s_n. Near 0 the student has collapsed to one class.
	StudentEntropy float64
	// ConditionalEntropy is H(S|T) of the product joint, so that I = H(S) - H(S|T).
	ConditionalEntropy float64
	// Bias estimates by how much a batch of N samples overstates the mutual information: (Ct-1)(Cs-1) / 2N, the first
	// term of Miller's expansion for counts (Miller 1955; Panzeri and Treves 1996). Soft distributions have less.
	Bias float64
	// UsedClasses is the number of classes that are the student's largest feature in at least one sample (the first of
	// equal ones); TeacherUsedClasses is the teacher's, 0 without one.
	UsedClasses, TeacherUsedClasses int
	// PriorEntropy is the entropy of the prior that the loss was evaluated with; 0 without one.
	PriorEntropy float64
	// Accuracy is the share of the labelled samples whose label is the student's largest feature; only with
	// cross_entropy, else 0.
	Accuracy float64
	// Labelled is the number of labelled samples; only with cross_entropy, else 0.
	Labelled int
}

// health fills Result.Health.
func (l *Lane) health() {
	at, x := l.loss.layout, l.loss.mainSource()
	h := Health{Measured: l.loss.joint, UsedClasses: used(l.sums[at.studentCounts:][:x.groups*x.student])}
	if x.teacher > 0 {
		h.TeacherUsedClasses = used(l.sums[at.teacherCounts:][:x.groups*x.teacher])
	}
	for g := range x.groups {
		if l.loss.joint {
			l.groupHealth(&h, g)
		} else {
			l.marginalHealth(&h, g)
		}
	}
	groups := float64(x.groups)
	for _, v := range []*float64{
		&h.MutualInformation, &h.JointInformation, &h.LogClasses, &h.StudentEntropy, &h.ConditionalEntropy, &h.PriorEntropy,
	} {
		*v /= groups
	}
	if h.Measured {
		h.Bias = float64(x.teacher-1) * float64(x.student-1) / float64(2*l.loss.samples)
	}
	h.Labelled = int(l.sums[at.labelled])
	h.Accuracy = float64(l.sums[at.hits]) / max(float64(h.Labelled), 1)
	l.result.Health = h
}

// groupHealth adds what the joint of a feature group says.
func (l *Lane) groupHealth(h *Health, g int) {
	p := l.products[g]
	information := p.information()
	h.LogClasses += p.logClasses()
	h.MutualInformation += information
	h.StudentEntropy += entropy(p.cols, p.logCols)
	h.ConditionalEntropy += p.conditionalEntropy()
	if l.mutuals == nil {
		return
	}
	m := l.mutuals[g]
	if m.own {
		information = m.joint.information()
	}
	h.JointInformation += information
	for j, v := range m.logS {
		m.scratch[j] = elementary.Exp(v)
	}
	h.PriorEntropy += entropy(m.scratch, m.logS)
}

// marginalHealth adds what the student's marginal says of a feature group without a joint.
func (l *Lane) marginalHealth(h *Health, g int) {
	x := l.loss.mainSource()
	p, logP := l.u[:x.student], l.scaled[:x.student]
	for j := range p {
		p[j] = l.loss.unit.value(l.sums[l.loss.layout.marginal+g*x.student+j]) / float64(l.loss.samples)
		logP[j] = floorLog(p[j])
	}
	h.LogClasses += elementary.Log(float64(x.student))
	h.StudentEntropy += entropy(p, logP)
	h.ConditionalEntropy += entropy(p, logP)
}

// used is the number of classes that were counted.
func used(counts []int64) int {
	n := 0
	for _, q := range counts {
		if q > 0 {
			n++
		}
	}
	return n
}

// entropy is -sum_j p_j log p_j, given both.
func entropy(p, logP []float64) float64 {
	v := 0.0
	for j, q := range p {
		v -= float64(q * logP[j])
	}
	return v
}
