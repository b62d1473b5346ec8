package setup_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pupil/allreduce"
	"pupil/augment"
	"pupil/coordinator/job"
	"pupil/worker/nn"
	"pupil/worker/setup"
	"pupil/worker/train"
)

const example = "../../deploy/examples/fashion.yaml"

func open(t *testing.T, overrides ...string) (*setup.Job, error) {
	t.Helper()
	spec, err := job.LoadWith(example, overrides)
	if err != nil {
		t.Fatal(err)
	}
	return setup.Open(t.Context(), spec)
}

func TestExample(t *testing.T) {
	j, err := open(t)
	if err != nil {
		t.Fatal(err)
	}
	if len(j.Heads) != 1 || j.Data.Count() != 6000 || j.Teacher == nil || j.Views.Teacher() == nil || j.TeacherDigest == "" {
		t.Errorf("%d heads, %d images, teacher %v", len(j.Heads), j.Data.Count(), j.Teacher)
	}
	if want := int(j.Spec.Epochs * float64(6000/j.Spec.Batch)); j.Steps != want {
		t.Errorf("%d steps, want %d", j.Steps, want)
	}
	s, err := j.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := j.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := again.Digest(); err != nil || a != b {
		t.Errorf("two initial states differ: %.12s, %.12s, %v", a, b, err)
	}
	if test, err := j.OpenTest(t.Context()); err != nil || test.Count() != 1000 {
		t.Errorf("held-out images: %v, %v", test, err)
	}
}

// The job's wire is that of the state, and its bound on lanes is that of the sums.
func TestWire(t *testing.T) {
	if most := allreduce.Fixed16.MaxLanes(); most != job.MaxLanesInt16 {
		t.Errorf("sums of 16 bits have room for %d lanes, and a job may have %d", most, job.MaxLanesInt16)
	}
	for wire, want := range map[string]allreduce.Format{"int32": allreduce.Fixed32, "int16": allreduce.Fixed16} {
		j, err := open(t, "wire="+wire)
		if err != nil {
			t.Fatal(err)
		}
		s, err := j.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Scales.Gradients.Format(); got != want || (s.Feedback != nil) != (want == allreduce.Fixed16) {
			t.Errorf("wire %s: format %d, error feedback %v", wire, got, s.Feedback != nil)
		}
	}
}

func TestExamplesAreValid(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(filepath.Dir(example), "*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("examples %v, error %v", files, err)
	}
	for _, f := range files {
		spec, err := job.Load(f)
		if err != nil {
			t.Error(err)
		} else if w := spec.Warnings(); len(w) > 0 {
			t.Errorf("%s: warnings %q", f, w)
		}
	}
}

