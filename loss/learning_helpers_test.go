package loss_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"pupil/internal/random"
	"pupil/loss"
)

// world is a synthetic set whose classes are known: Gaussian clusters. An original is its class's centre and noise of
// deviation own; the teacher sees it with noise of deviation mild, the student with noise of deviation strong, and
// rotated. The teacher's logit of a class is -|x - centre|^2 / (2 blur^2): Bayes' rule for equally frequent classes,
// and the larger the blur, the less sure.
type world struct {
	dims              int
	shares            []float64 // of the classes, their sum is 1
	centres           []float64 // [C, dims]
	own, mild, strong float64
	blur              float64
}

// tenClusters are ten classes of equal share with centres at random.
func tenClusters(seed uint64) world {
	w := world{dims: 8, own: 0.6, mild: 0.3, strong: 0.6, blur: 1.1}
	w.shares = slices.Repeat([]float64{0.1}, 10)
	w.centres = normals(random.New(random.PurposeTest, seed, 1), 10*w.dims, 1.6)
	return w
}

func (w world) classes() int { return len(w.shares) }

// logits writes the teacher's, [C], for x [dims].
func (w world) logits(dst, x []float64) {
	for k := range dst {
		d := 0.0
		for i, v := range x {
			e := v - w.centres[k*w.dims+i]
			d += e * e
		}
		dst[k] = -d / (2 * w.blur * w.blur)
	}
}

// ages are three classes on a line, of which the outer two, children and old people, are rare.
func ages(uint64) world {
	w := world{dims: 4, shares: []float64{0.05, 0.9, 0.05}, own: 0.4, mild: 0.2, strong: 0.7, blur: 0.5}
	w.centres = make([]float64, 3*w.dims)
	w.centres[0], w.centres[2*w.dims] = -2, 2
	return w
}

// set is n samples of a world.
type set struct {
	n       int
	class   []int     // [n]
	teacher []float64 // [n, C], the teacher's logits of its view
	other   []float64 // [n, C], the teacher's logits of the student's view, before it is rotated
	student []float64 // [n, dims], the student's view
}

// draw makes n samples; the rotation is that of the seed.
func (w world) draw(seed, purpose uint64, n int) set {
	s := random.New(random.PurposeTest, seed, purpose)
	c, d := w.classes(), w.dims
	turn := rotation(random.New(random.PurposeTest, seed, 2), d)
	out := set{n, make([]int, n), make([]float64, n*c), make([]float64, n*c), make([]float64, n*d)}
	mild, strong := make([]float64, d), make([]float64, d)
	for i := range n {
		u, k := s.Float64(), 0
		for k < c-1 && u >= w.shares[k] {
			u -= w.shares[k]
			k++
		}
		out.class[i] = k
		for j := range d {
			x := w.centres[k*d+j] + w.own*s.Normal()
			mild[j], strong[j] = x+w.mild*s.Normal(), x+w.strong*s.Normal()
		}
		w.logits(out.teacher[i*c:][:c], mild)
		w.logits(out.other[i*c:][:c], strong)
		for j := range d {
			for q, v := range strong {
				out.student[i*d+j] += turn[j*d+q] * v
			}
		}
	}
	return out
}

// rotation is a random orthogonal matrix [d, d], by Gram and Schmidt.
func rotation(s *random.Stream, d int) []float64 {
	m := normals(s, d*d, 1)
	for i := range d {
		row := m[i*d:][:d]
		for j := range i {
			other, dot := m[j*d:][:d], 0.0
			for k, v := range row {
				dot += v * other[k]
			}
			for k := range row {
				row[k] -= dot * other[k]
			}
		}
		length := 0.0
		for _, v := range row {
			length += v * v
		}
		for k := range row {
			row[k] /= math.Sqrt(length)
		}
	}
	return m
}

// network is the student: a hidden layer with ReLU, then a linear one. It learns by Adam.
type network struct {
	in, hidden, out     int
	w, g, first, second []float64 // weights [hidden, in], biases [hidden], weights [out, hidden], biases [out]
	step                int
	act, y              []float64 // of the last forward, [n, hidden] and [n, out]
}

