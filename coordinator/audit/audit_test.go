package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pupil/coordinator/audit"
	"pupil/coordinator/job"
	"pupil/storage/dataset"
	"pupil/storage/dir"
)

const (
	images = 103
	batch  = 8
	lanes  = 4
)

// packed makes a job over a dataset of images that nobody decodes.
func packed(t *testing.T, more string) (*job.Spec, dataset.Order) {
	t.Helper()
	folder := t.TempDir()
	b, err := dir.New(folder)
	if err != nil {
		t.Fatal(err)
	}
	w, err := dataset.NewWriter(b, dataset.WriterOptions{Classes: []string{"a"}, ShardSize: 30})
	if err != nil {
		t.Fatal(err)
	}
	var black bytes.Buffer
	if err := png.Encode(&black, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		t.Fatal(err)
	}
	for i := range images {
		if err := w.Add(t.Context(), fmt.Sprintf("%d.png", i), 0, black.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`
name: j
seed: 9
dataset: {train: "file://%s"%s}
student: {architecture: mobilenet_v2_cifar, outputs: 10}
lanes: %d
batch: %d
epochs: 3
loss: [{name: cross_entropy}]
`, filepath.ToSlash(folder), more, lanes, batch)
	spec, err := job.Decode([]byte(text), "job.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := dataset.Open(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	m := d.Manifest()
	return spec, dataset.Order{
		Count: images, Batch: batch, Lanes: lanes, Chunk: spec.Dataset.Chunk, ShardCounts: m.ShardCounts(), Seed: 9,
	}
}

func TestRun(t *testing.T) {
	spec, o := packed(t, "")
	spans := []audit.Span{{Generation: 1, From: 0, To: 7}, {Generation: 3, From: 7, To: 31}}
	r, err := audit.Run(t.Context(), spec, audit.Ledger{Run: "a", Committed: 31, Spans: spans})
	if err != nil {
		t.Fatal(err)
	}
	if !r.ExactlyOnce || !r.Gapless || r.Epochs != 2 || r.Uses != 31*batch || r.StepsPerEpoch != 12 || r.Total != 36 ||
		len(r.Missing) != 0 || len(r.Repeated) != 0 || len(r.LeftOut) != 2 || r.Committed != 31 {
		t.Errorf("report %+v", r)
	}
	for i, l := range r.LeftOut {
		want := o.LeftOut(i)
		slices.Sort(want)
		if l.Epoch != i || !slices.Equal(l.Samples, want) || len(want) != images-12*batch {
			t.Errorf("left out %+v, want %v", l, want)
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"exactly_once", "missing", "repeated", "left_out", "committed_steps"} {
		if !strings.Contains(string(data), `"`+key+`":`) {
			t.Errorf("the report has no %s: %s", key, data)
		}
	}
	if r, err = audit.Run(t.Context(), spec, audit.Ledger{}); err != nil || !r.ExactlyOnce || r.Uses != 0 {
		t.Errorf("nothing committed: %+v, error %v", r, err)
	}
}

func TestGaps(t *testing.T) {
	spec, _ := packed(t, "")
	for want, l := range map[string]audit.Ledger{
		"50 steps are committed, the job has 36": {Committed: 50},
		"the steps 6 to 9, after step 4":         {Committed: 9, Spans: []audit.Span{{1, 0, 4}, {2, 5, 9}}},
		"the steps 4 to 9, after step 4":         {Committed: 9, Spans: []audit.Span{{1, 0, 4}, {2, 3, 9}}},
		"nobody has committed the steps 5 to 9":  {Committed: 9, Spans: []audit.Span{{1, 0, 4}}},
		"generation 1 comes after generation 2":  {Committed: 9, Spans: []audit.Span{{2, 0, 4}, {1, 4, 9}}},
		"the steps 2 to 4, after step 0":         {Committed: 4, Spans: []audit.Span{{1, 1, 4}}},
	} {
		r, err := audit.Run(t.Context(), spec, l)
		if err != nil {
			t.Fatal(err)
		}
		if r.Gapless || r.ExactlyOnce || !strings.Contains(strings.Join(r.Gaps, "\n"), want) {
			t.Errorf("gaps %q, want %q", r.Gaps, want)
		}
	}
}

// write writes what workers feed in some steps, changed by change, and returns the folder.
func write(t *testing.T, o dataset.Order, steps int, change func(*audit.Record) bool) string {
	t.Helper()
	folder := t.TempDir()
	for lane := range lanes {
		var text strings.Builder
		cursor := o.Cursor(lane)
		for step := range steps {
			_, samples := cursor.At(step)
			r := audit.Record{Run: "a", Worker: fmt.Sprintf("w%d", lane%2), Step: step, Lane: lane, Samples: slices.Clone(samples)}
			if change != nil && !change(&r) {
				continue
			}
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(append(line, '\n'))
		}
		text.WriteString(`{"run": "a", "torn`)
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("w-%d.jsonl", lane)), []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestCompare(t *testing.T) {
	spec, o := packed(t, "")
	compare := func(spec *job.Spec, folder string) *audit.Fed {
		t.Helper()
		r, err := audit.Run(t.Context(), spec, audit.Ledger{Run: "a", Committed: 14})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Compare(t.Context(), spec, folder); err != nil {
			t.Fatal(err)
		}
		if r.ExactlyOnce != r.Fed.Agrees {
			t.Errorf("exactly once: %v, with %+v", r.ExactlyOnce, r.Fed)
		}
		return r.Fed
	}
	if f := compare(spec, write(t, o, 15, nil)); !f.Agrees || f.Records != 14*lanes || f.Beyond != lanes {
		t.Errorf("as ordered: %+v", f)
	}
	if f := compare(spec, write(t, o, 14, func(r *audit.Record) bool { return r.Step != 3 || r.Lane != 1 })); f.Agrees || f.Missing != 1 {
		t.Errorf("a step that was not fed: %+v", f)
	}
	swap := func(r *audit.Record) bool {
		if r.Step == 3 && r.Lane == 1 {
			r.Samples[0], r.Samples[1] = r.Samples[1], r.Samples[0]
		}
		return true
	}
	if f := compare(spec, write(t, o, 14, swap)); f.Agrees || len(f.Differ) != 1 || !strings.Contains(f.Differ[0], "worker w1 has fed lane 1 in step 3") {
		t.Errorf("fed in another order: %+v", f)
	}
	skipping, _ := packed(t, ", broken: skip")
	if f := compare(skipping, write(t, o, 14, swap)); !f.Agrees || f.Replaced != 2 {
		t.Errorf("with images replaced: %+v", f)
	}
	if f := compare(spec, write(t, o, 14, func(r *audit.Record) bool {
		if r.Step == 3 {
			r.Lane = 7
		}
		return true
	})); f.Agrees || f.Missing != lanes {
		t.Errorf("a lane that there is not: %+v", f)
	}
	r, err := audit.Run(t.Context(), spec, audit.Ledger{Run: "a", Committed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Compare(t.Context(), spec, t.TempDir()); err == nil || !strings.Contains(err.Error(), "no record") {
		t.Errorf("no records: error %v", err)
	}
}
