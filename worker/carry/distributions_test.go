package carry

import (
	"math"
	"testing"
	"time"

	"pupil/coordinator/wire"
	"pupil/loss"
	"pupil/worker/train"
)

// What is sent is a distribution again, whatever the number of classes, and fits into a message.
func TestDistributions(t *testing.T) {
	for _, x := range []struct{ teacher, student, groups, rows, columns, sent int }{
		{3, 2, 2, 3, 2, 2}, {64, 64, 5, 64, 64, 4}, {100, 65, 1, 50, 33, 1}, {1000, 1000, 1, 63, 63, 1},
	} {
		p := train.Progress{Step: 7, Total: 9}
		for range x.groups {
			joint := make([]float64, x.teacher*x.student)
			for i := range joint {
				joint[i] = 1 / float64(len(joint))
			}
			zero := make([]float64, x.student)
			p.Joints = append(p.Joints, joint)
			p.Priors = append(p.Priors, &loss.Prior{Groups: 1, Classes: x.student, M: zero, D: zero, A: zero, W: []float64{1}})
		}
		d := distributions(p)
		if d.Rows != x.rows || d.Columns != x.columns || len(d.Groups) != x.sent || d.Total != x.groups || d.Teacher != x.teacher || d.Student != x.student {
			t.Errorf("%+v: %d x %d blocks, %d groups of %d", x, d.Rows, d.Columns, len(d.Groups), d.Total)
		}
		for _, g := range d.Groups {
			if s := sum(g.Joint); math.Abs(s-1) > 1e-3 {
				t.Errorf("%+v: the joint's sum is %v", x, s)
			}
			if s := sum(g.Prior); math.Abs(s-1) > 1e-3 {
				t.Errorf("%+v: the prior's sum is %v", x, s)
			}
			if joined := x.student > wire.MaxBlocks; joined != (len(g.M) == 0) {
				t.Errorf("%+v: %d values of m", x, len(g.M))
			}
		}
		d.Worker, d.Run = "w", "r"
		if data, err := wire.Encode(d); err != nil {
			t.Errorf("%+v: %v", x, err)
		} else if m, err := wire.As[wire.Distributions](data); err != nil || len(m.Groups) != x.sent {
			t.Errorf("%+v: %v", x, err)
		}
	}
}

func sum(values []float64) (s float64) {
	for _, v := range values {
		s += v
	}
	return s
}

// They are sent at most every drawEvery, and at the last step.
func TestPainter(t *testing.T) {
	now, w := time.Unix(1e9, 0), painter{}
	p := train.Progress{Step: 1, Total: 3, Joints: [][]float64{{1}}, Priors: []*loss.Prior{{}}}
	for i, x := range []struct {
		after time.Duration
		step  int
		want  bool
	}{{0, 1, true}, {time.Second, 2, false}, {drawEvery, 2, true}, {0, 3, true}} {
		now = now.Add(x.after)
		p.Step = x.step
		if got := w.due(p, now); got != x.want {
			t.Errorf("%d: %v", i, got)
		}
	}
	if w.due(train.Progress{Step: 3, Total: 3}, now) {
		t.Error("a loss without a joint has something to draw")
	}
}

// Four digits are kept; what JSON cannot hold is none.
func TestShort(t *testing.T) {
	got := short([]float64{0.123456, -98765, 0, math.NaN(), math.Inf(1), 1e-320, 1})
	for i, want := range []float64{0.1235, -98770, 0, 0, 0, 0, 1} {
		if math.Abs(got[i]-want) > 1e-12*math.Abs(want) {
			t.Errorf("%d: %v, want %v", i, got[i], want)
		}
	}
}
