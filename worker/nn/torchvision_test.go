package nn_test

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pupil/storage/safetensors"
	"pupil/worker/nn"
)

// named is a tensor of a state_dict.
type named struct {
	name  string
	shape []int
}

// torchvisionNames reads what testdata/torchvision_names.py has written.
func torchvisionNames(t *testing.T) map[string][]named {
	t.Helper()
	f, err := os.Open("testdata/torchvision_names.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	networks, network := map[string][]named{}, ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 1 {
			network = fields[0]
			continue
		}
		x := named{name: fields[0]}
		for _, size := range fields[1:] {
			n, err := strconv.Atoi(size)
			if err != nil {
				t.Fatalf("%s: %v", lines.Text(), err)
			}
			x.shape = append(x.shape, n)
		}
		networks[network] = append(networks[network], x)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return networks
}

// What leaves by Export has the names, the shapes and the order of torchvision's state_dict.
func TestNamesAndShapesAreTorchvisions(t *testing.T) {
	networks := torchvisionNames(t)
	if len(networks) != 7 {
		t.Fatalf("there are %d networks", len(networks))
	}
	for network, want := range networks {
		n := mustNew(t, nn.Config{Architecture: network, Width: 1, Outputs: 1000, Size: 224, Channels: 3})
		var got []named
		for _, x := range n.Export(n.NewState()).Tensors {
			if norm, counter := strings.CutSuffix(x.Name, "num_batches_tracked"); counter {
				if before := got[len(got)-1].name; x.DType != safetensors.I64 || len(x.Shape) != 0 || before != norm+"running_var" {
					t.Errorf("%s: %s %v %v after %s", network, x.Name, x.DType, x.Shape, before)
				}
				continue
			}
			got = append(got, named{x.Name, x.Shape})
		}
		if len(got) != len(want) {
			t.Errorf("%s has %d tensors, torchvision's %d", network, len(got), len(want))
			continue
		}
		for i, w := range want {
			if g := got[i]; g.name != w.name || !slices.Equal(g.shape, w.shape) {
				t.Errorf("%s: tensor %d is %s %v, torchvision's %s %v", network, i, g.name, g.shape, w.name, w.shape)
				break
			}
		}
	}
}

// Every network takes the sizes that a job may have, with one channel and with three.
func TestInputSizes(t *testing.T) {
	for _, architecture := range nn.Architectures() {
		for _, size := range []int{28, 29, 64, 97, 224, 511, 512} {
			for _, channels := range []int{1, 3} {
				n := mustNew(t, nn.Config{Architecture: architecture, Width: 0.25, Outputs: 4, Size: size, Channels: channels})
				if _, err := n.TrainingBytes(2, []nn.Output{nn.Logits}); err != nil {
					t.Errorf("%s of %d x %d x %d: %v", architecture, size, size, channels, err)
				}
				if h, w, c := n.FeatureMap(); h < 1 || h != w || c != n.Features() {
					t.Errorf("%s of %d x %d x %d: the last map is %d x %d x %d", architecture, size, size, channels, h, w, c)
				}
			}
		}
	}
	for _, architecture := range []string{"resnet10", "mobilenet_v2", "mobilenet_v3_small"} {
		for _, channels := range []int{1, 3} {
			n := mustNew(t, nn.Config{Architecture: architecture, Width: 0.125, Outputs: 2, Size: 512, Channels: channels})
			s := n.NewState()
			n.Init(s, 1)
			f := freeze(t, n, s, nn.FreezeConfig{})
			i := infer(t, f, nn.InferenceConfig{Batch: 1}, pictures(1, 512, channels))
			if l := largest(i.Output(nn.Pooled)); !(l > 0 && l < 1e3) {
				t.Errorf("%s of %d channels: the largest feature is %v", architecture, channels, l)
			}
		}
	}
}
