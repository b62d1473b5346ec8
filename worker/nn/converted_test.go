//go:build torch

package nn_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"pupil/storage/dir"
	"pupil/worker/nn"
)

// makeNetwork saves weights as PyTorch does, and what they compute. Statistics are no longer those of a new network.
const makeNetwork = `
import torch, torchvision
torch.manual_seed(1)
m = torchvision.models.resnet50(num_classes=10)
x = torch.randn(2, 3, 64, 64)
with torch.no_grad():
    for _ in range(3):
        m(x)
    m.eval()
    y = m(x)
torch.save(m.state_dict(), "resnet50.pth")
x.permute(0, 2, 3, 1).contiguous().numpy().tofile("input")
y.numpy().tofile("logits")
`

// TestConverted turns a .pth file into a model by the line of docs/networks.md, and compares what both networks compute.
func TestConverted(t *testing.T) {
	page, err := os.ReadFile("../../docs/networks.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ {4}(python3 -c '.*resnet50\.pth.*model\.safetensors.*')$`).FindSubmatch(page)
	if line == nil {
		t.Fatal("docs/networks.md has no line that converts resnet50.pth")
	}
	folder := t.TempDir()
	for _, command := range []*exec.Cmd{exec.Command("python3", "-c", makeNetwork), exec.Command("sh", "-c", string(line[1]))} {
		command.Dir = folder
		command.Env = append(os.Environ(), "PATH=/usr/bin:/bin") // Debian's Python, which has its torch
		if command.Args[0] == "python3" {
			command.Path = "/usr/bin/python3"
		}
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	config := `{"architecture":"resnet50","width":1,"outputs":10,"size":64,"channels":3}`
	if err := os.WriteFile(filepath.Join(folder, nn.ConfigFile), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := dir.New(folder)
	if err != nil {
		t.Fatal(err)
	}
	n, s, _, _, err := nn.LoadFolder(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	inference, err := n.NewInference(s, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer inference.Close()
	_, logits, err := inference.Run(readFloats(t, filepath.Join(folder, "input")))
	if err != nil {
		t.Fatal(err)
	}
	if e := relativeError(t, "logits", logits, readFloats(t, filepath.Join(folder, "logits"))); !(e <= tolerance) {
		t.Errorf("the logits differ by %.2g of the largest", e)
	}
}

// readFloats reads a file of little-endian float32.
func readFloats(t *testing.T, path string) []float32 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := make([]float32, len(data)/4)
	if _, err := binary.Decode(data, binary.LittleEndian, v); err != nil {
		t.Fatal(err)
	}
	return v
}
