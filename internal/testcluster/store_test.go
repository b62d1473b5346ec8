package testcluster_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pupil/internal/testcluster"
	"pupil/internal/teststore"
	"pupil/storage"
	"pupil/storage/dir"
	"pupil/storage/location"
)

// upload copies a folder of the examples to a store and returns its URL there.
func upload(t *testing.T, server *teststore.Server, folder string) string {
	t.Helper()
	from, err := dir.New(filepath.Join(testcluster.Root(), "deploy/examples", folder))
	if err != nil {
		t.Fatal(err)
	}
	address := server.URL(t, folder)
	to, err := location.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := from.List(t.Context(), "")
	if err != nil || len(objects) == 0 {
		t.Fatalf("%s holds %d objects, %v", folder, len(objects), err)
	}
	for _, o := range objects {
		r, err := from.Get(t.Context(), o.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if err := to.Put(t.Context(), o.Key, r, o.Size); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	return address
}

// keys gives this process, and so those that it starts, the keys of the test's stores.
func keys(t *testing.T) {
	t.Helper()
	for _, v := range teststore.Environment() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
}

// jobOnStore runs a job of two workers whose images, teacher and run lie on a store: it is killed, and goes on on what could
// be another machine, with the log of the first gone. The weights are those of a run in a folder, and no key is shown.
func jobOnStore(t *testing.T, server *teststore.Server, steps int) {
	keys(t)
	want := testcluster.Run(t, demo, short(t, steps, "--workers", "1")...)

	place := server.URL(t, "runs/one")
	args := append(short(t, steps, "--workers", "2"), "--storage", place,
		"--set", "dataset.train="+upload(t, server, "fashion-mnist/train"), "--set", "teacher.model="+upload(t, server, "fashion-teacher"))
	here := t.TempDir()
	first := testcluster.StartIn(t, here, demo, args...)
	waitForStep(t, first, 7)
	if err := first.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_, killed, code := first.Wait(t)
	if code == 0 {
		t.Fatalf("it was not killed:\n%s", killed)
	}
	there := t.TempDir()
	got, resumed, code := testcluster.StartIn(t, there, demo, append(args, "--resume")...).Wait(t)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, resumed)
	}
	expect(t, resumed, "going on after step")
	if got.WeightsSHA256 != want.WeightsSHA256 {
		t.Errorf("on the store: weights %.16s, in a folder %.16s", got.WeightsSHA256, want.WeightsSHA256)
	}
	run, err := location.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := run.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string][]byte{"messages of the first": []byte(killed), "messages of the second": []byte(resumed)}
	for _, o := range objects {
		if texts[o.Key], err = storage.ReadAll(t.Context(), run, o.Key, 1<<30); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"run.json", "summary.json", "student/model.safetensors", "student/config.json"} {
		if texts[key] == nil {
			t.Errorf("the store has no %s", key)
		}
	}
	for _, folder := range []string{here, there} {
		for name, data := range files(t, folder) {
			texts[name] = data
		}
	}
	for name, data := range texts {
		if bytes.Contains(data, []byte(teststore.SecretKey)) || bytes.Contains(data, []byte(teststore.AccessKey)) {
			t.Errorf("%s shows a key", name)
		}
	}
}

// files reads all files below a folder.
func files(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			out[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("%d files below %s, %v", len(out), folder, err)
	}
	return out
}

func TestJobOnVersity(t *testing.T) { jobOnStore(t, teststore.Versity(t), 12) }
