package job_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"pupil/coordinator/job"
)

const teacherView = "views.teacher={crop: {scale: [0.75, 0.9], ratio: [0.8, 1.25]}, flip: 0.5, rotate: 8, " +
	"brightness: 0.25, occlude: {probability: 0.25, scale: [0.125, 0.25], ratio: [0.5, 2], value: 3}, " +
	"normalize: {mean: [0.1, 0.2, 0.3], std: [1, 2, 3]}}"

// near compares views but for the last bits of numbers that are computed.
func near(a, b job.View) bool {
	const tolerance = 1e-12
	for _, x := range [][2]*float64{
		{&a.Crop.Scale[0], &b.Crop.Scale[0]},
		{&a.Crop.Ratio[0], &b.Crop.Ratio[0]},
		{&a.Crop.Ratio[1], &b.Crop.Ratio[1]},
	} {
		if math.Abs(*x[0]-*x[1]) > tolerance*math.Abs(*x[1]) {
			return false
		}
		*x[0] = *x[1]
	}
	return reflect.DeepEqual(a, b)
}

// TestStrength holds what is derived, for strengths up to those that meet every cap.
func TestStrength(t *testing.T) {
	normal := &job.Normalize{Mean: []float64{0.1, 0.2, 0.3}, Std: []float64{1, 2, 3}}
	view := func(low, ratio, rotate, brightness, probability, small, large float64) job.View {
		return job.View{
			Crop: job.Crop{Scale: [2]float64{low, 0.9}, Ratio: [2]float64{1 / ratio, ratio}},
			Flip: 0.5, Rotate: rotate, Brightness: brightness, Normalize: normal,
			Occlude: job.Occlude{
				Probability: probability, Scale: [2]float64{small, large}, Ratio: [2]float64{0.5, 2}, Value: 3,
			},
		}
	}
	for strength, want := range map[string]job.View{
		"1":   view(0.75, 1.25, 8, 0.25, 0.25, 0.125, 0.25),
		"2":   view(0.5, 1.5625, 16, 0.5, 0.5, 0.25, 0.5),
		"3":   view(0.25, 1.953125, 24, 0.75, 0.75, 0.375, 0.75),
		"6":   view(0.01, 3.814697265625, 48, 1.5, 1, 0.75, 1),
		"1e9": view(0.01, 100, 180, 100, 1, 1, 1),
	} {
		s := load(t, "minimal.yaml", teacherView, "views.strength="+strength)
		if !near(s.Views.Student, want) {
			t.Errorf("%s: got %+v, want %+v", strength, s.Views.Student, want)
		}
		if w := s.Warnings(); len(w) > 0 {
			t.Errorf("%s: %q", strength, w)
		}
	}
}

// TestStrengthOfOne: no number changes in its last bits.
func TestStrengthOfOne(t *testing.T) {
	for _, low := range []string{"0.1", "0.3", "0.005", "0.7", "1"} {
		s := load(t, "minimal.yaml", teacherView, "views.strength=1",
			"views.teacher.crop={scale: ["+low+", 1], ratio: [0.3, 1.1]}")
		if !reflect.DeepEqual(s.Views.Student, s.Views.Teacher) {
			t.Errorf("%s: got %+v, want %+v", low, s.Views.Student, s.Views.Teacher)
		}
	}
}

// TestStrengthKeepsWhatIsGiven: each key stands for itself, also one that is given as its default.
func TestStrengthKeepsWhatIsGiven(t *testing.T) {
	derived := load(t, "minimal.yaml", teacherView, "views.strength=2").Views.Student
	for given, change := range map[string]func(v *job.View){
		"{}":                          func(*job.View) {},
		"{rotate: 0}":                 func(v *job.View) { v.Rotate = 0 },
		"{brightness: 0.1}":           func(v *job.View) { v.Brightness = 0.1 },
		"{flip: 0}":                   func(v *job.View) { v.Flip = 0 },
		"{crop: {scale: [0.1, 0.2]}}": func(v *job.View) { v.Crop.Scale = [2]float64{0.1, 0.2} },
		"{crop: {ratio: [1, 1]}}":     func(v *job.View) { v.Crop.Ratio = [2]float64{1, 1} },
		"{occlude: {probability: 1}}": func(v *job.View) { v.Occlude.Probability = 1 },
		"{occlude: {scale: [0.1, 1], value: 0}}": func(v *job.View) {
			v.Occlude.Scale, v.Occlude.Value = [2]float64{0.1, 1}, 0
		},
		"{occlude: {ratio: [1, 1]}}": func(v *job.View) { v.Occlude.Ratio = [2]float64{1, 1} },
		"{normalize: null}":          func(v *job.View) { v.Normalize = nil },
		"{normalize: {mean: [0,0,0], std: [1,1,1]}}": func(v *job.View) {
			v.Normalize = &job.Normalize{Mean: []float64{0, 0, 0}, Std: []float64{1, 1, 1}}
		},
	} {
		want := derived
		change(&want)
		s := load(t, "minimal.yaml", teacherView, "views.strength=2", "views.student="+given)
		if !reflect.DeepEqual(s.Views.Student, want) {
			t.Errorf("%s: got %+v, want %+v", given, s.Views.Student, want)
		}
	}
}

