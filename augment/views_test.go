package augment_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pupil/augment"
)

func views(t *testing.T, teacher, student augment.Config, p augment.Policy) *augment.Views {
	t.Helper()
	v, err := augment.NewViews(pipeline(t, teacher), pipeline(t, student), p)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// both makes both views; the values are NaN before, so that one that is not written is seen.
func both(v *augment.Views, img *augment.Image, key augment.Key) (teacher, student []float32) {
	teacher, student = make([]float32, v.Teacher().Len()), make([]float32, v.Student().Len())
	for i := range teacher {
		teacher[i] = float32(math.NaN())
	}
	for i := range student {
		student[i] = float32(math.NaN())
	}
	v.Apply(teacher, student, img, key)
	return teacher, student
}

func TestIndependentViewsAreThoseOfThePipelines(t *testing.T) {
	for _, policy := range []augment.Policy{augment.PolicyIndependent, ""} {
		v := views(t, weak(24, 3), strong(20, 1), policy)
		for sample := range uint64(20) {
			img := noise(30+int(sample), 40, 3, sample)
			key := augment.Key{Seed: 1, Epoch: 2, Sample: sample, View: 99} // the view does not count
			teacher, student := both(v, img, key)
			key.View = augment.TeacherView
			if !slices.Equal(teacher, apply(t, weak(24, 3), img, key)) {
				t.Fatalf("sample %d: the teacher's view differs", sample)
			}
			key.View = augment.StudentView
			if !slices.Equal(student, apply(t, strong(20, 1), img, key)) {
				t.Fatalf("sample %d: the student's view differs", sample)
			}
		}
	}
}

func TestViewsWithoutATeacher(t *testing.T) {
	v, err := augment.NewViews(nil, pipeline(t, strong(20, 3)), augment.PolicyIndependent)
	if err != nil {
		t.Fatal(err)
	}
	img, key := noise(30, 30, 3, 1), augment.Key{Seed: 4, Sample: 2, View: augment.StudentView}
	student := make([]float32, v.Student().Len())
	v.Apply(nil, student, img, key)
	if v.Teacher() != nil || !slices.Equal(student, apply(t, strong(20, 3), img, key)) {
		t.Error("the student's view is not its pipeline's")
	}
}

func TestNewViewsErrors(t *testing.T) {
	p := pipeline(t, weak(20, 3))
	for _, c := range []struct {
		teacher, student *augment.Pipeline
		policy           augment.Policy
		want             string
	}{
		{p, nil, augment.PolicyIndependent, "there is no student's view"},
		{p, p, "twin", `unknown policy "twin"; it must be one of independent, nested, same`},
		{nil, p, augment.PolicyNested, `policy "nested" needs a teacher's view`},
		{nil, p, augment.PolicySame, `policy "same" needs a teacher's view`},
	} {
		if _, err := augment.NewViews(c.teacher, c.student, c.policy); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

// A student's crop lies within its teacher's, has the share of it and the ratio relative to it that were asked for.
func TestNestedCrops(t *testing.T) {
	outer := augment.Crop{Scale: [2]float64{0.3, 0.9}, Ratio: [2]float64{0.5, 2}}
	inner := augment.Crop{Scale: [2]float64{0.2, 0.6}, Ratio: [2]float64{0.8, 1.25}}
	const width, height, n = 500, 375, 2000
	seen, share := map[augment.Rectangle]bool{}, 0.0
	for sample := range uint64(n) {
		key := augment.Key{Seed: 3, Sample: sample}
		a := augment.DrawCrop(outer, width, height, key)
		key.View = augment.StudentView
		b := augment.DrawCropIn(inner, a, key)
		if b.X < a.X || b.Y < a.Y || b.X+b.Width > a.X+a.Width || b.Y+b.Height > a.Y+a.Height {
			t.Fatalf("sample %d: %+v is not within %+v", sample, b, a)
		}
		part := float64(b.Width*b.Height) / float64(a.Width*a.Height)
		ratio := float64(b.Width) / float64(b.Height) / (float64(a.Width) / float64(a.Height))
		if part < 0.19 || part > 0.61 || ratio < 0.78 || ratio > 1.28 {
			t.Fatalf("sample %d: share %.3f, ratio %.3f of the teacher's", sample, part, ratio)
		}
		seen[b], share = true, share+part
	}
	if mean := share / n; len(seen) < n*9/10 || math.Abs(mean-0.4) > 0.02 {
		t.Errorf("%d different crops of %d, mean share %.3f", len(seen), n, mean)
	}
	whole := augment.Rectangle{X: 7, Y: 9, Width: 31, Height: 12}
	if got := augment.DrawCropIn(augment.Crop{}, whole, augment.Key{}); got != whole {
		t.Errorf("without a crop the student sees %+v of %+v", got, whole)
	}
}

// Where the teacher does nothing but crop and flip, the nested view of a student that does nothing is the teacher's,
// and a student that always flips sees its mirror image.
func TestNestedFlips(t *testing.T) {
	teacher := weak(24, 3)
	idle := augment.Config{Size: 24, Channels: 3, Mean: teacher.Mean, Std: teacher.Std}
	flips := idle
	flips.Flip = 1
	straight, mirrored := views(t, teacher, idle, augment.PolicyNested), views(t, teacher, flips, augment.PolicyNested)
	for sample := range uint64(30) {
		img := noise(40, 50, 3, sample)
		key := augment.Key{Seed: 6, Sample: sample}
		a, b := both(straight, img, key)
		if !slices.Equal(a, b) {
			t.Fatalf("sample %d: the views differ", sample)
		}
		_, c := both(mirrored, img, key)
		for i := range a {
			x, rest := i/3%24, i/72*72+i%3
			if c[i] != a[rest+(23-x)*3] {
				t.Fatalf("sample %d: value %d is not the mirrored one", sample, i)
			}
		}
	}
}

// The nested angle is the sum, the factor the product.
func TestNestedRotationAndBrightness(t *testing.T) {
	teacher := augment.Config{Size: 21, Channels: 1, Rotate: 20, Brightness: 0.3}
	student := augment.Config{Size: 21, Channels: 1, Rotate: 90, Brightness: 0.8}
	v := views(t, teacher, student, augment.PolicyNested)
	for sample := range uint64(30) {
		img := noise(21, 21, 1, sample)
		key := augment.Key{Seed: 2, Sample: sample}
		a, b := both(v, img, key)
		angle, factor := augment.DrawAngle(20, key), augment.DrawFactor(0.3, key)
		check := func(name string, got []float32, angle float64, factor float32) {
			want := apply(t, plain(21, 1), img, augment.Key{})
			augment.Rotate(want, 21, 1, angle)
			for i := range want {
				if want[i] = min(1, want[i]*factor); got[i] != want[i] {
					t.Fatalf("sample %d, %s: value %d is %g, want %g", sample, name, i, got[i], want[i])
				}
			}
		}
		check("teacher", a, angle, factor)
		key.View = augment.StudentView
		check("student", b, angle+augment.DrawAngle(90, key), factor*augment.DrawFactor(0.8, key))
	}
}

// A teacher's occlusion is not in the nested view, the student's own is.
func TestNestedOcclusion(t *testing.T) {
	hide := augment.Occlude{Probability: 1, Scale: [2]float64{0.1, 0.3}, Ratio: [2]float64{0.5, 2}, Value: -5}
	idle := plain(24, 3)
	teacher, student := idle, idle
	teacher.Occlude, student.Occlude = hide, hide
	student.Occlude.Value = -7
	img, key := noise(24, 24, 3, 1), augment.Key{Seed: 1}
	for _, c := range []struct {
		student    augment.Config
		fives, own bool
	}{{idle, false, false}, {student, false, true}} {
		a, b := both(views(t, teacher, c.student, augment.PolicyNested), img, key)
		if !slices.Contains(a, -5) || slices.Contains(b, -5) != c.fives || slices.Contains(b, -7) != c.own {
			t.Errorf("%+v: teacher's value in its view %v and in the student's %v, the student's own %v", c,
				slices.Contains(a, -5), slices.Contains(b, -5), slices.Contains(b, -7))
		}
	}
}

func TestSameViewsAreEqual(t *testing.T) {
	teacher, student := strong(24, 3), weak(24, 3)
	v := views(t, teacher, student, augment.PolicySame)
	other := student
	other.Mean, other.Std = []float64{0.1, 0.2, 0.3}, []float64{0.5, 1, 2}
	w := views(t, teacher, other, augment.PolicySame)
	for sample := range uint64(30) {
		img := noise(40, 30, 3, sample)
		key := augment.Key{Seed: 8, Sample: sample}
		a, b := both(v, img, key)
		if !slices.Equal(a, b) {
			t.Fatalf("sample %d: with the same normalisation the bits differ", sample)
		}
		if key.View = augment.TeacherView; !slices.Equal(a, apply(t, teacher, img, key)) {
			t.Fatalf("sample %d: the teacher's view is not its pipeline's", sample)
		}
		a, b = both(w, img, key)
		for i := range a {
			c := i % 3
			x, y := float64(a[i])*teacher.Std[c]+teacher.Mean[c], float64(b[i])*other.Std[c]+other.Mean[c]
			if math.Abs(x-y) > 1e-6 {
				t.Fatalf("sample %d: value %d is %g to the teacher and %g to the student", sample, i, x, y)
			}
		}
	}
}

// At another size the student sees the same place: a teacher's view of twice the size, halved, is the student's, but
// for the pixels at borders of what is hidden and what the filters do.
func TestSameViewsOfAnotherSize(t *testing.T) {
	teacher, student := strong(64, 3), weak(32, 1)
	teacher.Rotate = 0
	v := views(t, teacher, student, augment.PolicySame)
	for sample := range uint64(20) {
		img := decode(t, encodePNG(t, smooth(90, 70, false)), 3)
		a, b := both(v, img, augment.Key{Seed: 8, Sample: sample})
		sum := 0.0
		for i, got := range b {
			x, y, mean := i%32, i/32, 0.0
			for _, j := range []int{2*y*64 + 2*x, 2*y*64 + 2*x + 1, (2*y+1)*64 + 2*x, (2*y+1)*64 + 2*x + 1} {
				for c, share := range []float64{0.299, 0.587, 0.114} {
					mean += share * (float64(a[3*j+c])*teacher.Std[c] + teacher.Mean[c]) / 4
				}
			}
			sum += math.Abs(float64(got)*student.Std[0] + student.Mean[0] - mean)
		}
		if mean := sum / float64(len(b)); mean > 0.02 {
			t.Errorf("sample %d: the views differ by %.4f on average", sample, mean)
		}
	}
}

func TestViewsDoNotAllocate(t *testing.T) {
	img := noise(40, 30, 3, 27)
	for _, p := range augment.Policies() {
		v := views(t, weak(28, 3), strong(28, 3), p)
		teacher, student := make([]float32, v.Teacher().Len()), make([]float32, v.Student().Len())
		fewest := math.Inf(1)
		for sample := range uint64(50) {
			fewest = min(fewest, testing.AllocsPerRun(1, func() {
				v.Apply(teacher, student, img, augment.Key{Sample: sample})
			}))
		}
		if fewest > 0 {
			t.Errorf("%s: %g allocations", p, fewest)
		}
	}
}

func TestBackground(t *testing.T) {
	grey := plain(8, 1)
	grey.Mean, grey.Std = []float64{0.2}, []float64{1}
	far := plain(8, 3)
	far.Mean, far.Std = []float64{-4, 0.5, 1e6}, []float64{1, 1, 1}
	for _, c := range []struct {
		name   string
		config augment.Config
		want   [3]uint8
	}{
		{"none", plain(8, 3), [3]uint8{128, 128, 128}},
		{"ImageNet's", weak(8, 3), [3]uint8{124, 116, 104}},
		{"grey", grey, [3]uint8{51, 51, 51}},
		{"not of an image", far, [3]uint8{0, 128, 255}},
	} {
		if got := pipeline(t, c.config).Background(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if got := views(t, grey, weak(8, 3), augment.PolicyNested).Background(); got != [3]uint8{124, 116, 104} {
		t.Errorf("the views' is %v, not the student's", got)
	}
}
