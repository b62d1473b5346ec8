package loss

import "pupil/internal/random/elementary"

// Health says how a student is doing, from the global batch: what a user watches beside the loss. It is about the
// softmaxes of the prior mutual information, or else of the first term with a teacher, or else of the first term.
// Entropies are in nats.
type Health struct {
	// MutualInformation is I(S;T) of the product joint P = t^T s / N. (The symmetric joint of two different networks has
	// mutual information even if the student is constant; JointInformation shows it.) 0 without a teacher.
	MutualInformation float64
	// JointInformation is the mutual information of the loss's own joint; 0 without a prior mutual information.
	JointInformation float64
	// LogClasses is log C, which no mutual information exceeds.
	LogClasses float64
	// StudentEntropy is H(S) of the student's marginal, mean_n s_n. Near 0 the student has collapsed to one class.
	StudentEntropy float64
	// ConditionalEntropy is H(S|T) of the product joint, so that I = H(S) - H(S|T). Without a teacher it is H(S).
	ConditionalEntropy float64
	// Bias estimates by how much a batch of N samples overstates the mutual information: (C-1)^2 / 2N, the first term of
	// Miller's expansion for counts (Miller 1955; Panzeri and Treves 1996). Soft distributions have less.
	// 0 without a teacher.
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
	c, at := l.loss.classes, l.loss.layout
	h := Health{LogClasses: elementary.Log(float64(c)), UsedClasses: used(l.sums[at.studentCounts:][:c])}
	if l.joint != nil {
		h.MutualInformation = l.joint.information()
		h.StudentEntropy = entropy(l.joint.cols, l.joint.logCols)
		h.ConditionalEntropy = l.joint.conditionalEntropy()
		h.TeacherUsedClasses = used(l.sums[at.teacherCounts:][:c])
		h.Bias = float64(c-1) * float64(c-1) / float64(2*l.loss.samples)
	} else {
		for j := range l.u {
			l.u[j] = l.loss.unit.value(l.sums[at.marginal+j]) / float64(l.loss.samples)
			l.scaled[j] = floorLog(l.u[j])
		}
		h.StudentEntropy = entropy(l.u, l.scaled)
		h.ConditionalEntropy = h.StudentEntropy
	}
	if m := l.mutual; m != nil {
		h.JointInformation = h.MutualInformation
		if m.joint != l.joint {
			h.JointInformation = m.joint.information()
		}
		for j, v := range m.logS {
			m.scratch[j] = elementary.Exp(v)
		}
		h.PriorEntropy = entropy(m.scratch, m.logS)
	}
	h.Labelled = int(l.sums[at.labelled])
	h.Accuracy = float64(l.sums[at.hits]) / max(float64(h.Labelled), 1)
	l.result.Health = h
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
