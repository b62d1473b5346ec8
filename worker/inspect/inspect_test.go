package inspect_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pupil/worker/inspect"
	"pupil/worker/nn"
)

func mustNew(t testing.TB, c nn.Config) *nn.Network {
	t.Helper()
	n, err := nn.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var small = nn.Config{Architecture: "mobilenet_v2_cifar", Width: 0.5, Outputs: 10, Size: 32, Channels: 3}

// What the report says is what the graphs take.
func TestMemoryIsThatOfTheGraphs(t *testing.T) {
	n := mustNew(t, small)
	s := n.NewState()
	training, err := n.NewTraining(s, nn.TrainingConfig{
		Batch: 4, Outputs: []nn.Output{nn.Logits}, Gradients: make([]float32, len(s.Params)),
		Statistics: make([]float32, len(s.Buffers)),
		Loss:       func(_, _ [][]float32) (float64, error) { return 0, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer training.Close()
	inference, err := n.NewInference(s, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer inference.Close()
	for _, test := range []struct {
		optimizer string
		moments   int64
	}{{"adamw", 2}, {"sgd", 1}, {"lars", 1}} {
		r, err := inspect.Of(n, inspect.Config{
			Batch: 4, Lanes: 3, Outputs: []nn.Output{nn.Logits}, Optimizer: test.optimizer, Average: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		params, all := 4*int64(len(s.Params)), 4*int64(len(s.Params)+len(s.Buffers))
		want := inspect.Training{
			Activations: training.Bytes(), Gradients: all, Parameters: all, Optimizer: test.moments * params, Average: all,
		}
		if *r.Training != want {
			t.Errorf("%s: training takes %+v, want %+v", test.optimizer, *r.Training, want)
		}
		if want := (inspect.Inference{Activations: inference.Bytes(), Parameters: n.FrozenBytes(nn.FreezeConfig{})}); r.Inference != want {
			t.Errorf("inference takes %+v, want %+v", r.Inference, want)
		}
		lane, shared := training.Bytes()+all, 2*all+test.moments*params
		if want := (inspect.Peak{Lane: lane + shared, Lanes: 3*lane + shared}); r.Peak != want {
			t.Errorf("%s: the peak is %+v, want %+v", test.optimizer, r.Peak, want)
		}
		if 4*int64(r.Total.Parameters) != params {
			t.Errorf("%d parameters in total, the state has %d", r.Total.Parameters, len(s.Params))
		}
	}
}

func TestPrint(t *testing.T) {
	c := small
	c.Width = 1
	c.Architecture, c.Outputs, c.Size = "resnet18", 1000, 224
	r, err := inspect.Of(mustNew(t, c), inspect.Config{
		Role: "student", Batch: 2, Lanes: 2, Outputs: []nn.Output{nn.Logits},
		Optimizer: "adamw",
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"student: resnet18, width 1, images of 224 x 224 x 3 layer kind",
		"conv1 convolution 7x7/2 ReLU 112 x 112 x 64 9536 118013952 3211264",
		"layer4.1 add ReLU 7 x 7 x 512 0 0 100352",
		"fc linear 1 x 1 x 1000 513000 512000 4000",
		"total 11689512 1814073344",
		"memory with 2 images a lane",
		"optimiser's state 93.52 MB",
		"peak of a worker with 1 lane 216.42 MB peak of a worker with all 2 lanes 292.52 MB",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(text, "average of the weights") {
		t.Error("an average that is not kept has a line")
	}
}

// A frozen network has no training.
func TestFrozen(t *testing.T) {
	r, err := inspect.Of(mustNew(t, small), inspect.Config{Role: "teacher", Batch: 1})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "training") || strings.Contains(string(data), "training") || r.Inference.Activations <= 0 {
		t.Errorf("a frozen network is trained: %s", b.String())
	}
	if want := r.Inference.Activations + r.Inference.Parameters; r.Peak != (inspect.Peak{Lane: want, Lanes: want}) {
		t.Errorf("its peak is %+v, want %d", r.Peak, want)
	}
}

func TestErrors(t *testing.T) {
	for want, c := range map[string]inspect.Config{
		"batch is 0":    {Batch: 0, Outputs: []nn.Output{nn.Logits}, Optimizer: "sgd"},
		"no projection": {Batch: 2, Outputs: []nn.Output{nn.Projection}, Optimizer: "sgd"},
		"adam":          {Batch: 2, Outputs: []nn.Output{nn.Pooled}, Optimizer: "adam"},
	} {
		if _, err := inspect.Of(mustNew(t, small), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := inspect.Of(mustNew(t, small), inspect.Config{Batch: -1}); err == nil {
		t.Error("a batch of -1 is inferred")
	}
}
