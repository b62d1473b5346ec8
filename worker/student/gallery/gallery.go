package gallery

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"pupil/worker/student"
)

// ErrGallery says that a gallery cannot be used. Test for it with errors.Is.
var ErrGallery = errors.New("the gallery cannot be used")

// ErrEmpty says that a gallery has no entries. Test for it with errors.Is.
var ErrEmpty = errors.New("the gallery is empty; worker enroll fills it")

// ErrThreshold says that a gallery has no threshold. Test for it with errors.Is.
var ErrThreshold = errors.New("the gallery has no threshold for unknown images: " +
	"that takes images of two identities or more; enroll them, or give a threshold")

// Gallery is a set of entries: an identity and the features of one image of it. It is not safe for concurrent use while it
// changes.
type Gallery struct {
	Student    string    // digest of the model that made the features
	Width      int       // of the features
	Identities []string  // of the entries
	Images     []string  // of the entries: where they came from
	Values     []float32 // [entries, Width], unit rows
	Threshold  *Threshold
}

// Threshold is the cosine from which on an image is taken for its nearest identity.
type Threshold struct {
	Cosine      float64 `json:"cosine"`
	FalseAccept float64 `json:"false_accept"` // share of unknown images that may be taken for somebody
	Unknown     int     `json:"unknown"`      // entries that were compared with all other identities
	Known       int     `json:"known"`        // entries that were compared with their own identity as well
	Accepted    float64 `json:"accepted"`     // share of those known that are taken for their own identity
}

// New is an empty gallery.
func New(student string, width int) *Gallery { return &Gallery{Student: student, Width: width} }

// Len is the number of entries.
func (g *Gallery) Len() int { return len(g.Identities) }

// People lists the identities, sorted, each once.
func (g *Gallery) People() []string {
	return slices.Compact(slices.Sorted(slices.Values(g.Identities)))
}

// Add appends an image's pooled features. An entry of the same identity with the same features is there already: false.
// The threshold is that of the entries before, until Calibrate.
func (g *Gallery) Add(identity, image string, pooled []float32) (added bool, err error) {
	if len(pooled) != g.Width {
		return false, fmt.Errorf("%w: %s has %d features; the gallery's entries have %d", ErrGallery, image, len(pooled), g.Width)
	}
	if identity == "" {
		return false, fmt.Errorf("%w: %s has no identity", ErrGallery, image)
	}
	row := student.Unit(pooled, g.Width)
	if length(row) == 0 {
		return false, fmt.Errorf("%w: all features of %s are 0, and have no direction", ErrGallery, image)
	}
	for i, other := range g.Identities {
		if other == identity && slices.Equal(g.row(i), row) {
			return false, nil
		}
	}
	g.Identities, g.Images = append(g.Identities, identity), append(g.Images, image)
	g.Values = append(g.Values, row...)
	return true, nil
}

func (g *Gallery) row(i int) []float32 { return g.Values[i*g.Width:][:g.Width] }

func length(v []float32) float64 { return math.Sqrt(dot(v, v)) }

// dot is a product in float64, in order.
func dot(a, b []float32) float64 {
	sum := 0.0
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}

// Candidate is an identity, and the cosine of its entry that is nearest to an image.
type Candidate struct {
	Identity string  `json:"identity"`
	Cosine   float64 `json:"cosine"`
	Image    string  `json:"image"` // of that entry
}

// Answer is whose image it is.
type Answer struct {
	Identity   string      `json:"identity"` // "" when it is unknown
	Known      bool        `json:"known"`
	Threshold  float64     `json:"threshold"`
	Candidates []Candidate `json:"candidates"` // the nearest identities, nearest first
}

// Ready says what a gallery lacks to identify images: entries, or a threshold.
func (g *Gallery) Ready() error {
	switch {
	case g.Len() == 0:
		return ErrEmpty
	case g.Threshold == nil:
		return ErrThreshold
	}
	return nil
}

// Identify finds the k identities nearest to an image by its pooled features. The first is the answer when its cosine
// reaches the threshold.
func (g *Gallery) Identify(pooled []float32, k int) (Answer, error) {
	if err := g.Ready(); err != nil {
		return Answer{}, err
	}
	if len(pooled) != g.Width {
		return Answer{}, fmt.Errorf("%w: %d features; its entries have %d", ErrGallery, len(pooled), g.Width)
	}
	probe := student.Unit(pooled, g.Width)
	best := map[string]int{} // place in candidates
	var all []Candidate
	for i, name := range g.Identities {
		c := Candidate{name, dot(probe, g.row(i)), g.Images[i]}
		at, ok := best[name]
		if !ok {
			best[name] = len(all)
			all = append(all, c)
		} else if c.Cosine > all[at].Cosine {
			all[at] = c
		}
	}
	slices.SortStableFunc(all, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Identity, b.Identity))
	})
	a := Answer{Threshold: g.Threshold.Cosine, Candidates: all[:min(max(k, 1), len(all))]}
	if a.Known = all[0].Cosine >= a.Threshold; a.Known {
		a.Identity = all[0].Identity
	}
	return a, nil
}

// calibrated bounds the entries that Calibrate compares with all, spread evenly.
const calibrated = 4096

// Calibrate chooses the threshold from the gallery: each entry is compared with the entries of all other identities, as
// an unknown image would be, and the threshold is the smallest cosine that at most a share falseAccept of them reach.
// Each is then also compared with the other entries of its own identity, which says how many known images pass. With
// fewer than two identities there is no threshold.
func (g *Gallery) Calibrate(falseAccept float64) {
	g.Threshold = nil
	if len(g.People()) < 2 {
		return
	}
	t := &Threshold{FalseAccept: falseAccept}
	var strangers []float64
	type known struct{ own, other float64 }
	var pairs []known
	n := min(g.Len(), calibrated)
	for p := range n {
		i := p * g.Len() / n
		own, other := math.Inf(-1), math.Inf(-1)
		for j, name := range g.Identities {
			switch c := dot(g.row(i), g.row(j)); {
			case name != g.Identities[i]:
				other = max(other, c)
			case j != i:
				own = max(own, c)
			}
		}
		strangers = append(strangers, other)
		if !math.IsInf(own, -1) {
			pairs = append(pairs, known{own, other})
		}
	}
	slices.SortFunc(strangers, func(a, b float64) int { return cmp.Compare(b, a) })
	// strangers[allowed] is the largest that must not pass.
	allowed := min(int(falseAccept*float64(len(strangers))), len(strangers)-1)
	t.Cosine = math.Nextafter(strangers[allowed], 2)
	t.Unknown, t.Known = len(strangers), len(pairs)
	for _, p := range pairs {
		if p.own >= t.Cosine && p.own > p.other {
			t.Accepted += 1 / float64(len(pairs))
		}
	}
	t.Accepted = min(t.Accepted, 1)
	g.Threshold = t
}
