// Package measure says how good features are: by neighbours, a linear classifier, retrieval, verification of pairs and
// clusters, and under corruptions.
//
//	m, err := measure.Of(train, test, measure.Config{Classes: names, Threads: 2})
//	fmt.Println(m.KNN[1].Top1, m.Probe.Top1, m.Retrieval, m.Verification.Accepted)
//
// Every figure is a function of the features alone: neither threads nor time change it.
package measure

import (
	"fmt"
	"slices"

	"pupil/worker/student"
)

// Config says what is measured.
type Config struct {
	Classes     []string // names by label
	Neighbours  []int    // k of k-NN; those above the number of training images are left out. Empty: DefaultNeighbours
	Temperature float64  // of the neighbours' votes; 0: DINO's
	FalseAccept float64  // rate at which verification is measured; 0: 0.001
	Threads     int
	Own         bool // the network's own logits stand for Classes
}

// DefaultNeighbours and defaultTemperature are DINO's (Caron et al. 2021).
var DefaultNeighbours = []int{10, 20, 100, 200}

const (
	defaultTemperature = 0.07
	defaultFalseAccept = 1e-3
)

// Measures are what the features of one network reach on test images.
type Measures struct {
	KNN          []KNN        `json:"knn"`
	Probe        Classified   `json:"probe"`         // by a linear probe of the training images
	Own          *Classified  `json:"own,omitempty"` // by the network's own classifier, where it has the same classes
	Retrieval    float64      `json:"retrieval_map"` // mean average precision, see Retrieval
	Verification Verification `json:"verification"`
	Clusters     Clusters     `json:"clusters"`
	Robustness   []Corrupted  `json:"robustness,omitempty"`

	probe *student.LinearProbe
}

// KNN is k-nearest-neighbour classification.
type KNN struct {
	K int `json:"k"`
	student.Share
}

// Classified is what a classifier reaches.
type Classified struct {
	student.Share
	Confusion [][]int `json:"confusion"` // [true class][first guess], images
}

// Of measures features of training and test images, which have labels.
func Of(train, test student.Features, c Config) (*Measures, error) {
	if c.Temperature == 0 {
		c.Temperature = defaultTemperature
	}
	if c.FalseAccept == 0 {
		c.FalseAccept = defaultFalseAccept
	}
	if len(c.Neighbours) == 0 {
		c.Neighbours = DefaultNeighbours
	}
	for _, set := range [][]int{train.Labels, test.Labels} {
		for i, l := range set {
			if l < 0 || l >= len(c.Classes) {
				return nil, fmt.Errorf("image %d has the label %d of %d classes", i, l, len(c.Classes))
			}
		}
	}
	m := &Measures{}
	ks := slices.DeleteFunc(slices.Clone(c.Neighbours), func(k int) bool { return k > len(train.Labels) })
	if len(ks) == 0 {
		ks = []int{len(train.Labels)}
	}
	shares, err := student.Neighbours(train, test, ks, c.Temperature, c.Threads)
	if err != nil {
		return nil, err
	}
	for i, k := range ks {
		m.KNN = append(m.KNN, KNN{k, shares[i]})
	}
	if m.probe, err = student.FitProbe(train, student.DefaultProbeConfig(), c.Threads); err != nil {
		return nil, err
	}
	m.Probe = byProbe(m.probe, test, len(c.Classes), c.Threads)
	if c.Own && test.Outputs > 0 {
		own := classify(test, len(c.Classes), func(i int) []float64 { return widen(test.Logits[i*test.Outputs:][:test.Outputs]) })
		m.Own = &own
	}
	unit := student.Unit(test.Values, test.Width)
	m.Retrieval = Retrieval(unit, test.Width, test.Labels, c.Threads)
	m.Verification = Verify(unit, test.Width, test.Labels, c.FalseAccept)
	m.Clusters = Cluster(unit, test.Width, test.Labels, len(c.Classes))
	return m, nil
}

func widen(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// byProbe judges a linear probe, whose classes are those of the training images.
func byProbe(p *student.LinearProbe, test student.Features, classes, threads int) Classified {
	all := make([]float64, len(test.Labels)*classes)
	for i := range all {
		all[i] = lowest
	}
	p.Visit(test, threads, func(image int, scores []float64) {
		for c, v := range scores {
			all[image*classes+p.Classes[c]] = v
		}
	})
	return classify(test, classes, func(i int) []float64 { return all[i*classes:][:classes] })
}

// lowest is the score of a class that a classifier does not know.
const lowest = -1e300

func classify(test student.Features, classes int, scores func(i int) []float64) Classified {
	c := Classified{Confusion: make([][]int, classes)}
	for i := range c.Confusion {
		c.Confusion[i] = make([]int, classes)
	}
	one, five := 0, 0
	for i, label := range test.Labels {
		s := scores(i)
		rank := student.Rank(s, label)
		if rank < 1 {
			one++
		}
		if rank < 5 {
			five++
		}
		c.Confusion[label][slices.Index(s, slices.Max(s))]++
	}
	n := float64(len(test.Labels))
	c.Share = student.Share{Top1: float64(one) / n, Top5: float64(five) / n}
	return c
}
