package student_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pupil/storage"
	"pupil/storage/mem"
	"pupil/storage/safetensors"
	"pupil/worker/student"
)

// headOf fits a head on clouds of points for a small network that is saved, and so has a digest.
func headOf(t *testing.T, m *student.Model, classes []string) (*student.Head, student.Features) {
	t.Helper()
	f := clouds(5, 90, m.Network.Features(), len(classes), 2)
	h, _, err := student.FitHead(m, f, classes, student.DefaultProbeConfig(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return h, f
}

func TestHeadIsTheProbe(t *testing.T) {
	m, err := student.Load(t.Context(), save(t, small(t, "resnet10_cifar", 1)))
	if err != nil {
		t.Fatal(err)
	}
	classes := []string{"child", "adult", "old"}
	h, f := headOf(t, m, classes)
	p, err := student.FitProbe(f, student.DefaultProbeConfig(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want, err := p.Accuracy(f, 1)
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for i, label := range f.Labels {
		probabilities := h.Probabilities(f.Row(i))
		sum := 0.0
		for _, v := range probabilities {
			sum += v
		}
		if math.Abs(sum-1) > 1e-12 {
			t.Fatalf("probabilities %v", probabilities)
		}
		top := student.Top(h.Classes, probabilities, 2)
		if len(top) != 2 || top[0].Probability < top[1].Probability {
			t.Fatalf("top %v", top)
		}
		if top[0].Class == classes[label] {
			right++
		}
	}
	if got := float64(right) / float64(len(f.Labels)); got != want || want < 0.5 {
		t.Errorf("the head is right in %v, the probe in %v", got, want)
	}

	// It comes back as it was, and fits no other student.
	b := mem.New()
	if err := h.Save(t.Context(), b, "h"); err != nil {
		t.Fatal(err)
	}
	got, err := student.LoadHead(t.Context(), b, "h", m)
	if err != nil || !slices.Equal(got.Weights, h.Weights) || !slices.Equal(got.Bias, h.Bias) || !slices.Equal(got.Classes, classes) {
		t.Errorf("loaded %+v, %v", got, err)
	}
	other := small(t, "resnet10_cifar", 1)
	other.State.Params[0]++
	stranger, err := student.Load(t.Context(), save(t, other))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := student.LoadHead(t.Context(), b, "h", stranger); !errors.Is(err, student.ErrHead) ||
		!strings.Contains(err.Error(), "another student") {
		t.Errorf("head of another student: %v", err)
	}
	if _, err := student.LoadHead(t.Context(), b, "g", m); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("no head: %v", err)
	}
}

func TestFitHeadRefuses(t *testing.T) {
	m := small(t, "resnet10_cifar", 1)
	one := clouds(1, 10, m.Network.Features(), 1, 1)
	if _, _, err := student.FitHead(m, one, []string{"only"}, student.DefaultProbeConfig(), 1); err == nil || !strings.Contains(err.Error(), "only") {
		t.Errorf("one class: %v", err)
	}
	two := clouds(1, 10, m.Network.Features(), 2, 1)
	if _, _, err := student.FitHead(m, two, []string{"same", "same"}, student.DefaultProbeConfig(), 1); !errors.Is(err, student.ErrHead) {
		t.Errorf("one name for two: %v", err)
	}
}

// A class that is weighted up counts as if its images were there more often. Without a penalty the scale of the sum is
// of no matter, and neither are mean and deviation of the images.
func TestBalanced(t *testing.T) {
	rare := clouds(9, 120, 3, 2, 3)
	var often, thrice []int // class 0 has 60 images, class 1 has 20; then 20 of these three times
	for i, l := range rare.Labels {
		if l == 0 || i%3 == 0 {
			often = append(often, i)
			thrice = append(thrice, i)
			if l == 1 {
				thrice = append(thrice, i, i)
			}
		}
	}
	c := student.ProbeConfig{C: 1e9, Tolerance: 1e-7, Iterations: 1000, Balanced: true}
	m := small(t, "resnet10_cifar", 1)
	classes := []string{"a", "b"}
	got, _, err := student.FitHead(m, rare.Pick(often), classes, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	c.Balanced = false
	want, _, err := student.FitHead(m, rare.Pick(thrice), classes, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	plain, _, err := student.FitHead(m, rare.Pick(often), classes, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		row := rare.Row(i)
		a, b, u := got.Probabilities(row)[1], want.Probabilities(row)[1], plain.Probabilities(row)[1]
		if math.Abs(a-b) > 1e-3 {
			t.Errorf("image %d: probability %v balanced, %v repeated", i, a, b)
		}
		if a <= u {
			t.Errorf("image %d: the rare class has %v balanced, %v without", i, a, u)
		}
	}
}

func TestClassifier(t *testing.T) {
	m := small(t, "resnet10_cifar", 1)
	if _, err := m.Classifier(nil); !errors.Is(err, student.ErrNoClassifier) {
		t.Errorf("without names: %v", err)
	}
	m.Config.Classes = strings.Split("abcdefg", "")
	c, err := m.Classifier(nil)
	if err != nil || !c.Own() {
		t.Fatal(err)
	}
	p := c.Probabilities(nil, []float32{0, 0, float32(math.Log(2)), 0, 0, 0, 0})
	if top := student.Top(c.Classes, p, 9); len(top) != 7 || top[0].Class != "c" || math.Abs(top[0].Probability-0.25) > 1e-7 ||
		top[1].Class != "a" {
		t.Errorf("top %v", top)
	}
}

func TestHoldout(t *testing.T) {
	labels := make([]int, 0, 131)
	for i := range 100 {
		labels = append(labels, i%2)
	}
	labels = append(labels, 2) // one image alone stays
	for range 30 {
		labels = append(labels, 3)
	}
	train, test := student.Holdout(labels, 0.1)
	if len(train)+len(test) != len(labels) || len(test) != 5+5+3 || slices.Contains(test, 100) {
		t.Errorf("%d and %d, held out %v", len(train), len(test), test)
	}
	if _, none := student.Holdout(labels, 0); len(none) > 0 {
		t.Errorf("held out %v", none)
	}
	if few, _ := student.Holdout([]int{0, 0, 0}, 0.9); len(few) != 1 {
		t.Errorf("%v stay", few)
	}
}

func headFile(t testing.TB, metadata map[string]string, tensors ...safetensors.Tensor) []byte {
	t.Helper()
	data, err := (&safetensors.File{Metadata: metadata, Tensors: tensors}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBrokenHeads(t *testing.T) {
	meta := map[string]string{"kind": "pupil head", "student": "x", "classes": `["a","b"]`}
	weight := safetensors.FromFloat32("weight", []int{2, 1}, []float32{1, 2})
	bias := safetensors.FromFloat32("bias", []int{2}, []float32{1, 2})
	if _, err := student.DecodeHead(headFile(t, meta, weight, bias)); err != nil {
		t.Fatal(err)
	}
	for want, data := range map[string][]byte{
		"fit-head makes it":       headFile(t, nil, weight, bias),
		"no tensor bias":          headFile(t, meta, weight),
		"names of its classes":    headFile(t, map[string]string{"kind": "pupil head"}, weight, bias),
		"3 classes":               headFile(t, map[string]string{"kind": "pupil head", "classes": `["a","b","c"]`}, weight, bias),
		"value NaN":               headFile(t, meta, weight, safetensors.FromFloat32("bias", []int{2}, []float32{1, float32(math.NaN())})),
		"cannot be used":          []byte("x"),
		"weight: ":                headFile(t, meta, safetensors.FromInt64("weight", []int{2, 1}, []int64{1, 2}), bias),
		"4 weights of 0 features": headFile(t, meta, safetensors.FromFloat32("weight", []int{4}, make([]float32, 4)), bias),
	} {
		if _, err := student.DecodeHead(data); !errors.Is(err, student.ErrHead) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func FuzzDecodeHead(f *testing.F) {
	meta := map[string]string{"kind": "pupil head", "student": "x", "classes": `["a","b"]`}
	f.Add(headFile(f, meta, safetensors.FromFloat32("weight", []int{2, 1}, []float32{1, 2}), safetensors.FromFloat32("bias", []int{2}, []float32{1, 2})))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := student.DecodeHead(data)
		if err != nil {
			return
		}
		p := h.Probabilities(make([]float32, h.Width))
		if len(student.Top(h.Classes, p, 1)) != 1 {
			t.Error("a head without an answer")
		}
	})
}

func ExampleTop() {
	fmt.Println(student.Top([]string{"cat", "dog", "fish"}, []float64{0.2, 0.7, 0.1}, 2))
	// Output: [{dog 0.7} {cat 0.2}]
}
