package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pupil/internal/teststore"
	"pupil/storage"
	"pupil/storage/location"
)

func TestStudentOnVersity(t *testing.T) { onStore(t, teststore.Versity(t)) }

// onStore uses a student that lies on a store, with images, a head, a gallery and exports there as well. The results are
// those of folders.
func onStore(t *testing.T, server *teststore.Server) {
	teststore.SetEnvironment(t)
	here, pictures := copied(t), corners(t)
	tarred := t.TempDir()
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	if err := errors.Join(w.AddFS(os.DirFS(pictures)), w.Close(), os.WriteFile(filepath.Join(tarred, "all.tar"), packed.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	there, album := server.Upload(t, here, "models/student"), server.Upload(t, pictures, "photos")
	dataset, two := server.Upload(t, test, "test"), server.Upload(t, tarred, "tars")
	below := func(address, name string) string {
		path, parameters, _ := strings.Cut(address, "?")
		return path + "/" + name + "?" + parameters
	}
	run := func(name string, stdin []byte, args ...string) string {
		t.Helper()
		for _, cmd := range commands() {
			if cmd.Name() == name {
				text, messages, err := perform(cmd, stdin, args...)
				if err != nil {
					t.Fatalf("%s %q: %v", name, args, err)
				}
				if strings.Contains(text+messages, teststore.SecretKey) {
					t.Errorf("%s shows a key: %s%s", name, text, messages)
				}
				return text
			}
		}
		t.Fatalf("there is no %s", name)
		return ""
	}
	// values are the lines without the images' names.
	values := func(csv string) string {
		var b strings.Builder
		for line := range strings.Lines(csv) {
			_, rest, _ := strings.Cut(line, ",")
			b.WriteString(rest)
		}
		return b.String()
	}
	for name, place := range map[string]struct {
		local, remote string
		stdin         []byte
	}{
		"folder":         {local: pictures, remote: album},
		"image":          {local: filepath.Join(pictures, "near", "3.png"), remote: below(album, "near/3.png")},
		"glob":           {local: filepath.Join(pictures, "far", "*.png"), remote: below(album, "far/*.png")},
		"packed dataset": {local: test, remote: dataset},
		"tar file":       {local: filepath.Join(tarred, "all.tar"), remote: below(two, "all.tar")},
		"standard input": {local: "-", remote: "-", stdin: square(t, 5)},
	} {
		want := run("extract", place.stdin, here, place.local, "--format", "csv")
		if got := run("extract", place.stdin, there, place.remote, "--format", "csv"); values(got) != values(want) || strings.Contains(got, "endpoint") {
			t.Errorf("%s: %.200s\nwant %.200s", name, got, want)
		}
	}

	run("fit-head", nil, there, album)
	run("fit-head", nil, here, pictures)
	want := run("classify", square(t, 3), here, "-")
	if got := run("classify", square(t, 3), there, "-"); got != want || !strings.HasPrefix(got, "-\tnear ") {
		t.Errorf("classify: %q, want %q", got, want)
	}
	people := below(album, "people.gallery")
	run("enroll", nil, there, album, "--gallery", people)
	if got := run("identify", square(t, 3), there, "-", "--gallery", people); !strings.HasPrefix(got, "-\tnear\tnear 1.0000") {
		t.Errorf("identify: %q", got)
	}
	if got, want := run("inspect", nil, there), run("inspect", nil, here); got != want {
		t.Errorf("inspect: %q, want %q", got, want)
	}
	if got := run("eval", nil, there, "--train", album, "--test", album, "--corruptions=false"); !strings.Contains(got, "retrieval") {
		t.Errorf("eval: %q", got)
	}
	for _, file := range []string{"x.onnx", "x.safetensors"} {
		local := filepath.Join(t.TempDir(), file)
		run("export", nil, here, "--out", local)
		run("export", nil, there, "--out", below(two, file))
		place, key, err := location.Split(below(two, file))
		if err != nil {
			t.Fatal(err)
		}
		b, err := location.Open(t.Context(), place)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := storage.ReadAll(t.Context(), b, key, 1<<30); err != nil || string(got) != string(read(t, local)) {
			t.Errorf("%s: %d bytes, %v, which are not those of a folder", file, len(got), err)
		}
	}
	url, end := serving(t, there, "--gallery", people)
	for _, path := range []string{"/v1/classify", "/v1/identify"} {
		response, err := http.Post(url+path, "image/png", bytes.NewReader(square(t, 3)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != 200 || !strings.Contains(string(body), "near") {
			t.Errorf("%s: %d %s, %v", path, response.StatusCode, body, err)
		}
	}
	if err := end(); err != nil {
		t.Errorf("serve ended with %v", err)
	}
}
