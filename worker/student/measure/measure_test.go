package measure_test

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"pupil/internal/random"
	"pupil/worker/student"
	"pupil/worker/student/images"
	"pupil/worker/student/measure"
)

var names = []string{"a", "b", "c", "d", "e", "f"}

// clouds are noisy points around a centre for each class.
func clouds(seed uint64, n, width, classes int, noise float64) student.Features {
	f := student.Features{Width: width}
	r := random.New(random.PurposeTest, seed)
	for i := range n {
		label := i % classes
		centre := random.New(random.PurposeTest, 1000, uint64(label))
		f.Labels = append(f.Labels, label)
		for range width {
			f.Values = append(f.Values, float32(centre.Normal()+noise*r.Normal()))
		}
	}
	return f
}

// ranked are the other images by cosine, in float64.
func ranked(f student.Features, query int) []int {
	cosine := func(j int) float64 {
		var ab, aa, bb float64
		for k := range f.Width {
			a, b := float64(f.Row(query)[k]), float64(f.Row(j)[k])
			ab, aa, bb = ab+a*b, aa+a*a, bb+b*b
		}
		return ab / math.Sqrt(aa*bb)
	}
	var order []int
	for j := range f.Labels {
		if j != query {
			order = append(order, j)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(cosine(b), cosine(a)) })
	return order
}

func TestRetrievalFollowsItsDefinition(t *testing.T) {
	f := clouds(3, 150, 8, 5, 1.5)
	f.Labels[149] = 5 // alone: it does not ask, and is in everybody's way
	want, asked := 0.0, 0
	for q, label := range f.Labels {
		found, sum := 0, 0.0
		for rank, j := range ranked(f, q) {
			if f.Labels[j] == label {
				found++
				sum += float64(found) / float64(rank+1)
			}
		}
		if found > 0 {
			want += sum / float64(found)
			asked++
		}
	}
	want /= float64(asked)
	for _, threads := range []int{1, 3} {
		if got := measure.Retrieval(student.Unit(f.Values, f.Width), f.Width, f.Labels, threads); math.Abs(got-want) > 1e-9 {
			t.Errorf("%d threads: %v, want %v of %d questions", threads, got, want, asked)
		}
	}
	if got := measure.Retrieval([]float32{1, 0, 0, 1}, 2, []int{0, 1}, 1); got != 0 {
		t.Errorf("without a question: %v", got)
	}
}

func TestVerifyFollowsItsDefinition(t *testing.T) {
	f := clouds(4, 120, 6, 4, 1.2)
	unit := student.Unit(f.Values, f.Width)
	var same, different []float64
	for i := range f.Labels {
		for j := range i {
			sum := 0.0
			for k := range f.Width {
				sum += float64(unit[i*f.Width+k]) * float64(unit[j*f.Width+k])
			}
			if c := float64(float32(sum)); f.Labels[i] == f.Labels[j] {
				same = append(same, c)
			} else {
				different = append(different, c)
			}
		}
	}
	above := func(list []float64, t float64) (n int) {
		for _, c := range list {
			if c >= t {
				n++
			}
		}
		return n
	}
	for _, rate := range []float64{0.001, 0.01, 0.1} {
		v := measure.Verify(unit, f.Width, f.Labels, rate)
		allowed := int(rate * float64(len(different)))
		if v.Same != len(same) || v.Different != len(different) || above(different, v.Threshold) > allowed {
			t.Fatalf("rate %v: %+v", rate, v)
		}
		if below := math.Nextafter(v.Threshold, -1); above(different, below) <= allowed {
			t.Errorf("rate %v: a smaller threshold than %v would do", rate, v.Threshold)
		}
		if want := float64(above(same, v.Threshold)) / float64(len(same)); v.Accepted != want {
			t.Errorf("rate %v: accepted %v, want %v", rate, v.Accepted, want)
		}
		for i, p := range v.Curve[1:] {
			if p[0] < v.Curve[i][0] || p[1] < v.Curve[i][1] {
				t.Errorf("the curve falls at %v", p)
			}
		}
		if v.EqualError <= 0 || v.EqualError >= 0.5 {
			t.Errorf("equal error %v", v.EqualError)
		}
	}
	perfect := measure.Verify([]float32{1, 0, 1, 0, 0, 1, 0, 1}, 2, []int{0, 0, 1, 1}, 0.001)
	if perfect.Accepted != 1 || perfect.EqualError != 0 {
		t.Errorf("perfect features: %+v", perfect)
	}
	if none := measure.Verify([]float32{1, 0, 1, 0}, 2, []int{0, 0}, 0.001); none.Accepted != 0 || none.Same != 1 {
		t.Errorf("one class: %+v", none)
	}
}

// The Hungarian method against all permutations.
func TestAssign(t *testing.T) {
	r := random.New(random.PurposeTest, 8)
	for n := 1; n <= 6; n++ {
		for range 30 {
			cost := make([][]float64, n)
			for i := range cost {
				for range n {
					cost[i] = append(cost[i], float64(r.IntN(10))-5)
				}
			}
			best := math.Inf(1)
			permutations(n, func(p []int) { best = min(best, total(cost, p)) })
			got := measure.Assign(cost)
			if sorted := slices.Sorted(slices.Values(got)); !slices.Equal(sorted, slices.Sorted(slices.Values(r.Perm(n)))) || total(cost, got) != best {
				t.Fatalf("%v: %v costs %v, the best %v", cost, got, total(cost, got), best)
			}
		}
	}
}

func total(cost [][]float64, columns []int) (sum float64) {
	for row, column := range columns {
		sum += cost[row][column]
	}
	return sum
}

