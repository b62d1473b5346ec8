// Usebench times a student in use beside others, in one run: mobilenet_v2 at 224 x 224 here, in PyTorch and in
// onnxruntime, on the same threads; and worker serve of this network, and of a small one, under load. `make bench-student`
// runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"pupil/internal/random"
	"pupil/worker/export"
	"pupil/worker/nn"
	"pupil/worker/student"
)

func main() {
	rounds := flag.Int("rounds", 7, "rounds; each has every program once; 0: only the server")
	modules := flag.String("modules", "", "folder with Node's modules, as .ci/node prints it")
	requests := flag.Int("requests", 10000, "requests to the server")
	connections := flag.Int("connections", 64, "connections to the server")
	served := flag.String("student", "", "folder of the student that is served (default: the mobilenet_v2 of the comparison, and a small one)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Stdout, *rounds, *modules, *served, *requests, *connections)
	if err != nil {
		fmt.Fprintln(os.Stderr, "usebench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, rounds int, modules, served string, requests, connections int) error {
	m, err := model("mobilenet_v2", 224)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "usebench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	data, err := export.ONNX(m.Network, m.State, export.Config{Model: m.Config, Fold: true, Own: true})
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "student.onnx")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(w, "mobilenet_v2, 224 x 224 x 3, 1000 outputs; %d rounds, each program once a round; medians\n\n", rounds)
	for _, threads := range []int{1, 2}[:min(2, 2*rounds)] {
		if err := compare(ctx, w, m, file, modules, threads, rounds); err != nil {
			return err
		}
	}
	if served != "" {
		if m, err = student.Open(ctx, served); err != nil {
			return err
		}
		return load(ctx, w, m, requests, connections)
	}
	small, err := model("mobilenet_v2_cifar", 32)
	if err != nil {
		return err
	}
	return errors.Join(load(ctx, w, m, requests, connections), load(ctx, w, small, requests, connections))
}

// model is an untrained network for images of size x size, which costs what a trained one does.
func model(architecture string, size int) (*student.Model, error) {
	c := nn.ModelConfig{Config: nn.Config{Architecture: architecture, Width: 1, Outputs: 1000, Size: size, Channels: 3}}
	n, err := nn.New(c.Config)
	if err != nil {
		return nil, err
	}
	s := n.NewState()
	n.Init(s, 1)
	return student.NewModel(n, s, c)
}

// pixels are n images of noise.
func pixels(n int) []float32 {
	r := random.New(random.PurposeTest, 1)
	v := make([]float32, n*224*224*3)
	for i := range v {
		v[i] = float32(r.Uniform(-2, 2))
	}
	return v
}
