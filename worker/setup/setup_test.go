package setup_test

import (
	"path/filepath"
	"strings"
	"testing"

	"pupil/coordinator/job"
	"pupil/worker/nn"
	"pupil/worker/setup"
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
	if j.Classes != 10 || j.Data.Count() != 6000 || j.Teacher == nil || j.TeacherView == nil || j.TeacherDigest == "" {
		t.Errorf("%d classes, %d images, teacher %v", j.Classes, j.Data.Count(), j.Teacher)
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
	supervised, err := open(t, "teacher=null", "loss=[{name: cross_entropy}]")
	if err != nil {
		t.Fatal(err)
	}
	if supervised.Teacher != nil || supervised.TeacherView != nil || supervised.Classes != 10 ||
		len(supervised.StudentConfig.Classes) != 10 {
		t.Errorf("without a teacher: %+v", supervised.StudentConfig)
	}
	// The teacher's pooled features have width 128; the student's logits take that width.
	pooled, err := open(t, "teacher.features=pooled")
	if err != nil {
		t.Fatal(err)
	}
	if pooled.Classes != 128 || pooled.StudentOutput != nn.Logits {
		t.Errorf("pooled teacher: %d classes", pooled.Classes)
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
		"another width":   {[]string{"student.features=pooled"}, "must be equal"},
		"too few outputs": {[]string{"teacher=null", "student.outputs=3", "loss=[{name: cross_entropy}]"}, "cross_entropy"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := open(t, c.overrides...); err == nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("error %v; want one with %q", err, c.message)
			}
		})
	}
}