func newNetwork(seed uint64, in, hidden, out int) *network {
	size := hidden*in + hidden + out*hidden + out
	n := &network{in: in, hidden: hidden, out: out}
	s := random.New(random.PurposeTest, seed, 3)
	n.w = slices.Concat(normals(s, hidden*in, math.Sqrt(2/float64(in))), make([]float64, hidden),
		normals(s, out*hidden, math.Sqrt(1/float64(hidden))), make([]float64, out))
	n.g, n.first, n.second = make([]float64, size), make([]float64, size), make([]float64, size)
	return n
}

// layers cuts a vector of parameters or gradients.
func (n *network) layers(v []float64) (w1, b1, w2, b2 []float64) {
	a, b := n.hidden*n.in, n.hidden*n.in+n.hidden
	return v[:a], v[a:b], v[b : b+n.out*n.hidden], v[b+n.out*n.hidden:]
}

// forward returns the logits [samples, out] of x [samples, in].
func (n *network) forward(x []float64) []float64 {
	w1, b1, w2, b2 := n.layers(n.w)
	n.act, n.y = n.act[:0], n.y[:0]
	for i := 0; i < len(x); i += n.in {
		row := x[i : i+n.in]
		for h, v := range b1 {
			n.act = append(n.act, max(v+dot(w1[h*n.in:][:n.in], row), 0))
		}
		act := n.act[len(n.act)-n.hidden:]
		for o, v := range b2 {
			n.y = append(n.y, v+dot(w2[o*n.hidden:][:n.hidden], act))
		}
	}
	return n.y
}

// backward sets the gradient of the parameters from that of the logits of the last forward.
func (n *network) backward(x, gy []float64) {
	clear(n.g)
	_, _, w2, _ := n.layers(n.w)
	g1, gb1, g2, gb2 := n.layers(n.g)
	back := make([]float64, n.hidden)
	for i := range len(x) / n.in {
		act := n.act[i*n.hidden:][:n.hidden]
		clear(back)
		for o, g := range gy[i*n.out:][:n.out] {
			gb2[o] += g
			axpy(g2[o*n.hidden:][:n.hidden], g, act)
			axpy(back, g, w2[o*n.hidden:][:n.hidden])
		}
		for h, g := range back {
			if act[h] > 0 {
				gb1[h] += g
				axpy(g1[h*n.in:][:n.in], g, x[i*n.in:][:n.in])
			}
		}
	}
}

// adam moves the parameters (Kingma and Ba, 2015).
func (n *network) adam(rate float64) {
	const beta1, beta2 = 0.9, 0.999
	n.step++
	c1, c2 := 1-math.Pow(beta1, float64(n.step)), 1-math.Pow(beta2, float64(n.step))
	for i, g := range n.g {
		n.first[i] += (1 - beta1) * (g - n.first[i])
		n.second[i] += (1 - beta2) * (g*g - n.second[i])
		n.w[i] -= rate * (n.first[i] / c1) / (math.Sqrt(n.second[i]/c2) + 1e-8)
	}
}

func dot(a, b []float64) float64 {
	v := 0.0
	for i, x := range a {
		v += x * b[i]
	}
	return v
}

func axpy(dst []float64, a float64, x []float64) {
	for i, v := range x {
		dst[i] += a * v
	}
}

// course is how a student learns: by Adam, with a rate that falls linearly to 0.
type course struct {
	terms         []loss.Config
	steps, hidden int
	outputs       int       // of the student; 0: the teacher's classes
	shift         []float64 // added to the student's logits, but not when it is examined; empty: nothing
}

// batch is the global batch, and rate Adam's at the first step.
const (
	batch = 256
	rate  = 0.02
)

// lesson is what a world of a seed has: a training set that is gone through in order, and samples held out.
type lesson struct {
	world
	seed       uint64
	train, out set
	teacher    float64 // I(T;T') in nats: the teacher's two views of the held-out samples
}

func newLesson(w world, seed uint64) lesson {
	l := lesson{world: w, seed: seed, train: w.draw(seed, 4, 8192), out: w.draw(seed, 5, 4096)}
	l.teacher = information(l.out.teacher, l.out.other, l.out.n)
	return l
}