func permutations(n int, visit func([]int)) {
	p := make([]int, n)
	var fill func(k int, used uint)
	fill = func(k int, used uint) {
		if k == n {
			visit(p)
			return
		}
		for c := range n {
			if used&(1<<c) == 0 {
				p[k] = c
				fill(k+1, used|1<<c)
			}
		}
	}
	fill(0, 0)
}

func TestCluster(t *testing.T) {
	f := clouds(5, 200, 8, 5, 0.1)
	c := measure.Cluster(student.Unit(f.Values, f.Width), f.Width, f.Labels, 5)
	if c.Accuracy != 1 {
		t.Errorf("clusters far apart are met by %v", c.Accuracy)
	}
	noise := clouds(6, 400, 8, 1, 1)
	for i := range noise.Labels {
		noise.Labels[i] = i % 4
	}
	if c := measure.Cluster(student.Unit(noise.Values, 8), 8, noise.Labels, 4); c.Accuracy < 0.25 || c.Accuracy > 0.4 {
		t.Errorf("labels that mean nothing are met by %v", c.Accuracy)
	}
}

func TestOf(t *testing.T) {
	train, test := clouds(1, 240, 8, 6, 1), clouds(2, 90, 8, 6, 1)
	test.Outputs = 6
	for i := range test.Labels {
		for c := range 6 {
			v := float32(0)
			if c == i%2*test.Labels[i] { // right for every second image, and for class 0
				v = 1
			}
			test.Logits = append(test.Logits, v)
		}
	}
	c := measure.Config{Classes: names, Own: true, Threads: 1}
	m, err := measure.Of(train, test, c)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.KNN) != 4 || m.KNN[1].K != 20 || m.KNN[0].Top1 > m.KNN[0].Top5 {
		t.Errorf("k-NN %+v", m.KNN)
	}
	if k, err := student.KNN(train, test, 20, 0.07, 1); err != nil || k != m.KNN[1].Top1 {
		t.Errorf("k-NN %v, want %v", m.KNN[1].Top1, k)
	}
	if p, err := student.Probe(train, test, student.DefaultProbeConfig(), 1); err != nil || p != m.Probe.Top1 || m.Probe.Top5 < p {
		t.Errorf("probe %+v, want %v", m.Probe.Share, p)
	}
	sum, diagonal := 0, 0
	for i, row := range m.Probe.Confusion {
		for j, n := range row {
			if sum += n; i == j {
				diagonal += n
			}
		}
	}
	if sum != 90 || float64(diagonal)/90 != m.Probe.Top1 {
		t.Errorf("confusion %v", m.Probe.Confusion)
	}
	if m.Own == nil || math.Abs(m.Own.Top1-(45.0+15)/90) > 0.09 || m.Own.Top5 < m.Own.Top1 {
		t.Errorf("own %+v", m.Own)
	}
	c.Threads = 3
	if again, err := measure.Of(train, test, c); err != nil || fmt.Sprint(again.KNN, again.Probe, again.Retrieval, again.Clusters) != fmt.Sprint(m.KNN, m.Probe, m.Retrieval, m.Clusters) || !reflect.DeepEqual(again.Verification, m.Verification) {
		t.Errorf("threads change the measures: %v", err)
	}
	few, err := measure.Of(clouds(1, 12, 8, 6, 1), test, c)
	if err != nil || len(few.KNN) != 1 || few.KNN[0].K != 10 {
		t.Errorf("12 training images: %v, %v", few, err)
	}
	// A class that no training image has is never met.
	part, err := measure.Of(clouds(1, 100, 8, 5, 1), test, c)
	if err != nil || part.Probe.Confusion[5][5] != 0 {
		t.Errorf("an unknown class: %v", err)
	}
	test.Labels[3] = 6
	if _, err := measure.Of(train, test, c); err == nil {
		t.Error("a label beyond the classes")
	}
}

func TestRobust(t *testing.T) {
	m, err := student.Open(t.Context(), "../../../deploy/examples/fashion-teacher")
	if err != nil {
		t.Fatal(err)
	}
	set, err := images.Open(t.Context(), []string{"../../../deploy/examples/fashion-mnist/test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var few []images.Item
	for item, err := range set.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if few = append(few, item); len(few) == 200 {
			break
		}
	}
	set = images.FromItems(set.Classes, few...)
	f, err := m.Collect(t.Context(), set, student.StreamConfig{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	got, err := measure.Of(f, f, measure.Config{Classes: set.Classes})
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Robust(t.Context(), m, set, student.StreamConfig{Threads: 2}); err != nil {
		t.Fatal(err)
	}
	if len(got.Robustness) != 15 {
		t.Fatalf("%d corruptions", len(got.Robustness))
	}
	for i := 0; i < 15; i += 5 {
		mild, strong := got.Robustness[i], got.Robustness[i+4]
		if mild.Probe <= strong.Probe || mild.Probe > got.Probe.Top1 || mild.Strength != 1 || strong.Strength != 5 {
			t.Errorf("%+v, %+v, clean %v", mild, strong, got.Probe.Top1)
		}
	}
	if err := new(measure.Measures).Robust(t.Context(), m, set, student.StreamConfig{}); err == nil {
		t.Error("without a probe")
	}
}

func ExampleOf() {
	features := student.Features{Width: 2, Values: []float32{1, 0, 0.9, 0.1, 0, 1, 0.1, 0.9}, Labels: []int{0, 0, 1, 1}}
	m, err := measure.Of(features, features, measure.Config{Classes: []string{"cat", "dog"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Probe.Confusion, m.Retrieval, m.Verification.Accepted, m.Clusters.Accuracy)
	// Output: [[2 0] [0 2]] 1 1 1
}
