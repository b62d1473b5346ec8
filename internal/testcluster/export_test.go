//go:build e2e

package testcluster_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pupil/internal/random"
	"pupil/internal/testcluster"
	"pupil/storage/dir"
	"pupil/worker/nn"
	"pupil/worker/student"
)

// script runs one of .ci and returns what it prints.
func script(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(testcluster.Root(), ".ci", name))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf(".ci/%s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// worker runs the worker's binary and returns its standard output.
func worker(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testcluster.Build(t).Worker, args...)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("worker %s: %v\n%s", strings.Join(args, " "), err, messages.String())
	}
	return string(out)
}

// untrained is the folder of a network whose weights and running statistics are random.
func untrained(t *testing.T, architecture string, size int) (string, *student.Model) {
	t.Helper()
	c := nn.ModelConfig{
		Config:    nn.Config{Architecture: architecture, Width: 1, Outputs: 10, Size: size, Channels: 3},
		Normalize: &nn.Normalize{Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225}},
		Classes:   strings.Split("a b c d e f g h i j", " "),
	}
	n, err := nn.New(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	s := n.NewState()
	n.Init(s, 7)
	r := random.New(random.PurposeTest, 7)
	for _, b := range n.Buffers() {
		for i := range s.Buffers[b.Offset:][:b.Len] {
			if strings.HasSuffix(b.Name, "running_var") {
				s.Buffers[b.Offset+i] = float32(r.Uniform(0.5, 1))
			} else {
				s.Buffers[b.Offset+i] = float32(0.1 * r.Normal())
			}
		}
	}
	folder := t.TempDir()
	b, err := dir.New(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := nn.SaveFolder(t.Context(), b, n, s, c, nil); err != nil {
		t.Fatal(err)
	}
	m, err := student.Open(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	return folder, m
}

// TestStudentInONNXRuntime writes networks as ONNX and computes them in onnxruntime: the same features, logits and
// probabilities, for any batch, with batch norms folded or not, with the network's classifier, a head or none.
func TestStudentInONNXRuntime(t *testing.T) {
	modules := script(t, "node")
	const tolerance = 1e-4 // of the largest value
	for _, c := range []struct {
		architecture string
		size         int
	}{{"mobilenet_v2", 96}, {"mobilenet_v3_small", 96}, {"mobilenet_v3_large", 64}, {"resnet18", 64}, {"resnet50", 64}} {
		folder, m := untrained(t, c.architecture, c.size)
		for _, v := range []struct {
			batch int
			args  []string
		}{{3, nil}, {1, []string{"--fold=false"}}, {2, []string{"--head", "none"}}} {
			file := filepath.Join(t.TempDir(), "student.onnx")
			worker(t, append([]string{"export", folder, "--out", file}, v.args...)...)
			pixels := noise(v.batch, c.size)
			r, err := m.NewRunner(v.batch)
			if err != nil {
				t.Fatal(err)
			}
			want, err := r.Run(pixels)
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			got := inONNXRuntime(t, modules, file, pixels, v.batch, c.size)
			name := fmt.Sprintf("%s %v", c.architecture, v.args)
			worst := difference(t, name, got["features"], want.Pooled)
			if logits, ok := got["logits"]; ok == (v.args != nil && v.args[0] == "--head") {
				t.Errorf("%s: logits %v", name, logits)
			} else if ok {
				worst = max(worst, difference(t, name, logits, want.Logits))
			}
			t.Logf("%s: relative difference %.2g", name, worst)
			if !(worst <= tolerance) {
				t.Errorf("%s: relative difference %.2g, at most %g", name, worst, tolerance)
			}
		}
	}
}

// noise are images [n, size, size, 3] of random values.
func noise(n, size int) []float32 {
	r := random.New(random.PurposeTest, 9)
	v := make([]float32, n*size*size*3)
	for i := range v {
		v[i] = float32(r.Normal())
	}
	return v
}

// inONNXRuntime computes images [n, size, size, 3] with a file.
func inONNXRuntime(t *testing.T, modules, file string, pixels []float32, n, size int) map[string][]float32 {
	t.Helper()
	raw := make([]byte, 4*len(pixels))
	area := size * size
	for i, v := range pixels { // to [n, 3, size, size]
		image, pixel, channel := i/(3*area), i/3%area, i%3
		binary.LittleEndian.PutUint32(raw[4*((image*3+channel)*area+pixel):], math.Float32bits(v))
	}
	input := filepath.Join(t.TempDir(), "images")
	if err := os.WriteFile(input, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(testcluster.Root(), "internal/testcluster/testdata/onnx.js"),
		modules, file, input, fmt.Sprint(n), "3", fmt.Sprint(size))
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("onnxruntime: %v\n%s", err, messages.String())
	}
	var printed map[string]struct {
		Dims []int
		Data []byte
	}
	if err := json.Unmarshal(out, &printed); err != nil {
		t.Fatal(err)
	}
	outputs := map[string][]float32{}
	for name, p := range printed {
		if len(p.Dims) != 2 || p.Dims[0] != n || len(p.Data) != 4*n*p.Dims[1] {
			t.Fatalf("%s has the shape %v and %d bytes", name, p.Dims, len(p.Data))
		}
		for at := 0; at < len(p.Data); at += 4 {
			outputs[name] = append(outputs[name], math.Float32frombits(binary.LittleEndian.Uint32(p.Data[at:])))
		}
	}
	return outputs
}

// difference is the greatest difference over the greatest value.
func difference(t *testing.T, name string, got, want []float32) float64 {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Fatalf("%s: %d values, want %d", name, len(got), len(want))
	}
	worst, largest := 0.0, 0.0
	for i, w := range want {
		worst, largest = max(worst, math.Abs(float64(got[i])-float64(w))), max(largest, math.Abs(float64(w)))
	}
	if !(largest > 1e-6) || math.IsInf(largest, 0) {
		t.Fatalf("%s: the largest value is %v, which compares nothing", name, largest)
	}
	return worst / largest
}
