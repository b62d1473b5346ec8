package nn

import (
	"fmt"
	"slices"
	"testing"

	"pupil/internal/random"
)

// Stages hold every layer once, in order, each of as many images as the one before it or more, the last of the batch.
func TestStagesCoverTheNetwork(t *testing.T) {
	for _, test := range []struct {
		architecture string
		size, batch  int
		least        int // stages
	}{
		{"mobilenet_v2", 224, 16, 3},
		{"mobilenet_v2", 224, 1, 1},
		{"mobilenet_v2", 224, 5, 2},
		{"mobilenet_v3_large", 320, 50, 3},
		{"resnet50", 224, 16, 3},
		{"resnet101", 224, 3, 2},
		{"resnet18_cifar", 32, 64, 3},
		{"resnet10_cifar", 28, 16, 1},
	} {
		n, err := New(Config{Architecture: test.architecture, Width: 1, Outputs: 10, Size: test.size, Channels: 3})
		if err != nil {
			t.Fatal(err)
		}
		wanted := n.inferred([]Output{FeatureMap})
		stages := n.stages(wanted, test.batch, FreezeConfig{})
		if len(stages) < test.least || stages[0].from != 0 || stages[len(stages)-1].images != test.batch {
			t.Errorf("%s: %d stages, from value %d, the last of %d images",
				test.architecture, len(stages), stages[0].from, stages[len(stages)-1].images)
		}
		var all []fused
		images := 1
		for i, s := range stages {
			if s.images < images || len(s.layers) == 0 {
				t.Errorf("%s: stage %d has %d layers, %d images after %d", test.architecture, i, len(s.layers), s.images, images)
			}
			if i > 0 && all[len(all)-1].makes() != s.from {
				t.Errorf("%s: stage %d begins with value %d", test.architecture, i, s.from)
			}
			images = s.images
			all = append(all, s.layers...)
		}
		list := n.fuse(wanted)
		if !slices.EqualFunc(all, list, func(a, b fused) bool { return a.out == b.out && a.makes() == b.makes() }) {
			t.Errorf("%s: the stages have %d layers, the network %d", test.architecture, len(all), len(list))
		}
	}
}

// However a network is cut into stages, also where chunks overlap: the same bits.
func TestStagesDoNotMatter(t *testing.T) {
	const batch = 7
	for _, c := range []Config{
		{Architecture: "resnet18", Width: 0.125, Outputs: 3, Size: 40, Channels: 3, Projection: 4},
		{Architecture: "resnet50_cifar", Width: 0.125, Outputs: 3, Size: 9, Channels: 3},
		{Architecture: "mobilenet_v2", Width: 0.25, Outputs: 3, Size: 33, Channels: 1},
		{Architecture: "mobilenet_v3_small", Width: 0.25, Outputs: 3, Size: 40, Channels: 3},
	} {
		n, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		s := n.NewState()
		n.Init(s, 5)
		f, err := n.Freeze(s, FreezeConfig{})
		if err != nil {
			t.Fatal(err)
		}
		images := make([]float32, batch*n.values[0].size())
		for i := range images {
			images[i] = float32(random.New(random.PurposeTest, uint64(i)).Uniform(-1, 1))
		}
		wanted := n.inferred([]Output{FeatureMap})
		list := n.fuse(wanted)
		cuts := n.cuts(list, wanted)
		if len(cuts) < 3 {
			t.Fatalf("%s can be cut in %d places", c.Architecture, len(cuts))
		}
		var want map[int][]float32
		for _, sizes := range [][]int{{batch}, {1, batch}, {3, batch}, {2, 5, batch}, {1, 2, 3, batch}} {
			i, err := f.NewInference(InferenceConfig{Batch: batch, Also: []Output{FeatureMap}})
			if err != nil {
				t.Fatal(err)
			}
			var stages []stage
			for k, images := range sizes {
				begin, end := cuts[k*len(cuts)/len(sizes)], len(list)
				if k+1 < len(sizes) {
					end = cuts[(k+1)*len(cuts)/len(sizes)]
				}
				stages = append(stages, stage{layers: list[begin:end], images: images})
				if begin > 0 {
					stages[k].from = list[begin-1].makes()
				}
			}
			if i.parts[0], err = i.segments(stages, i.outputs); err != nil {
				t.Fatal(err)
			}
			got := map[int][]float32{}
			for range 2 { // the second run has dirty buffers
				if _, _, err := i.Run(images); err != nil {
					t.Fatal(err)
				}
			}
			for v, m := range i.outputs {
				got[v] = m.data
			}
			if want == nil {
				want = got
			}
			for v := range want {
				if !slices.Equal(got[v], want[v]) {
					t.Errorf("%s in stages of %s images: value %d has other bits", c.Architecture, fmt.Sprint(sizes), v)
				}
			}
		}
	}
}
