package nn_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pupil/worker/nn"
)

// The feature map is what the pooled features are the mean of, and asking for it changes nothing else.
func TestFeatureMap(t *testing.T) {
	for _, name := range nn.Architectures() {
		n := mustNew(t, nn.Config{Architecture: name, Width: 0.25, Outputs: 3, Size: 70, Channels: 1, Projection: 5})
		s := n.NewState()
		n.Init(s, 1)
		images := noise(2 * 70 * 70)
		plain, err := n.NewInference(s, 2)
		if err != nil {
			t.Fatal(err)
		}
		also, err := n.NewInference(s, 2, nn.FeatureMap, nn.Logits)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := n.InferenceBytes(2, nn.FeatureMap); err != nil || also.Bytes() != want || want < plain.Bytes() {
			t.Errorf("%s: %d bytes with the map, planned %d (%v), without %d", name, also.Bytes(), want, err, plain.Bytes())
		}
		for range 2 { // the second run has dirty buffers
			for _, i := range []*nn.Inference{plain, also} {
				if _, _, err := i.Run(images); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, o := range []nn.Output{nn.Logits, nn.Pooled, nn.Projection} {
			if !slices.Equal(plain.Output(o), also.Output(o)) {
				t.Errorf("%s: %s has other bits beside the feature map", name, o)
			}
		}
		h, w, c := n.FeatureMap()
		m := also.Output(nn.FeatureMap)
		if h*w < 2 || c != n.Features() || n.Width(nn.FeatureMap) != c || len(m) != 2*h*w*c {
			t.Fatalf("%s: the map is %d x %d x %d, %d values", name, h, w, c, len(m))
		}
		if plain.Output(nn.FeatureMap) != nil {
			t.Errorf("%s: a map that nobody asked for", name)
		}
		size := largest(also.Output(nn.Pooled))
		for i, got := range also.Output(nn.Pooled) {
			mean := 0.0
			for p := range h * w {
				mean += float64(m[(i/c*h*w+p)*c+i%c]) / float64(h*w)
			}
			if math.Abs(mean-float64(got)) > 1e-5*size {
				t.Fatalf("%s: pooled feature %d is %v, the map's mean %v", name, i, got, mean)
			}
		}
		plain.Close()
		also.Close()
		if also.Output(nn.FeatureMap) != nil {
			t.Errorf("%s: a closed inference has a map", name)
		}
	}
}

func TestFeatureMapIsForInference(t *testing.T) {
	n := mustNew(t, tiny)
	s := n.NewState()
	_, err := n.NewTraining(s, nn.TrainingConfig{
		Batch: 2, Outputs: []nn.Output{nn.FeatureMap}, Loss: meanSquare,
		Gradients: make([]float32, len(s.Params)), Statistics: make([]float32, len(s.Buffers)),
	})
	if err == nil || !strings.Contains(err.Error(), "feature map") {
		t.Errorf("training: got %v", err)
	}
	_, err = n.NewInference(s, 2, nn.FeatureMap+1)
	if err == nil || !strings.Contains(err.Error(), "is not known") {
		t.Errorf("inference: got %v", err)
	}
	if _, err = n.InferenceBytes(2, nn.FeatureMap+1); err == nil {
		t.Error("an unknown output is planned")
	}
}
