package plain_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"pupil/internal/random"
	"pupil/loss"
	"pupil/loss/plain"
)

// reference is what these tests need of a case of ../testdata/loss_cases.json.
type reference struct {
	Name         string
	N, C, Groups int
	Options      struct {
		Joint, Posterior   string
		Update             string  `json:"prior_update"`
		TeacherTemperature float64 `json:"teacher_temperature"`
		StudentTemperature float64 `json:"student_temperature"`
	}
	Teacher, Student, M, D, A, Weights, Joint []float64
	Loss                                      float64
	MutualInformation                         float64   `json:"mutual_information"`
	GradStudent                               []float64 `json:"grad_student"`
	GradM                                     []float64 `json:"grad_m"`
	GradD                                     []float64 `json:"grad_d"`
	NaturalM                                  []float64 `json:"natural_m"`
	NaturalD                                  []float64 `json:"natural_d"`
}

func TestReference(t *testing.T) {
	data, err := os.ReadFile("../testdata/loss_cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []reference
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, r := range cases {
		t.Run(r.Name, func(t *testing.T) {
			c := loss.DefaultConfig(loss.PriorMutualInformation)
			c.Joint, c.Posterior = r.Options.Joint, r.Options.Posterior
			c.TeacherTemperature, c.StudentTemperature = r.Options.TeacherTemperature, r.Options.StudentTemperature
			c.Prior.Groups, c.Prior.Update, c.Start = r.Groups, loss.UpdateNone, loss.Start{}
			prior := &loss.Prior{Groups: r.Groups, Classes: r.C, M: r.M, D: r.D, A: r.A, W: r.Weights}
			b := loss.Batch{Heads: []loss.Pair{{Teacher: r.Teacher, Student: r.Student}}}

			got := evaluate(t, c, r.C, b, prior)
			near(t, "loss", []float64{got.Loss, got.MutualInformation}, []float64{r.Loss, r.MutualInformation})
			near(t, "joint", got.Joints[0], r.Joint)
			near(t, "gradient of the student", got.Gradients[0], r.GradStudent)
			sign := 1.0
			if r.Options.Update == loss.UpdateMaximize { // the case has the reversed gradient
				sign = -1
			}
			for i := range r.GradM {
				near(t, "gradient of m and d", []float64{got.GradM[0][i], got.GradD[0][i]}, []float64{
					sign * r.GradM[i], sign * r.GradD[i],
				})
			}
			c.Prior.Update, c.Prior.Rate = loss.UpdateNatural, 0.5
			got = evaluate(t, c, r.C, b, prior)
			near(t, "m after a natural step", got.State.Priors[0].M, r.NaturalM)
			near(t, "d after a natural step", got.State.Priors[0].D, r.NaturalD)
		})
	}
}

func evaluate(t *testing.T, c loss.Config, classes int, b loss.Batch, p *loss.Prior) *plain.Result {
	t.Helper()
	j := plain.Job{Terms: []loss.Config{c}, Heads: []loss.Head{{Teacher: classes, Student: classes}}}
	r, err := plain.Evaluate(j, b, &loss.State{Priors: []*loss.Prior{p}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(t *testing.T, what string, got, want []float64) {
	t.Helper()
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= 1e-12+1e-9*math.Abs(want[i])) {
			t.Errorf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// TestSlopes checks the gradients of all terms but the mutual information, which the reference has, by central
// differences.
func TestSlopes(t *testing.T) {
	const h = 1e-6
	kl, labels := loss.DefaultConfig(loss.KL), loss.DefaultConfig(loss.CrossEntropy)
	kl.TeacherTemperature, kl.StudentTemperature, kl.Weight = 2, 3, 0.5
	labels.LabelSmoothing, labels.StudentTemperature = 0.2, 0.7
	cosine := loss.DefaultConfig(loss.Cosine)
	cosine.Ramp = loss.Ramp{From: 2, To: 1, Begin: 0.25, End: 0.75}
	terms := []loss.Config{kl, labels, loss.DefaultConfig(loss.L2), cosine}
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			s := random.New(random.PurposeTest, seed)
			classes, samples := 2+s.IntN(6), 1+s.IntN(6)
			j := plain.Job{Terms: terms, Heads: []loss.Head{{Teacher: classes, Student: classes}}}
			b := loss.Batch{Heads: make([]loss.Pair, 1), Labels: make([]int, samples)}
			b.Labels[0] = s.IntN(classes)
			for n := 1; n < samples; n++ {
				b.Labels[n] = s.IntN(classes+1) - 1
			}
			p := &b.Heads[0]
			for range samples * classes {
				p.Teacher, p.Student = append(p.Teacher, s.Normal()), append(p.Student, s.Normal())
			}
			value := func() *plain.Result {
				r, err := plain.Evaluate(j, b, &loss.State{}, 0.5)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			gradient := value().Gradients[0]
			for i, v := range p.Student {
				p.Student[i] = v + h
				up := value().Loss
				p.Student[i] = v - h
				slope := (up - value().Loss) / (2 * h)
				p.Student[i] = v
				if math.Abs(slope-gradient[i]) > 1e-8 {
					t.Errorf("gradient of feature %d is %v, the slope %v", i, gradient[i], slope)
				}
			}
		})
	}
}

func TestInvalidTerm(t *testing.T) {
	if _, err := plain.Evaluate(plain.Job{Terms: []loss.Config{{Name: "l3"}}}, loss.Batch{}, nil, 0); err == nil {
		t.Error("no error")
	}
}

func Example() {
	j := plain.Job{Terms: []loss.Config{loss.DefaultConfig(loss.CrossEntropy)}, Heads: []loss.Head{{Student: 2}}}
	b := loss.Batch{Heads: []loss.Pair{{Student: []float64{1, 0, 0, 1}}}, Labels: []int{0, 0}}
	r, err := plain.Evaluate(j, b, &loss.State{}, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("loss %.4f, gradient %.4f\n", r.Loss, r.Gradients[0])
	// Output: loss 0.8133, gradient [-0.1345 0.1345 -0.3655 0.3655]
}
