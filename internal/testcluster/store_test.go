package testcluster_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pupil/coordinator/wire"
	"pupil/internal/testcluster"
	"pupil/internal/teststore"
	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/storage/location"
	"pupil/storage/safetensors"
	"pupil/worker/nn"
	"pupil/worker/student"
)

// jobOnStore runs a job of two workers whose images, teacher and run lie on a store: it is killed, and goes on on what could
// be another machine, with the log of the first gone. The weights are those of a run in a folder, and no key is shown.
func jobOnStore(t *testing.T, server *teststore.Server, steps int) {
	teststore.SetEnvironment(t)
	want := testcluster.Run(t, demo, short(t, steps, "--workers", "1")...)

	place := server.URL(t, "runs/one")
	examples := filepath.Join(testcluster.Root(), "deploy/examples")
	args := append(short(t, steps, "--workers", "2"), "--storage", place,
		"--set", "dataset.train="+server.Upload(t, filepath.Join(examples, "fashion-mnist/train"), "train"),
		"--set", "teacher.model="+server.Upload(t, filepath.Join(examples, "fashion-teacher"), "teacher"))
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
	commands(t, place, steps)
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
	expectProvenance(t, texts["student/config.json"], steps)
	v, err := student.Verify(t.Context(), storage.Prefix(run, wire.StudentFolder), run)
	if err != nil || v.Weights != want.WeightsSHA256 || len(v.Agreed) != 3 || v.Provenance.Weights != v.Weights {
		t.Errorf("the student in the store: %+v, %v; want the weights %s", v, err, want.WeightsSHA256)
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

// expectProvenance looks at a config.json's.
func expectProvenance(t *testing.T, data []byte, steps int) {
	t.Helper()
	var c nn.ModelConfig
	if err := json.Unmarshal(data, &c); err != nil || c.Provenance == nil {
		t.Errorf("a config.json of %q: %v", data, err)
		return
	}
	if p := c.Provenance; len(p.Job) != 64 || len(p.Dataset) != 64 || len(p.Teacher) != 64 || p.Kernel == "" || p.Step != steps ||
		p.Seed != 1 || p.CodeVersion == "" {
		t.Errorf("the student's provenance is %+v", p)
	}
}

// exported looks at the student of an exported checkpoint: a folder like that of a finished run, whose weights say what made
// them.
func exported(t *testing.T, folder string, steps int) {
	t.Helper()
	b, err := location.Open(t.Context(), "file://"+filepath.Join(folder, "student"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, c, _, err := nn.LoadFolder(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	expectProvenance(t, data, steps)
	if v, err := student.Verify(t.Context(), b, nil); err != nil || len(v.Agreed) != 2 {
		t.Errorf("the student of a checkpoint: %+v, %v", v, err)
	}
	for _, name := range []string{"student.safetensors", "student/model.safetensors"} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := safetensors.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(c.Provenance)
		if err != nil || f.Metadata[wire.ProvenanceMetadata] != string(want) {
			t.Errorf("%s says of itself %q, want %s", name, f.Metadata, want)
		}
	}
}

// commands tries what a user does with a run and a dataset on a store.
func commands(t *testing.T, place string, steps int) {
	t.Helper()
	data, raw, here := place+"-data", place+"-raw", t.TempDir()
	// The run's URL has parameters: those of the others are put in front of them.
	if run, parameters, ok := strings.Cut(place, "?"); ok {
		data, raw = run+"-data?"+parameters, run+"-raw?"+parameters
	}
	bucket, err := location.Open(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		image := fmt.Appendf(nil, "P5 3 2 255 %06d", i)
		if err := storage.WriteAll(t.Context(), bucket, fmt.Sprintf("%c/%d.pgm", 'a'+i%2, i), image); err != nil {
			t.Fatal(err)
		}
	}
	if err := storage.WriteAll(t.Context(), bucket, "a/broken.png", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{0, "finished", []string{"checkpoints", "list", place}},
		{0, `"step": ` + strconv.Itoa(steps), []string{"checkpoints", "list", place, "--json"}},
		{0, "is whole", []string{"checkpoints", "verify", place}},
		{1, "not whole", []string{"checkpoints", "verify", place, "1"}},
		{0, "would delete checkpoint of step", []string{"checkpoints", "prune", place, "--keep", "1", "--dry-run"}},
		{0, "deleted checkpoint of step", []string{"checkpoints", "prune", place, "--keep", "1"}},
		{0, "nothing to delete", []string{"checkpoints", "prune", place, "--keep", "1"}},
		{0, "is in file:", []string{"checkpoints", "export", place, "latest", here}},
		{2, "is no step", []string{"checkpoints", "export", place, "newest", here}},
		{1, "--keep-going", []string{"data", "import", raw, data}},
		{0, "left out: 1 image", []string{"data", "import", raw, data, "--keep-going", "--shard-size", "2", "--refused", here + "/refused.jsonl"}},
		{1, "holds a packed dataset already", []string{"data", "import", raw, data, "--keep-going"}},
		{0, "5 of 5", []string{"data", "verify", data}},
		{0, `"longer side up to 4": 5|up to 4 `, []string{"data", "inspect", data, "--sheet", here + "/sheet.png"}},
		{2, "PUPIL_S3_ACCESS_KEY", []string{"run", demo, "--storage", "s3://key:hunter2@bucket/x"}},
	} {
		cmd := exec.CommandContext(t.Context(), testcluster.Build(t).Coordinator, c.args...)
		cmd.Dir = testcluster.Root()
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.args, code, c.code)
		}
		expect(t, string(out), c.want)
		if bytes.Contains(out, []byte("hunter2")) || bytes.Contains(out, []byte(teststore.SecretKey)) {
			t.Errorf("%v shows a key: %s", c.args, out)
		}
	}
	exported(t, here, steps)
	for _, name := range []string{"student.safetensors", "manifest.json", "refused.jsonl", "sheet.png"} {
		if info, err := os.Stat(filepath.Join(here, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
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

// TestStoreAway has the store out of reach while a job runs: it goes on, saves when the store is back, and gives the same
// weights.
func TestStoreAway(t *testing.T) {
	teststore.SetEnvironment(t)
	const steps = 30
	want := testcluster.Run(t, demo, short(t, steps, "--workers", "1")...)
	server := teststore.Versity(t)
	line := teststore.Between(t, server)
	place := line.URL(t, "runs/away")
	job := testcluster.StartIn(t, t.TempDir(), demo, append(short(t, steps, "--workers", "2"), "--storage", place)...)
	waitForStep(t, job, 6)
	line.Cut()
	waitForStep(t, job, 21)
	line.Mend()
	got, messages, code := job.Wait(t)
	if code != 0 || got.WeightsSHA256 != want.WeightsSHA256 {
		t.Errorf("exit code %d, weights %.16s, want %.16s\n%s", code, got.WeightsSHA256, want.WeightsSHA256, messages)
	}
	b, err := location.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	if m, passed, err := checkpoint.Latest(t.Context(), b); err != nil || m.Step != steps || len(passed) != 0 || m.Metrics["loss"] == 0 {
		t.Errorf("the newest checkpoint is %+v, passed over %v, %v", m, passed, err)
	}
}

// TestDamagedCheckpoint resumes a run whose newest checkpoint has lost a bit: it goes on from the one before, an event says why, and
// the weights are those of a run that nothing disturbs.
func TestDamagedCheckpoint(t *testing.T) {
	const steps, every = 12, 2
	settings := []string{"--workers", "1", "--set", "checkpoint.every=" + strconv.Itoa(every)}
	args := short(t, steps, settings...)
	want := testcluster.Run(t, demo, short(t, steps, settings...)...)
	first := testcluster.Start(t, demo, args...)
	waitForStep(t, first, 6)
	if err := first.Cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if s, messages, code := first.Wait(t); code != 1 || s.Outcome != "stopped" {
		t.Fatalf("exit code %d, %+v\n%s", code, s, messages)
	}
	b, err := location.Open(t.Context(), "file://"+args[slices.Index(args, "--storage")+1])
	if err != nil {
		t.Fatal(err)
	}
	infos, err := checkpoint.List(t.Context(), b)
	if err != nil || len(infos) < 2 {
		t.Fatalf("%+v, %v", infos, err)
	}
	newest, before := infos[0].Step, infos[1].Step
	objects, err := b.List(t.Context(), fmt.Sprintf("checkpoints/%08d/student-", newest))
	if err != nil || len(objects) != 1 {
		t.Fatal(objects, err)
	}
	data, err := storage.ReadAll(t.Context(), b, objects[0].Key, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := storage.WriteAll(t.Context(), b, objects[0].Key, data); err != nil {
		t.Fatal(err)
	}
	got, messages, code := testcluster.Start(t, demo, append(args, "--resume")...).Wait(t)
	if code != 0 || got.WeightsSHA256 != want.WeightsSHA256 {
		t.Errorf("exit code %d, weights %.16s, want %.16s\n%s", code, got.WeightsSHA256, want.WeightsSHA256, messages)
	}
	expect(t, messages, fmt.Sprintf("checkpoint of step %d is not used: .*has SHA-256", newest))
	expect(t, messages, "going on after step "+strconv.Itoa(before))
}
