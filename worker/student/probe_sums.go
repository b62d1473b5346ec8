package student

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"pupil/internal/kernel"
)

// Sums over images are taken in stripes, and these are added in order: a result is a function of the images alone.
// Threads share stripes; a stripe's images are multiplied in blocks that fit a core's cache.
const (
	stripes    = 16
	probeBlock = 256
)

// standard brings features to mean 0 and deviation 1. A feature that never changes becomes 0.
type standard struct {
	mean, scale []float64 // [width]; scale is 1 / deviation
}

func standardOf(f Features) (standard, error) {
	n := float64(len(f.Labels))
	s := standard{mean: make([]float64, f.Width), scale: make([]float64, f.Width)}
	for at := 0; at < len(f.Values); at += f.Width {
		for j, x := range f.Values[at : at+f.Width] {
			s.mean[j] += float64(x)
		}
	}
	for j := range s.mean {
		s.mean[j] /= n
	}
	for at := 0; at < len(f.Values); at += f.Width {
		for j, x := range f.Values[at : at+f.Width] {
			d := float64(x) - s.mean[j]
			s.scale[j] += float64(d * d)
		}
	}
	for j, sum := range s.scale {
		deviation := math.Sqrt(sum / n)
		if math.IsNaN(deviation) || math.IsInf(deviation, 0) {
			return standard{}, fmt.Errorf("feature %d has the deviation %v", j, deviation)
		}
		// A mean of equal numbers may miss them by their rounding, which is no deviation.
		if s.scale[j] = 1 / deviation; deviation <= 1e-12*math.Abs(s.mean[j]) {
			s.scale[j] = 0
		}
	}
	return s, nil
}

// apply returns the standardised features.
func (s standard) apply(f Features) []float32 {
	out := make([]float32, len(f.Values))
	for at := 0; at < len(out); at += f.Width {
		row := out[at:][:f.Width]
		for j, x := range f.Values[at:][:f.Width] {
			row[j] = float32(float64(float64(x)-s.mean[j]) * s.scale[j])
		}
	}
	return out
}

// scratch is what one thread computes in.
type scratch struct {
	ws       kernel.Workspace
	logits   []float32 // [probeBlock, classes]; in place their gradient
	gradient []float32 // [classes, width] of a block
	odds     []float64 // [classes]
}

func newScratch(classes, width int) *scratch {
	return &scratch{
		logits: make([]float32, probeBlock*classes), gradient: make([]float32, classes*width), odds: make([]float64, classes),
	}
}

// inStripes calls do for each stripe of n images, with a thread's own scratch.
func inStripes(n, threads, classes, width int, do func(stripe, first, last int, s *scratch)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(max(1, threads), stripes) {
		wg.Go(func() {
			s := newScratch(classes, width)
			for i := range next {
				do(i, i*n/stripes, (i+1)*n/stripes, s)
			}
		})
	}
	for i := range stripes {
		next <- i
	}
	close(next)
	wg.Wait()
}

// blocks calls do for the images first to last in blocks, with their features [n, width] times weights^T in s.logits.
func (s *scratch) blocks(features []float32, width int, weights []float32, first, last int, do func(first, count int)) {
	classes := len(s.odds)
	for ; first < last; first += probeBlock {
		count := min(probeBlock, last-first)
		rows := features[first*width:][:count*width]
		kernel.Gemm(false, true, count, classes, width, rows, width, weights, width, false, s.logits, classes, &s.ws)
		do(first, count)
	}
}

// point is the loss at some parameters, and its gradient.
type point struct {
	variables   []float64 // see metric
	x, gradient []float64
	loss        float64
}

func (p *point) steepest() float64 {
	largest := 0.0
	for _, g := range p.gradient {
		if !(math.Abs(g) <= largest) { // a NaN as well
			largest = math.Abs(g)
		}
	}
	return largest
}

// objective is the mean cross-entropy + |W|^2 / (2 C n), of parameters [classes * width weights, classes intercepts].
// The optimiser moves the variables of metric.
type objective struct {
	features []float32 // [len(targets), width], standardised
	width    int
	targets  []int     // of the images, indices into the probe's classes
	weights  []float64 // of an image, by class
	classes  int
	penalty  float64 // 1 / (C n)
	metric   metric
	threads  int
	last     point
	stripes  [stripes]point
}

func newObjective(images Features, p *LinearProbe, c ProbeConfig, threads int) *objective {
	o := &objective{
		features: p.scale.apply(images), width: images.Width, targets: make([]int, len(images.Labels)),
		classes: len(p.Classes),
		penalty: 1 / (c.C * float64(len(images.Labels))), threads: threads,
	}
	for i, l := range images.Labels {
		o.targets[i], _ = slices.BinarySearch(p.Classes, l)
	}
	o.weights = classWeights(o.targets, o.classes, c.Balanced)
	o.metric = newMetric(o.features, len(o.targets), o.width, o.classes, o.penalty, threads)
	for i := range o.stripes {
		o.stripes[i].gradient = make([]float64, o.parameters())
	}
	return o
}

