package train

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pupil/allreduce"
	"pupil/storage/dataset"
	"pupil/worker/feed"
	"pupil/worker/nn"
)

// A gradient that is not finite is named, in both wire formats, and reaches neither sum nor ring.
func TestGradientNotFinite(t *testing.T) {
	n, err := nn.New(nn.Config{Architecture: "resnet10_cifar", Width: 0.125, Outputs: 5, Size: 16, Channels: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []allreduce.Format{allreduce.Fixed32, allreduce.Fixed16} {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1))} {
			s := &State{Network: n, Model: n.NewState()}
			if err := s.SetWire(format, 2); err != nil {
				t.Fatal(err)
			}
			layout := newLayout(n, 1<<20)
			e := newExchange(layout, s.Scales)
			e.begin(s.Scales.exponents())
			l := &lane{gradients: make([]float32, layout.sizes[0]), statistics: make([]float32, layout.sizes[1]), scratch: e.newScratch()}
			if s.Feedback != nil {
				l.before, l.after = s.Feedback.take(1)
			}
			if err := e.give(1, l); err != nil {
				t.Fatal(err)
			}
			b := layout.buckets[1]
			place := layout.tensors[b.first]
			l.gradients[place.offset+3] = bad
			err := e.give(1, l)
			if !errors.Is(err, errNonFinite) || !strings.Contains(err.Error(), place.name+", element 3 is ") {
				t.Errorf("format %d, %v: error %v", format, bad, err)
			}
			if e.given(1) != 1 {
				t.Errorf("format %d, %v: it was added", format, bad)
			}
			// The lane names the images of its batch, any of which may have caused it.
			l.trainer = &Trainer{exchange: e, layout: layout}
			l.missing = []int{0, 1}
			l.batch = &feed.Batch{}
			for _, name := range []string{"a.png", "b.png", "c.png", "d.png", "e.png"} {
				l.batch.Samples = append(l.batch.Samples, dataset.Sample{Name: name})
			}
			l.complete(1)
			if want := "images a.png, b.png, c.png, d.png, 1 more: a value is not finite: " + place.name; !errors.Is(l.err, errNonFinite) ||
				!strings.Contains(l.err.Error(), want) {
				t.Errorf("format %d, %v: the lane says %v, want %q", format, bad, l.err, want)
			}
		}
	}
}

// given is how many lanes have given their part of a bucket.
func (e *exchange) given(b int) int {
	if v := e.buckets[b].short; v != nil {
		return v.given
	}
	return e.buckets[b].wide.given
}
