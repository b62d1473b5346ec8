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
			b := loss.Batch{Teacher: r.Teacher, Student: r.Student}

			got := evaluate(t, c, r.C, b, prior)
			near(t, "loss", []float64{got.Loss, got.MutualInformation}, []float64{r.Loss, r.MutualInformation})
			near(t, "joint", got.Joint, r.Joint)
			near(t, "gradient of the student", got.Gradient, r.GradStudent)
			sign := 1.0
			if r.Options.Update == loss.UpdateMaximize { // the case has the reversed gradient
				sign = -1
			}
			for i := range r.GradM {
				near(t, "gradient of m and d", []float64{got.GradM[i], got.GradD[i]}, []float64{
					sign * r.GradM[i], sign * r.GradD[i],
				})
			}
			c.Prior.Update, c.Prior.Rate = loss.UpdateNatural, 0.5
			got = evaluate(t, c, r.C, b, prior)
			near(t, "m after a natural step", got.Prior.M, r.NaturalM)
			near(t, "d after a natural step", got.Prior.D, r.NaturalD)
		})
	}
}

func evaluate(t *testing.T, c loss.Config, classes int, b loss.Batch, p *loss.Prior) *plain.Result {
	t.Helper()
	r, err := plain.Evaluate([]loss.Config{c}, classes, b, p, 0)
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

// TestLabelled checks kl and cross_entropy by central differences.
func TestLabelled(t *testing.T) {
	const h = 1e-6
	kl, labels := loss.DefaultConfig(loss.KL), loss.DefaultConfig(loss.CrossEntropy)
	kl.TeacherTemperature, kl.StudentTemperature, kl.Weight = 2, 3, 0.5
	labels.LabelSmoothing, labels.StudentTemperature = 0.2, 0.7
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			s := random.New(random.PurposeTest, seed)
			classes, samples := 2+s.IntN(6), 1+s.IntN(6)
			b := loss.Batch{Labels: make([]int, samples)}
			for n := range b.Labels {
				b.Labels[n] = s.IntN(classes+1) - 1
			}
			for range samples * classes {
				b.Teacher, b.Student = append(b.Teacher, s.Normal()), append(b.Student, s.Normal())
			}
			value := func() *plain.Result {
				r, err := plain.Evaluate([]loss.Config{kl, labels}, classes, b, nil, 0)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			gradient := value().Gradient
			for i, v := range b.Student {
				b.Student[i] = v + h
				up := value().Loss
				b.Student[i] = v - h
				slope := (up - value().Loss) / (2 * h)
				b.Student[i] = v
				if math.Abs(slope-gradient[i]) > 1e-8 {
					t.Errorf("gradient of feature %d is %v, the slope %v", i, gradient[i], slope)
				}
			}
		})
	}
}

func TestInvalidTerm(t *testing.T) {
	if _, err := plain.Evaluate([]loss.Config{{Name: "l2"}}, 2, loss.Batch{}, nil, 0); err == nil {
		t.Error("no error")
	}
}

func Example() {
	term := loss.DefaultConfig(loss.CrossEntropy)
	b := loss.Batch{Student: []float64{1, 0, 0, 1}, Labels: []int{0, 0}}
	r, err := plain.Evaluate([]loss.Config{term}, 2, b, nil, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("loss %.4f, gradient %.4f\n", r.Loss, r.Gradient)
	// Output: loss 0.8133, gradient [-0.1345 0.1345 -0.3655 0.3655]
}