// TestStrengthWithoutEffect: off, without a teacher, and where the student sees the teacher's view.
func TestStrengthWithoutEffect(t *testing.T) {
	plain := load(t, "minimal.yaml").Views.Student
	for _, o := range []string{"views.strength=0", "teacher=null", "views.policy=same"} {
		s := load(t, "minimal.yaml", teacherView, "views.strength=2", o)
		if !reflect.DeepEqual(s.Views.Student, plain) {
			t.Errorf("%s: got %+v", o, s.Views.Student)
		}
	}
	a := load(t, "minimal.yaml", teacherView, "views.strength=2", "views.policy=nested")
	b := load(t, "minimal.yaml", teacherView, "views.strength=2")
	if !reflect.DeepEqual(a.Views.Student, b.Views.Student) {
		t.Errorf("nested: got %+v, want %+v", a.Views.Student, b.Views.Student)
	}
}

// TestStrengthOnce: a Spec's own JSON gives every number, so nothing is derived from it again; and the digest is that
// of a job that writes the numbers out.
func TestStrengthOnce(t *testing.T) {
	for _, strength := range []string{"1.3", "2.7", "1e300"} {
		s := load(t, "minimal.yaml", teacherView, "views.strength="+strength, "views.student.flip=0.25")
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if again := decode(t, string(data)); !reflect.DeepEqual(s, again) {
			t.Errorf("%s: got %+v, want %+v", strength, again, s)
		}
		if written := decode(t, string(data), "views.strength=0"); written.Digest() != s.Digest() {
			t.Errorf("%s: the numbers written out give another digest", strength)
		}
	}
}

// TestStrengthOwnsItsNumbers: two views do not share memory.
func TestStrengthOwnsItsNumbers(t *testing.T) {
	s := load(t, "minimal.yaml", teacherView, "views.strength=2")
	s.Views.Teacher.Normalize.Mean[0] = 9
	if s.Views.Student.Normalize.Mean[0] != 0.1 {
		t.Error("the student's normalisation is the teacher's memory")
	}
}

func TestTerms(t *testing.T) {
	s := load(t, "minimal.yaml", "loss=[{name: cross_entropy}, {name: l2, features: pooled}, {name: cosine, weight: 0}, "+
		"{name: kl, ramp: {from: 0, to: 0}}, {ramp: {to: 0}}]")
	if !s.Uses(job.FeaturesPooled) || !s.Uses(job.FeaturesLogits) {
		t.Error("a source that terms look at is not used")
	}
	for i, want := range []struct{ teacher, learns bool }{
		{false, true}, {true, true}, {true, false}, {true, false}, {true, true},
	} {
		if x := s.Loss[i]; x.NeedsTeacher() != want.teacher || x.Learns() != want.learns {
			t.Errorf("%s: needs a teacher %v, learns %v", x.Name, x.NeedsTeacher(), x.Learns())
		}
	}
	if s = load(t, "minimal.yaml", "loss.0.features=pooled"); s.Uses(job.FeaturesLogits) {
		t.Error("logits are used, and no term looks at them")
	}
}

// TestRemovedKeys: a record that an earlier version wrote is refused, rather than read as another job.
func TestRemovedKeys(t *testing.T) {
	data, err := json.Marshal(load(t, "minimal.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for section, key := range map[string]string{"teacher": `"teacher":{`, "student": `"student":{"architecture"`} {
		brace := strings.Index(key, "{") + 1
		old := strings.Replace(string(data), key, key[:brace]+`"features":"pooled",`+key[brace:], 1)
		err := json.Unmarshal([]byte(old), &job.Spec{})
		if want := section + ".features is a key of an earlier version"; err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "features: logits or pooled") {
			t.Errorf("%s: %v", section, err)
		}
		_, err = job.Decode([]byte(old), "run.json", nil)
		if err == nil || !strings.Contains(err.Error(), "earlier version") {
			t.Errorf("%s as a job file: %v", section, err)
		}
	}
	for _, broken := range []string{
		`{"zzz": 1}`, `{"teacher": 4}`, `[]`, `{"student": {"size": "x"}}`, `{"loss": [{"zzz": 1}]}`,
	} {
		if err := json.Unmarshal([]byte(broken), &job.Spec{}); err == nil {
			t.Errorf("%s: no error", broken)
		}
	}
}
