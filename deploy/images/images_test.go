package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// build are the programs of this tree for this machine's kind of processor.
func build(t *testing.T) map[string][]byte {
	t.Helper()
	folder := t.TempDir()
	cmd := exec.Command("go", "build", "-o", folder+"/", "./coordinator", "./worker")
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found := map[string][]byte{}
	for _, p := range programs {
		data, err := os.ReadFile(filepath.Join(folder, p))
		if err != nil {
			t.Fatal(err)
		}
		found[p] = data
	}
	return found
}

// archive writes a release's archive with some programs.
func archive(t *testing.T, folder, arch string, binaries map[string][]byte) {
	t.Helper()
	f, err := os.Create(filepath.Join(folder, "pupil-v9-linux-"+arch+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(binaries)) {
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: "pupil-v9/bin/" + name, Mode: 0o755, Size: int64(len(binaries[name]))}))
		_, writing := w.Write(binaries[name])
		err = errors.Join(err, writing)
	}
	if err := errors.Join(err, w.Close(), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestImages packs the programs and reads the images back: whole, for both kinds of machines, as the Containerfile makes them. The
// program in them runs, and another run gives the same bytes.
func TestImages(t *testing.T) {
	own := build(t)
	folder := t.TempDir()
	for _, arch := range architectures {
		there := own
		if arch != runtime.GOARCH {
			there = map[string][]byte{"coordinator": []byte("a coordinator for " + arch), "worker": []byte("a worker for " + arch)}
		}
		archive(t, folder, arch, there)
	}
	args := []string{folder, "v9", "1700000000"}
	if err := run(args); err != nil {
		t.Fatal(err)
	}
	first := map[string][]byte{}
	for _, p := range programs {
		first[p] = read(t, filepath.Join(folder, "pupil-"+p+"-v9.oci.tar"))
		index := unpack(t, first[p])
		if err := validate.Index(index); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		m, err := index.IndexManifest()
		if err != nil || len(m.Manifests) != 1 {
			t.Fatalf("%s: %+v, %v", p, m, err)
		}
		for key, want := range map[string]string{
			"org.opencontainers.image.ref.name": "pupil/" + p + ":v9", "io.containerd.image.name": "docker.io/pupil/" + p + ":v9",
		} {
			if got := m.Manifests[0].Annotations[key]; got != want {
				t.Errorf("%s: %s is %q, want %q", p, key, got, want)
			}
		}
		images, err := index.ImageIndex(m.Manifests[0].Digest)
		if err != nil {
			t.Fatal(err)
		}
		if m, err = images.IndexManifest(); err != nil || len(m.Manifests) != len(architectures) {
			t.Fatalf("%s: %+v, %v", p, m, err)
		}
		for n, d := range m.Manifests {
			i, err := images.Image(d.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if d.Platform.OS != "linux" || d.Platform.Architecture != architectures[n] {
				t.Errorf("%s: image %d is for %v", p, n, d.Platform)
			}
			checkConfig(t, p, architectures[n], i)
			checkFiles(t, p, i, own[p], architectures[n] == runtime.GOARCH)
		}
	}
	if err := run(args); err != nil {
		t.Fatal(err)
	}
	for p, want := range first {
		if !bytes.Equal(read(t, filepath.Join(folder, "pupil-"+p+"-v9.oci.tar")), want) {
			t.Errorf("%s: another run gives other bytes", p)
		}
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 4 {
		t.Errorf("%v, %v", left, err)
	}
}

// unpack writes the files of a layout into a folder and opens it.
func unpack(t *testing.T, data []byte) v1.ImageIndex {
	t.Helper()
	folder := t.TempDir()
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(folder, h.Name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err = errors.Join(err, os.WriteFile(file, text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// checkConfig wants an image to say what the Containerfile says.
func checkConfig(t *testing.T, program, arch string, i v1.Image) {
	t.Helper()
	c, err := i.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c.OS != "linux" || c.Architecture != arch || c.Created.Unix() != 1700000000 {
		t.Errorf("%s: it is for %s/%s, of %v", program, c.OS, c.Architecture, c.Created)
	}
	open := slices.Sorted(maps.Keys(c.Config.ExposedPorts))
	got := fmt.Sprintf("ENV %s\nUSER %s\nWORKDIR %s\nEXPOSE %s\nENTRYPOINT [%q]\nCMD [%q]\n", strings.Join(c.Config.Env, " "), c.Config.User,
		c.Config.WorkingDir, strings.ReplaceAll(strings.Join(open, " "), "/tcp", ""), strings.Join(c.Config.Entrypoint, " "), strings.Join(c.Config.Cmd, " "))
	_, stage, ok := strings.Cut(string(read(t, "../Containerfile")), "FROM scratch AS "+program+"\n")
	stage, _, _ = strings.Cut(stage, "\n\n")
	if !ok || !strings.HasSuffix(strings.TrimSpace(stage)+"\n", got) {
		t.Errorf("%s: the image has\n%s\nthe Containerfile\n%s", program, got, stage)
	}
}

// checkFiles wants the files of an image to be for a user without rights, and its program to run, when it is of this machine's kind.
func checkFiles(t *testing.T, program string, i v1.Image, binary []byte, runs bool) {
	t.Helper()
	r := mutate.Extract(i)
	defer r.Close()
	found := map[string]*tar.Header{}
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		found[strings.Trim(h.Name, "/")] = h
		if h.Name != program || !runs {
			continue
		}
		file := filepath.Join(t.TempDir(), program)
		data, err := io.ReadAll(files)
		if err = errors.Join(err, os.WriteFile(file, data, h.FileInfo().Mode())); err != nil || !bytes.Equal(data, binary) {
			t.Fatalf("%s: %d bytes, want %d; %v", program, len(data), len(binary), err)
		}
		cmd := exec.Command(file, "--version")
		cmd.Env = []string{}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), program+" ") || !strings.Contains(string(out), "numerics") {
			t.Errorf("%s --version: %v\n%s", program, err, out)
		}
	}
	_, stage, _ := strings.Cut(string(read(t, "../Containerfile")), "RUN mkdir -p ")
	stage, _, _ = strings.Cut(stage, "&&")
	for name := range strings.FieldsSeq(stage) { // the folders that the Containerfile makes
		name, own := strings.CutPrefix(name, "/own/")
		if h := found[name]; own && (h == nil || h.Uid != user || h.Gid != user || !h.FileInfo().IsDir()) {
			t.Errorf("%s: the folder %s is %+v", program, name, h)
		}
	}
	if h := found["etc/ssl/certs/ca-certificates.crt"]; h == nil || h.Size < 100_000 || h.Uid != 0 {
		t.Errorf("%s: authorities %+v", program, h)
	}
	if h := found[program]; h == nil || h.Mode != 0o755 || h.Uid != 0 {
		t.Errorf("%s: program %+v", program, h)
	}
}

// TestWrongUse wants an error that says what is missing, and no file.
func TestWrongUse(t *testing.T) {
	empty, half := t.TempDir(), t.TempDir()
	archive(t, half, "amd64", map[string][]byte{"worker": []byte("x")})
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "got 0 arguments"},
		{[]string{empty, "v9", "yesterday"}, `the time is "yesterday"`},
		{[]string{empty, "v9", "0"}, "pupil-v9-linux-amd64.tar.gz: no such file or directory; make dist makes it"},
		{[]string{half, "v9", "0"}, "pupil-v9-linux-amd64.tar.gz has no bin/coordinator"},
	} {
		if err := run(c.args); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.args, err, c.want)
		}
	}
	if left, err := filepath.Glob(half + "/*.oci.tar*"); err != nil || len(left) > 0 {
		t.Errorf("%s, %v", left, err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
