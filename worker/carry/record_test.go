package carry

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"pupil/coordinator/audit"
	"pupil/storage/dataset"
	"pupil/worker/feed"
)

// images hands out batches of two.
type images struct{}

func (images) Carry([]int) error { return nil }

func (images) Next(_ context.Context, lane, step int) (*feed.Batch, error) {
	return &feed.Batch{Samples: []dataset.Sample{{Index: 10*step + lane}, {Index: 7}}}, nil
}

// TestRecord reads a record with the audit's reader, also one whose worker was killed in the middle of a line.
func TestRecord(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "fed")
	for start := range 2 {
		r, err := newRecorder(images{}, folder, "faces", "w0")
		if err != nil {
			t.Fatal(err)
		}
		for lane := range 2 {
			if _, err := r.Next(t.Context(), lane, start); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(filepath.Join(folder, "w0.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`{"run":"fa`); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	if err := audit.ReadRecords(folder, func(x audit.Record) error {
		step, lane := n/2, n%2
		if x.Run != "faces" || x.Worker != "w0" || x.Step != step || x.Lane != lane || len(x.Samples) != 2 || x.Samples[0] != 10*step+lane {
			t.Errorf("record %d: %+v", n, x)
		}
		n++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n != 4 {
		t.Errorf("%d records, want 4", n)
	}
}
