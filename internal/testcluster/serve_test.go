//go:build e2e

package testcluster_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pupil/internal/testcluster"
	"pupil/worker/student/images"
)

// served starts worker serve and returns its URL. stop ends it as Ctrl-C does, and wants it to end well.
func served(t *testing.T, args ...string) (url string, stop func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testcluster.Build(t).Worker, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_, url, ok := strings.Cut(strings.TrimSpace(line), " on ")
	if err != nil || !ok {
		_, _ = io.Copy(io.Discard, out)
		t.Fatalf("worker serve says %q: %v, %v\n%s", line, err, cmd.Wait(), messages.String())
	}
	return url, func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("worker serve ended with %v\n%s", err, messages.String())
		}
	}
}

// TestStudentOnAPage drops an image on the page of worker serve in Debian's Chromium.
func TestStudentOnAPage(t *testing.T) {
	modules, browser := script(t, "node"), script(t, "browser")
	root := testcluster.Root()
	test := filepath.Join(root, "deploy/examples/fashion-mnist/test")
	folder := t.TempDir()
	people := filepath.Join(folder, "clothes.gallery")
	teacher := filepath.Join(root, "deploy/examples/fashion-teacher")
	worker(t, "enroll", teacher, test, "--gallery", people, "--false-accept", "0.2")

	set, err := images.Open(t.Context(), []string{test}, nil)
	if err != nil {
		t.Fatal(err)
	}
	image, broken, class := filepath.Join(folder, "image.png"), filepath.Join(folder, "broken.png"), ""
	for item, err := range set.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		data, err := item.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(image, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(broken, data[:len(data)/2], 0o644); err != nil {
			t.Fatal(err)
		}
		class = set.Classes[item.Label]
		break
	}
	url, stop := served(t, teacher, "--gallery", people)
	picture := filepath.Join(folder, "page.png")
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(root, "internal/testcluster/testdata/page.js"), modules, browser, url,
		image, broken, picture)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the browser: %v\n%s", err, messages.String())
	}
	stop()
	var said struct {
		Errors, Elsewhere, Headings, Rows []string
		About, Error                      string
		Width                             int
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if len(said.Errors)+len(said.Elsewhere) > 0 {
		t.Errorf("errors %q, requests to others %q", said.Errors, said.Elsewhere)
	}
	if said.About != "resnet10_cifar, 128 features, 10 classes, 10 identities" || said.Width != 28 {
		t.Errorf("it says %q of an image %d wide", said.About, said.Width)
	}
	if len(said.Headings) != 2 || said.Headings[0] != class || said.Headings[1] != class || len(said.Rows) != 10 || !slices.Contains(said.Rows, class) {
		t.Errorf("the answer to %s: %q, %q", class, said.Headings, said.Rows)
	}
	if !strings.Contains(said.Error, "decode PNG image") {
		t.Errorf("of half an image it says %q", said.Error)
	}
	f, err := os.Open(picture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c, err := png.DecodeConfig(f); err != nil || c.Width < 400 {
		t.Errorf("the screenshot: %+v, %v", c, err)
	}
}