// lessons are a world's of all seeds.
func lessons(w func(seed uint64) world) (out []lesson) {
	for seed := uint64(1); seed <= *seeds; seed++ {
		out = append(out, newLesson(w(seed), seed))
	}
	return out
}

// tenClusterLessons are made once.
var tenClusterLessons = sync.OnceValue(func() []lesson { return lessons(tenClusters) })

// teach trains a student for each of the lessons, and logs what became of them.
func teach(t *testing.T, lessons []lesson, c course) (out []outcome) {
	t.Helper()
	for _, l := range lessons {
		o, err := l.teach(c)
		if err != nil {
			t.Fatalf("seed %d: %v", l.seed, err)
		}
		t.Logf("seed %d: %v", l.seed, o)
		out = append(out, o)
	}
	return out
}

// information is that of the product joint of n samples, as Health reports it.
func information(teacher, student []float64, n int) float64 {
	c := loss.DefaultConfig(loss.PriorMutualInformation)
	c.Start = loss.Start{}
	heads := []loss.Head{{Teacher: len(teacher) / n, Student: len(student) / n}}
	l := must(loss.New([]loss.Config{c}, heads, n, seed))
	return must(l.Lane(0, n).Evaluate(pair(teacher, student), must(l.NewState()), 0, alone)).Health.MutualInformation
}

// outcome is what a student knows of the held-out samples.
type outcome struct {
	share  float64   // I(S;T) over the teacher's own I(T;T')
	purity float64   // share of samples that are of the class that most samples of their student class have
	order  float64   // share of samples whose student class is their true class
	used   int       // classes that are the largest for some sample
	recall []float64 // by true class
}

func (o outcome) String() string {
	return fmt.Sprintf("I(S;T) %.3f of the teacher's, purity %.3f, in order %.3f, %d classes used, recall %.2f",
		o.share, o.purity, o.order, o.used, o.recall)
}

// teach trains a student and examines it.
func (l lesson) teach(c course) (outcome, error) {
	classes, outputs := l.classes(), c.outputs
	if outputs == 0 {
		outputs = classes
	}
	student := newNetwork(l.seed, l.dims, c.hidden, outputs)
	criterion, err := loss.New(c.terms, []loss.Head{{Teacher: classes, Student: outputs}}, batch, l.seed)
	if err != nil {
		return outcome{}, err
	}
	state, err := criterion.NewState()
	if err != nil {
		return outcome{}, err
	}
	lane := criterion.Lane(0, batch)
	for step := range c.steps {
		at := step % (l.train.n / batch) * batch
		progress := float64(step) / float64(c.steps)
		x := l.train.student[at*l.dims:][:batch*l.dims]
		y := student.forward(x)
		for i := range c.shift {
			for n := i; n < len(y); n += len(c.shift) {
				y[n] += c.shift[i]
			}
		}
		r, err := lane.Evaluate(pair(l.train.teacher[at*classes:][:batch*classes], y), state, progress, alone)
		if err != nil {
			return outcome{}, fmt.Errorf("step %d: %w", step, err)
		}
		state = r.State
		student.backward(x, r.Gradients[0])
		student.adam(rate * (1 - progress))
	}
	return l.examine(student.forward(l.out.student), outputs), nil
}

// examine looks at logits [n, outputs] of the held-out samples.
func (l lesson) examine(y []float64, outputs int) outcome {
	counts := make([]int, outputs*l.classes())
	sizes := make([]int, l.classes())
	o := outcome{share: information(l.out.teacher, y, l.out.n) / l.teacher, recall: make([]float64, l.classes())}
	for i, k := range l.out.class {
		row := y[i*outputs:][:outputs]
		j := slices.Index(row, slices.Max(row))
		counts[j*l.classes()+k]++
		sizes[k]++
		if j == k {
			o.order++
			o.recall[k]++
		}
	}
	for j := range outputs {
		most := slices.Max(counts[j*l.classes():][:l.classes()])
		o.purity += float64(most)
		if most > 0 {
			o.used++
		}
	}
	for k := range o.recall {
		o.recall[k] /= float64(sizes[k])
	}
	o.purity /= float64(l.out.n)
	o.order /= float64(l.out.n)
	return o
}
