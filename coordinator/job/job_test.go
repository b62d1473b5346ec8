package job_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pupil/coordinator/job"
)

// load reads a job of testdata, with overrides.
func load(t *testing.T, name string, overrides ...string) *job.Spec {
	t.Helper()
	s, err := job.LoadWith(filepath.Join("testdata", name), overrides)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// decode reads a job from text.
func decode(t *testing.T, text string, overrides ...string) *job.Spec {
	t.Helper()
	s, err := job.Decode([]byte(text), "job.yaml", overrides)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// folder returns the absolute path of a file beside this test.
func folder(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func TestDefaults(t *testing.T) {
	got := decode(t, "name: faces\ndataset: { train: faces/train }\nteacher: { model: faces-teacher }\nepochs: 20\n")
	view := job.View{
		Crop:    job.Crop{Scale: [2]float64{1, 1}, Ratio: [2]float64{1, 1}},
		Occlude: job.Occlude{Scale: [2]float64{0.02, 0.33}, Ratio: [2]float64{0.3, 3.3}},
	}
	want := &job.Spec{
		Name: "faces", Seed: 1,
		Dataset: job.Dataset{Train: "faces/train", Broken: "fail", Chunk: 64},
		Teacher: &job.Teacher{Model: "faces-teacher", Winograd: true},
		Student: job.Student{Architecture: "mobilenet_v2", Width: 1, Projection: true, Size: 224, Channels: 3},
		Views:   job.Views{Teacher: view, Student: view, Policy: "independent"},
		Batch:   256, Lanes: 8, Wire: job.WireInt32, Epochs: 20,
		Loss: []job.Term{{
			Name: "prior_mutual_information", Features: "pooled", Weight: 1, Ramp: job.Ramp{From: 1, To: 1, End: 1},
			FeatureOrder: "contiguous", Standardize: true, TeacherTemperature: 1, StudentTemperature: 1,
			Joint: "product", Posterior: "mixture",
			Prior: job.Prior{Distribution: "gaussian", Groups: 1, Deviation: 0.1, Update: "natural", Rate: 1, Bound: 4},
			Start: job.Start{KL: 3, Share: 0.3, Hold: true},
		}},
		Optimizer: job.Optimizer{
			Name: "adamw", LearningRate: 0.001, WeightDecay: 0.01, Momentum: 0.9, TrustCoefficient: 0.001,
			Betas: [2]float64{0.9, 0.999}, Epsilon: 1e-8,
		},
		Schedule: job.Schedule{
			Name: "cosine", Warmup: 0.05, Final: 0.01, Milestones: []float64{0.5, 0.75}, Gamma: 0.1, PctStart: 0.3,
			DivFactor: 25, FinalDivFactor: 10000,
		},
		Average:    job.Average{Warmup: true},
		Collapse:   job.Collapse{UsedClasses: 0.2, Patience: 100},
		Health:     job.Health{RankEvery: 100},
		Checkpoint: job.Checkpoint{Every: 100, Keep: 3, Metric: "loss"},
		Evaluate:   job.Evaluate{Neighbors: 20, Temperature: 0.07, Baselines: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestDefaultsThatDependOnOtherKeys also shows that a zero that was given is kept.
func TestDefaultsThatDependOnOtherKeys(t *testing.T) {
	s := load(t, "minimal.yaml", "optimizer.name=sgd")
	if s.Optimizer.LearningRate != 0.1 || s.Optimizer.WeightDecay != 0.0005 {
		t.Errorf("sgd: %+v", s.Optimizer)
	}
	s = load(t, "minimal.yaml", "optimizer={name: sgd, learning_rate: 0.3, weight_decay: 0, momentum: 0}")
	if s.Optimizer.LearningRate != 0.3 || s.Optimizer.WeightDecay != 0 || s.Optimizer.Momentum != 0 {
		t.Errorf("sgd with values: %+v", s.Optimizer)
	}
	for update, want := range map[string]float64{"natural": 1, "maximize": 0.1, "minimize": 0.1, "none": 1} {
		if s = load(t, "minimal.yaml", "loss.0.prior.update="+update); s.Loss[0].Prior.Rate != want {
			t.Errorf("%s: rate %v, want %v", update, s.Loss[0].Prior.Rate, want)
		}
	}
	if s = load(t, "minimal.yaml", "loss=[{name: kl}, {}]"); s.Loss[0].Name != "kl" ||
		s.Loss[1].Name != "prior_mutual_information" {
		t.Errorf("terms: %+v", s.Loss)
	}
	if s = load(t, "minimal.yaml", "teacher=null"); s.Teacher != nil || len(s.Loss) != 1 ||
		s.Loss[0].Name != "cross_entropy" {
		t.Errorf("without a teacher: %+v", s)
	}
	for _, c := range []struct {
		term string
		want bool
	}{
		{"{name: l2}", false},
		{"{name: l2, features: pooled}", true},
		{"{features: pooled}", true},
		{"{name: kl, features: pooled, standardize: false}", false},
		{"{name: cosine, standardize: true}", true},
	} {
		if s = load(t, "minimal.yaml", "loss.0="+c.term); s.Loss[0].Standardize != c.want {
			t.Errorf("%s: standardize %v, want %v", c.term, s.Loss[0].Standardize, c.want)
		}
	}
	s = load(t, "minimal.yaml", "collapse.used_classes=0", "loss.0.start.kl=0", "loss.0.weight=2")
	if s.Collapse.UsedClasses != 0 || s.Loss[0].Start.KL != 0 || s.Loss[0].Weight != 2 || s.Loss[0].Start.Share != 0.3 {
		t.Errorf("zeros: %+v", s)
	}
}

// TestFull reads a job in which no key has its default, so a key that is forgotten anywhere shows.
func TestFull(t *testing.T) {
	s := load(t, "full.yaml")
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	base := "file://" + filepath.ToSlash(folder(t, "."))
	golden(t, "testdata/full.json", strings.ReplaceAll(string(data), base, "BASE")+"\n")
	if w := s.Warnings(); len(w) != 6 {
		t.Errorf("warnings: %q", w)
	}
}

func TestLocations(t *testing.T) {
	s := load(t, "full.yaml", "dataset.train=s3://bucket/prefix", "teacher.model=/models//a b/../50%", "student.init=")
	for name, c := range map[string][2]string{
		"URL":             {s.Dataset.Train, "s3://bucket/prefix"},
		"relative path":   {s.Dataset.Test, (&url.URL{Scheme: "file", Path: folder(t, "test set")}).String()},
		"absolute path":   {s.Teacher.Model, "file:///models/50%25"},
		"nothing":         {s.Student.Init, ""},
		"unresolved path": {decode(t, "name: a\ndataset: {train: b/c}\nsteps: 1").Dataset.Train, "b/c"},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: got %q, want %q", name, c[0], c[1])
		}
	}
}

func TestOverrides(t *testing.T) {
	s := load(t, "minimal.yaml",
		"steps=40", "batch=64", "batch=32", "loss.0.name=kl", "loss.1.name=cross_entropy", "loss.1.label_smoothing=1e-1",
		"views.student.normalize.mean=[0, 0, 0]", "views.student.normalize.std=[1, 1, 1]", "optimizer.nesterov=true",
		"optimizer.name=sgd", "name=007", "dataset.train=a=b: c", "dataset.test='quoted'", "student.init= x",
	)
	if s.Steps != 40 || s.Epochs != 0 || s.Batch != 32 || s.Name != "007" || !s.Optimizer.Nesterov {
		t.Errorf("scalars: %+v", s)
	}
	if len(s.Loss) != 2 || s.Loss[0].Name != "kl" || s.Loss[1].LabelSmoothing != 0.1 {
		t.Errorf("terms: %+v", s.Loss)
	}
	if n := s.Views.Student.Normalize; n == nil || len(n.Mean) != 3 || n.Std[2] != 1 {
		t.Errorf("normalize: %+v", n)
	}
	if !strings.HasSuffix(s.Dataset.Train, "/testdata/a=b:%20c") || !strings.HasSuffix(s.Dataset.Test,
		"/testdata/quoted") ||
		!strings.HasSuffix(s.Student.Init, "/testdata/x") {
		t.Errorf("locations: %+v %+v", s.Dataset, s.Student.Init)
	}
	if s = load(t, "full.yaml", "epochs=2", "dataset.test="); s.Steps != 0 || s.Epochs != 2 || s.Dataset.Test != "" {
		t.Errorf("epochs for steps: %+v", s)
	}
}

// TestJSON: a Spec survives JSON, and its JSON is a job file for the same Spec.
func TestJSON(t *testing.T) {
	for _, name := range []string{"minimal.yaml", "full.yaml"} {
		s := load(t, name)
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		back := &job.Spec{}
		if err := json.Unmarshal(data, back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(s, back) {
			t.Errorf("%s: got %+v, want %+v", name, back, s)
		}
		if again := decode(t, string(data)); !reflect.DeepEqual(s, again) {
			t.Errorf("%s as a job file: got %+v, want %+v", name, again, s)
		}
		if err := back.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidate(t *testing.T) {
	s := load(t, "minimal.yaml")
	s.Lanes, s.Student.Size = 7, 1
	want := "the job has 2 faults\n" +
		"job: student.size: is 1; give a whole number from 28 to 512\n" +
		"job: batch: a batch of 256 cannot be shared equally by 7 lanes; give a batch of 252 or 259, or another number of " +
		"lanes"
	if err := s.Validate(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := (&job.Spec{}).Validate(); err == nil {
		t.Error("an empty Spec: no error")
	}
}

func TestDigest(t *testing.T) {
	s := load(t, "minimal.yaml")
	if got := s.Digest(); len(got) != 64 || got != load(t, "minimal.yaml", "seed=1", "loss=[{}]").Digest() {
		t.Errorf("digest %q differs when defaults are written out", got)
	}
	for _, same := range []string{
		"name=other", "bucket=65536", "dataset.train=elsewhere", "dataset.test=elsewhere", "teacher.model=elsewhere", "checkpoint.every=5",
		"checkpoint.keep=5",
		"evaluate.neighbors=3", "health.rank_every=7", "evaluate.temperature=1", "loss.0.weight=1.0", "seed=0x1",
		"views.student.flip=-0",
	} {
		if load(t, "minimal.yaml", same).Digest() != s.Digest() {
			t.Errorf("%s changes the digest", same)
		}
	}
	for _, other := range []string{
		"seed=2", "batch=128", "lanes=4", "wire=int16", "epochs=21", "steps=20", "dataset.chunk=8", "dataset.broken=skip", "teacher=null",
		"loss.0.features=logits", "student.projection=false", "views.policy=nested", "loss.0.ramp.to=0",
		"loss.0.feature_groups=2", "collapse.effective_rank=1", "collapse.information=0.1", "student.width=0.5",
		"student.init=somewhere", "views.teacher.flip=0.5", "loss.0.weight=2", "teacher.winograd=false",
		"optimizer.name=sgd", "schedule.warmup=0", "collapse.patience=5", "loss.0.prior.mean=[1, 2]",
	} {
		if load(t, "minimal.yaml", other).Digest() == s.Digest() {
			t.Errorf("%s does not change the digest", other)
		}
	}
	rank := "collapse.effective_rank=1"
	if load(t, "minimal.yaml", rank).Digest() == load(t, "minimal.yaml", rank, "health.rank_every=7").Digest() {
		t.Error("health.rank_every says when effective_rank stops the job, and does not change the digest")
	}
	big, next := load(t, "minimal.yaml", "seed=18446744073709551615"), load(t, "minimal.yaml", "seed=18446744073709551614")
	if big.Digest() == next.Digest() {
		t.Error("large seeds have equal digests")
	}
	if a, b := load(t, "minimal.yaml", "student.init=a"), load(t, "minimal.yaml",
		"student.init=b"); a.Digest() != b.Digest() {
		t.Error("the location of the initial model changes the digest")
	}
}

func TestTotalSteps(t *testing.T) {
	for _, c := range []struct {
		length  string
		samples int
		want    int
		err     string
	}{
		{"steps=40", 0, 40, ""},
		{"epochs=12", 6000, 12 * 23, ""},
		{"epochs=1", 256, 1, ""},
		{"epochs=0.5", 6000, 12, ""},
		{"epochs=1e-9", 6000, 1, ""},
		{"epochs=1", 255, 0, "total steps: the dataset has 255 images, fewer than a batch of 256; make batch smaller"},
		{"epochs=1e6", 256 * 10000, 0, "total steps: 1e+06 epochs of 10000 steps are too many; give fewer epochs"},
	} {
		got, err := load(t, "minimal.yaml", c.length).TotalSteps(c.samples)
		if got != c.want || c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
			t.Errorf("%s of %d: got %d, %v; want %d, %s", c.length, c.samples, got, err, c.want, c.err)
		}
	}
	if _, err := (&job.Spec{Epochs: 1}).TotalSteps(10); err == nil {
		t.Error("a batch of 0: no error")
	}
}

func TestLoadFaults(t *testing.T) {
	if _, err := job.Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	path := filepath.Join(t.TempDir(), "job.yaml")
	huge := append([]byte("name: a\n#"), make([]byte, 1<<20)...)
	if err := os.WriteFile(path, huge, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := job.Load(path)
	if want := path + ": is larger than 1 MB; a job file has a few kilobytes, is this the right file?"; err == nil ||
		err.Error() != want {
		t.Errorf("huge file: got %v, want %s", err, want)
	}
	if _, err = job.Load(t.TempDir()); err == nil {
		t.Error("a folder: no error")
	}
}

func TestError(t *testing.T) {
	_, err := job.Decode([]byte("name: faces\ndataset: { train: a }\nbatch: 0\n"), "a.yaml", []string{"epochs=-1"})
	var faulty *job.Error
	if !errors.As(err, &faulty) || len(faulty.Faults) != 2 {
		t.Fatal(err)
	}
	want := job.Fault{
		Source: "a.yaml", Line: 3, Column: 8, Key: "batch",
		Message: "is 0; give a whole number from 1 to 1048576",
	}
	if faulty.Faults[0] != want {
		t.Errorf("got %+v", faulty.Faults[0])
	}
	if f := faulty.Faults[1]; f.Source != "--set" || f.Line != 0 || f.Key != "epochs" {
		t.Errorf("got %+v", f)
	}
}

// TestManyFaults: the list ends somewhere.
func TestManyFaults(t *testing.T) {
	b := strings.Builder{}
	for i := range 50_000 {
		b.WriteString(strings.Repeat("x", 1+i%9) + "_" + strings.Repeat("y", i%7) + ": 1\n")
	}
	_, err := job.Decode([]byte(b.String()), "job.yaml", nil)
	var faulty *job.Error
	if !errors.As(err, &faulty) || len(faulty.Faults) > 210 {
		t.Errorf("%T with %d faults", err, len(faulty.Faults))
	}
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		overrides []string
		want      []string
	}{
		{nil, nil},
		{
			[]string{
				"views.teacher={crop: {scale: [0.5, 1], ratio: [0.8, 1.2]}, rotate: 20, brightness: 0.4, " +
					"occlude: {probability: 0.5}}",
				"views.student.rotate=10",
			},
			[]string{"views.student: is weaker than views.teacher in crop.scale, crop.ratio, rotate, brightness, " +
				"occlude.probability; the student learns more from the harder view"},
		},
		{
			[]string{
				"views.teacher={flip: 0.5, occlude: {probability: 0.1, scale: [0.1, 0.5]}}",
				"views.student.occlude.probability=0.2",
			},
			[]string{"views.student: is weaker than views.teacher in occlude.scale; the student learns more from the harder " +
				"view"},
		},
		{[]string{"views.teacher.rotate=20", "views.policy=nested"}, nil},
		{
			[]string{"views.teacher={crop: {ratio: [0.5, 2]}, rotate: 20, occlude: {probability: 1}}", "views.strength=1.5"},
			nil,
		},
		{
			[]string{
				"views.teacher.rotate=20", "views.policy=same", "views.student={rotate: 10, occlude: {value: 2}, normalize: " +
					"{mean: [0, 0, 0], std: [1, 1, 1]}}",
			},
			[]string{
				"views.student.rotate: is 10, but has an effect only when views.policy is independent or nested",
				"views.student.occlude.value: is 2, but has an effect only when views.policy is independent or nested",
			},
		},
		{
			[]string{"views.teacher.rotate=20", "views.policy=same", "views.strength=2"},
			[]string{"views.strength: is 2, but has an effect only when views.policy is independent or nested"},
		},
		{
			[]string{"batch=8"},
			[]string{"lanes: each lane has one image of a step, so batch norm has little to measure; give fewer lanes or a " +
				"larger batch"},
		},
		{
			[]string{"student.outputs=100", "loss.0.features=logits"},
			[]string{"batch: 256 images measure the joint of about 25 classes, and student.outputs is 100; give a larger batch"},
		},
		{
			[]string{"student.outputs=100", "loss.0.features=logits", "loss.0.feature_groups=2"},
			[]string{"batch: 256 images measure the joint of about 25 classes, and each of the 2 feature groups of loss.0 has " +
				"50; give a larger batch"},
		},
		{[]string{"student.outputs=100", "loss.0.features=logits", "loss.0.feature_groups=4"}, nil},
		{[]string{"student.outputs=100", "loss.0.name=kl"}, nil},
		{
			[]string{"loss.0.joint=symmetric"},
			[]string{"loss.0.joint: between two different networks even a constant student has mutual information in the " +
				"symmetric joint; watch the product joint's, which is always reported, or give product"},
		},
		{[]string{"loss.0.joint=symmetric", "teacher.model=same", "student.init=same"}, nil},
		{
			[]string{"loss.0.prior.update=maximize"},
			[]string{"loss.0.prior.update: with maximize the prior lags the student, which then merges its classes; natural " +
				"follows at once"},
		},
		{
			[]string{"loss.0.prior.mean=[0, -0.1]", "loss.0.features=logits"},
			[]string{
				"loss.0.prior.mean: with a KL start that ends, an offset of more than about 0.1 can empty a frequent class; keep the " +
					"KL term with start.hold (docs/method.md has figures)",
			},
		},
		{
			[]string{"loss.0.prior.update=none"},
			[]string{"loss.0.prior.update: with none the prior is a constant to the student, and nothing keeps its classes " +
				"apart; natural does"},
		},
		{
			[]string{"loss.0.prior.update=minimize"},
			[]string{"loss.0.prior.update: minimize moves the prior away from the student, which then collapses to one " +
				"class; natural does not"},
		},
		{
			[]string{"loss.0.prior.rate=0.5"},
			[]string{"loss.0.prior.rate: a prior that follows the student by 0.5 a step lags, and the student merges its " +
				"classes; 1 follows at once"},
		},
		{
			[]string{"loss.0.name=cross_entropy", "loss.0.joint=symmetric", "loss.0.prior.groups=2"},
			[]string{
				"teacher: no term of the loss looks at the teacher; remove it, or add a term such as kl",
				"loss.0.joint: is symmetric, but has an effect only when name is prior_mutual_information",
				"loss.0.prior.groups: is 2, but has an effect only when name is prior_mutual_information",
			},
		},
		{
			[]string{"loss=[{name: l2, feature_groups: 2, feature_order: permuted, student_temperature: 2, " +
				"teacher_temperature: 3}]"},
			[]string{
				"loss.0.feature_groups: is 2, but has an effect only when name is prior_mutual_information or kl",
				"loss.0.feature_order: is permuted, but has an effect only when name is prior_mutual_information or kl",
				"loss.0.teacher_temperature: is 3, but has an effect only when name is prior_mutual_information or kl",
				"loss.0.student_temperature: is 2, but has an effect only when name is prior_mutual_information, kl or " +
					"cross_entropy",
			},
		},
		{
			[]string{"loss=[{name: kl, feature_order: permuted}, {name: cross_entropy, student_temperature: 2, " +
				"standardize: true}]"},
			[]string{
				"loss.0.feature_order: is permuted, but has an effect only when feature_groups is above 1",
				"loss.1.standardize: is true, but has an effect only when name is prior_mutual_information, kl, l2 or cosine",
			},
		},
		{
			[]string{"loss.0.ramp={from: 0.5, to: 0.5, begin: 0.2}"},
			[]string{"loss.0.ramp: begin and end have no effect, for the factor goes from 0.5 to 0.5; give another from or to"},
		},
		{
			[]string{"collapse={effective_rank: 2, patience: 5}", "health.rank_every=0"},
			[]string{"collapse.effective_rank: is 2, but health.rank_every is 0, so the rank is never measured; give " +
				"it 1 or more"},
		},
		{
			[]string{
				"teacher=null", "views={teacher: {rotate: 5}, strength: 2, policy: same}",
				"collapse={patience: 5, information: 0.1}",
			},
			[]string{
				"collapse.patience: is 5, but no other key of collapse is in use, so nothing stops the job; give a bound, " +
					"without a teacher effective_rank",
				"views.teacher.rotate: is 5, but has an effect only when teacher is present",
				"views.strength: is 2, but has an effect only when teacher is present",
				"views.policy: is same, but has an effect only when teacher is present",
				"collapse.information: is 0.1, but has an effect only when teacher is present",
			},
		},
		{[]string{"teacher=null", "collapse={patience: 5, effective_rank: 2}"}, nil},
		{
			[]string{"optimizer.momentum=0.8", "schedule={name: constant, final: 0.5}", "loss.0.start={hold: true, share: 0.5}"},
			[]string{
				"loss.0.start.share: is 0.5, but has an effect only when start.hold is false",
				"optimizer.momentum: is 0.8, but has an effect only when optimizer.name is sgd or lars",
				"schedule.final: is 0.5, but has an effect only when schedule.name is cosine",
			},
		},
	} {
		if got := load(t, "minimal.yaml", c.overrides...).Warnings(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q:\ngot  %s\nwant %s", c.overrides, strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
		}
	}
}