func TestVariants(t *testing.T) {
	logits := train.Head{Teacher: nn.Logits, Student: nn.Logits}
	projected := train.Head{Teacher: nn.Pooled, Student: nn.Projection}
	for name, c := range map[string]struct {
		overrides           []string
		heads               []train.Head
		outputs, projection int
		classes             int // with names
	}{
		"logits":  {[]string{"loss=[{features: logits}]"}, []train.Head{logits}, 10, 0, 10},
		"default": {[]string{"loss=[{}]"}, []train.Head{projected}, 0, 128, 0},
		"supervised": {
			[]string{"teacher=null", "loss=[{name: cross_entropy}]"},
			[]train.Head{logits},
			10, 0, 10,
		},
		"kl":     {[]string{"loss=[{name: kl}]"}, []train.Head{logits}, 10, 0, 10},
		"l2":     {[]string{"loss=[{name: l2, features: pooled}]"}, []train.Head{projected}, 0, 128, 0},
		"cosine": {[]string{"loss=[{name: cosine, features: pooled}]"}, []train.Head{projected}, 0, 128, 0},
		// The teacher's pooled features have width 128, and the student has no classifier that would not learn.
		"pooled": {
			[]string{"loss=[{features: pooled, feature_groups: 16}]"},
			[]train.Head{projected},
			0, 128, 0,
		},
		"both": {
			[]string{"loss=[{features: pooled, feature_groups: 16}, {name: kl}]"},
			[]train.Head{logits, projected},
			10, 128, 10,
		},
		"over-clustering": {
			[]string{"student.outputs=20", "loss=[{features: logits, start: {kl: 0}}]"},
			[]train.Head{logits},
			20, 0, 0,
		},
		"pooled and labels": {
			[]string{"loss=[{name: l2, features: pooled}, {name: cross_entropy}]"},
			[]train.Head{logits, projected},
			10, 128, 10,
		},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := open(t, c.overrides...)
			if err != nil {
				t.Fatal(err)
			}
			s := j.StudentConfig
			if !slices.Equal(j.Heads, c.heads) || s.Outputs != c.outputs || s.Projection != c.projection || len(s.Classes) != c.classes {
				t.Errorf("heads %v, student %+v", j.Heads, s)
			}
			if (j.Views.Teacher() == nil) != (j.Teacher == nil) {
				t.Errorf("the teacher is %v, its view %v", j.Teacher, j.Views.Teacher())
			}
			if _, err := j.State(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Sheet draws the views that training uses.
func TestSheet(t *testing.T) {
	j, err := open(t)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := j.Sheet(t.Context(), 3, 2)
	if err != nil || len(rows) != 3 {
		t.Fatal(len(rows), err)
	}
	last := rows[2]
	sample, data, err := j.Data.Sample(t.Context(), 4000)
	if err != nil || last.Name != sample.Name || len(last.Teacher) != 2 || len(last.Student) != 2 {
		t.Fatalf("row %q with %d and %d views, want %q with 2 and 2; %v", last.Name, len(last.Teacher), len(last.Student),
			sample.Name, err)
	}
	img, err := augment.Decode(data, 1)
	if err != nil {
		t.Fatal(err)
	}
	v := make([]float32, j.Views.Student().Len())
	j.Views.Apply(make([]float32, len(v)), v, img, augment.Key{Seed: j.Spec.Seed, Sample: 4000, Epoch: 1})
	if !slices.Equal(last.Student[1].Pix, j.Views.Student().Picture(v).Pix) {
		t.Error("the second view is not that of the second epoch")
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		overrides []string
		message   string
	}{
		"no data":         {[]string{"dataset.train=" + filepath.ToSlash(t.TempDir())}, "dataset.train"},
		"no teacher":      {[]string{"teacher.model=" + filepath.ToSlash(t.TempDir())}, "teacher.model"},
		"large batch":     {[]string{"batch=8192"}, "fewer than a batch"},
		"another size":    {[]string{"student.size=32"}, "student.size"},
		"another width":   {[]string{"student.projection=false", "loss=[{name: l2, features: pooled}]"}, "student.projection"},
		"other outputs":   {[]string{"student.outputs=20", "loss=[{features: logits}]"}, "loss.0: the teacher's features (logits) have width 10"},
		"uneven groups":   {[]string{"loss=[{features: pooled, feature_groups: 7}]"}, "loss.0: feature_groups is 7"},
		"means":           {[]string{"loss=[{prior: {mean: [1, 2]}}]"}, "loss.0: prior.mean has 2 values"},
		"too few outputs": {[]string{"teacher=null", "student.outputs=3", "loss=[{name: cross_entropy}]"}, "cross_entropy"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := open(t, c.overrides...); err == nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("error %v; want one with %q", err, c.message)
			}
		})
	}
}

// Logits that are compared with the teacher's and with labels need one order of classes.
func TestClassesInAnotherOrder(t *testing.T) {
	folder := t.TempDir()
	const teacher = "../../deploy/examples/fashion-teacher"
	if err := os.CopyFS(folder, os.DirFS(teacher)); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(folder, "config.json")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	swapped := strings.NewReplacer("Trouser", "Pullover", "Pullover", "Trouser").Replace(string(data))
	if err := os.WriteFile(name, []byte(swapped), 0o644); err != nil {
		t.Fatal(err)
	}
	model := "teacher.model=" + filepath.ToSlash(folder)
	for terms, want := range map[string]string{
		"[{name: kl}, {name: cross_entropy}]":                   `class 1 is "Trouser" in the dataset and "Pullover"`,
		"[{name: kl}]":                                          "",
		"[{name: l2, features: pooled}, {name: cross_entropy}]": "",
	} {
		if _, err := open(t, model, "loss="+terms); want == "" && err != nil || want != "" &&
			(err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", terms, err, want)
		}
	}
	if _, err := open(t, "loss=[{name: kl}, {name: cross_entropy}]"); err != nil {
		t.Error(err)
	}
}

// The job chooses the algorithm of its teacher's convolutions, and only rounding shows it.
func TestTeacherWinograd(t *testing.T) {
	var logits [][]float32
	for _, key := range []string{"teacher.winograd=true", "teacher.winograd=false"} {
		j, err := open(t, key)
		if err != nil {
			t.Fatal(err)
		}
		frozen, err := j.FreezeTeacher()
		if err != nil {
			t.Fatal(err)
		}
		i, err := frozen.NewInference(nn.InferenceConfig{Batch: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		images := make([]float32, 28*28)
		for p := range images {
			images[p] = float32(p%28-14) / 14
		}
		if _, _, err := i.Run(images); err != nil {
			t.Fatal(err)
		}
		logits = append(logits, i.Output(nn.Logits))
	}
	if slices.Equal(logits[0], logits[1]) {
		t.Error("the key changes nothing")
	}
	for i, v := range logits[0] {
		if math.Abs(float64(v-logits[1][i])) > 1e-4 {
			t.Errorf("logit %d is %v with Winograd, %v without", i, v, logits[1][i])
		}
	}
	if j, err := open(t, "teacher=null", "loss=[{}]"); err != nil {
		t.Error(err)
	} else if f, err := j.FreezeTeacher(); f != nil || err != nil {
		t.Errorf("without a teacher: %v, %v", f, err)
	}
}