// classWeights are 1, or those of ProbeConfig.Balanced; every class has images.
func classWeights(targets []int, classes int, balanced bool) []float64 {
	counts := make([]int, classes)
	for _, t := range targets {
		counts[t]++
	}
	weights := make([]float64, classes)
	for c, n := range counts {
		if weights[c] = 1; balanced {
			weights[c] = float64(len(targets)) / float64(classes*n)
		}
	}
	return weights
}

func (o *objective) parameters() int { return o.classes * (o.width + 1) }

func (o *objective) value(variables []float64) float64 { return o.evaluate(variables).loss }

func (o *objective) slope(to, variables []float64) {
	o.metric.gradient(to, o.evaluate(variables).gradient)
}

// evaluate returns the loss and its gradient by parameters; the optimiser asks for the two one after the other.
func (o *objective) evaluate(variables []float64) *point {
	if slices.Equal(variables, o.last.variables) {
		return &o.last
	}
	x := o.metric.parameters(variables)
	weights := o.classes * o.width
	rounded := make([]float32, weights)
	for i, w := range x[:weights] {
		rounded[i] = float32(w)
	}
	n := len(o.targets)
	inStripes(n, o.threads, o.classes, o.width, func(stripe, first, last int, s *scratch) {
		sum := &o.stripes[stripe]
		sum.loss = 0
		clear(sum.gradient)
		s.blocks(o.features, o.width, rounded, first, last, func(first, count int) {
			o.block(sum, x[weights:], first, count, s)
		})
	})
	at := point{variables: slices.Clone(variables), x: x, gradient: make([]float64, len(x))}
	for i := range o.stripes {
		at.loss += o.stripes[i].loss
		for j, g := range o.stripes[i].gradient {
			at.gradient[j] += g
		}
	}
	at.loss /= float64(n)
	for j := range at.gradient {
		at.gradient[j] /= float64(n)
	}
	for j, w := range x[:weights] {
		at.loss += float64(0.5 * o.penalty * w * w)
		at.gradient[j] += float64(o.penalty * w)
	}
	o.last = at
	return &o.last
}

// block adds a block's losses and gradients to sum.
func (o *objective) block(sum *point, intercepts []float64, first, count int, s *scratch) {
	weights := o.classes * o.width
	for i := range count {
		row := s.logits[i*o.classes:][:o.classes]
		top := math.Inf(-1)
		for c, v := range row {
			s.odds[c] = float64(v) + intercepts[c]
			top = max(top, s.odds[c])
		}
		target := o.targets[first+i]
		weight := o.weights[target]
		total, loss := 0.0, top-s.odds[target]
		for c, v := range s.odds {
			s.odds[c] = math.Exp(v - top)
			total += s.odds[c]
		}
		sum.loss += float64(weight * (loss + math.Log(total)))
		for c, v := range s.odds {
			g := v / total
			if c == target {
				g--
			}
			g *= weight
			sum.gradient[weights+c] += g
			row[c] = float32(g)
		}
	}
	rows := o.features[first*o.width:][:count*o.width]
	kernel.Gemm(true, false, o.classes, o.width, count, s.logits, o.classes, rows, o.width, false, s.gradient,
		o.width, &s.ws)
	for j, g := range s.gradient {
		sum.gradient[j] += float64(g)
	}
}

// Visit calls visit for each image with the scores of the probe's classes, from several goroutines.
func (p *LinearProbe) Visit(test Features, threads int, visit func(image int, scores []float64)) {
	rounded := make([]float32, len(p.Weights))
	for i, w := range p.Weights {
		rounded[i] = float32(w)
	}
	features, classes := p.scale.apply(test), len(p.Classes)
	inStripes(len(test.Labels), threads, classes, test.Width, func(_, first, last int, s *scratch) {
		s.blocks(features, test.Width, rounded, first, last, func(first, count int) {
			for i := range count {
				for c, v := range s.logits[i*classes:][:classes] {
					s.odds[c] = float64(v) + p.Intercepts[c]
				}
				visit(first+i, s.odds)
			}
		})
	})
}

// accuracy is the share of images whose highest score is their label's.
func (p *LinearProbe) accuracy(test Features, threads int) float64 {
	hit := make([]bool, len(test.Labels))
	p.Visit(test, threads, func(i int, scores []float64) {
		best := slices.Index(scores, slices.Max(scores))
		hit[i] = best >= 0 && p.Classes[best] == test.Labels[i]
	})
	hits := 0
	for _, h := range hit {
		if h {
			hits++
		}
	}
	return float64(hits) / float64(len(test.Labels))
}
