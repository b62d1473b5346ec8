package carry

import (
	"math"
	"time"

	"pupil/coordinator/wire"
	"pupil/loss"
	"pupil/worker/train"
)

// drawEvery is how often a run's distributions are sent at most, and at its last step once more.
const drawEvery = 2 * time.Second

// painter decides when a run's distributions are due.
type painter struct{ last time.Time }

func (w *painter) due(p train.Progress, now time.Time) bool {
	if len(p.Joints) == 0 || len(p.Priors) != len(p.Joints) || p.Step < p.Total && now.Sub(w.last) < drawEvery {
		return false
	}
	w.last = now
	return true
}

// distributions are those of a step, as far as a message may carry them.
func distributions(p train.Progress) wire.Distributions {
	student := p.Priors[0].Classes
	teacher := len(p.Joints[0]) / student
	high, wide := blockOf(teacher), blockOf(student)
	d := wire.Distributions{
		Step: p.Step, Teacher: teacher, Student: student, Rows: blocks(teacher, high), Columns: blocks(student, wide), Total: len(p.Joints),
	}
	fit := max(1, wire.MaxProbabilities/(d.Rows*d.Columns))
	for g, joint := range p.Joints[:min(fit, len(p.Joints))] {
		prior := p.Priors[g]
		x := wire.Distribution{Joint: make([]float64, d.Rows*d.Columns), Prior: make([]float64, d.Columns), M: []float64{}, D: []float64{}, A: []float64{}}
		for i, v := range joint {
			x.Joint[i/student/high*d.Columns+i%student/wide] += v
		}
		addPrior(x.Prior, prior, wide)
		if wide == 1 {
			x.M, x.D, x.A = short(prior.M), short(prior.D), short(prior.A)
		}
		x.Joint, x.Prior = short(x.Joint), short(x.Prior)
		d.Groups = append(d.Groups, x)
	}
	return d
}

func addPrior(dst []float64, p *loss.Prior, wide int) {
	logs := make([]float64, p.Classes)
	p.LogProbabilities(logs)
	for j, v := range logs {
		dst[j/wide] += math.Exp(v)
	}
}

// blockOf is the number of classes that are joined, so that no more than wire.MaxBlocks are left.
func blockOf(classes int) int { return (classes + wire.MaxBlocks - 1) / wire.MaxBlocks }

func blocks(classes, block int) int { return (classes + block - 1) / block }

// short rounds to four digits, which halves the message.
func short(values []float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		unit := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
		if out[i] = math.Round(v*unit) / unit; math.IsInf(unit, 0) || math.IsNaN(out[i]) {
			out[i] = 0 // too small to be seen
		}
	}
	return out
}
