package carry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"pupil/worker/feed"
	"pupil/worker/train"
)

// recorder writes down what a worker feeds to its lanes, for `coordinator audit --record`: a line of JSON for each
// micro-batch, appended at once, so that a kill loses none but the one that it tears.
type recorder struct {
	train.Source
	run, worker string

	mu   sync.Mutex
	file *os.File
}

// record is a line. package audit reads it.
type record struct {
	Run     string `json:"run"`
	Worker  string `json:"worker"`
	Step    int    `json:"step"` // counted from 0
	Lane    int    `json:"lane"`
	Samples []int  `json:"samples"` // numbers of images, in the order of the micro-batch
}

// newRecorder appends to WORKER.jsonl in a folder.
func newRecorder(s train.Source, folder, run, worker string) (*recorder, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(folder, worker+".jsonl"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return &recorder{Source: s, run: run, worker: worker, file: f}, endLine(f)
}

// endLine ends the line that an earlier process was killed in.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	return f.Truncate(lineStart(f, info.Size()))
}

// lineStart is where the last, torn line begins.
func lineStart(f *os.File, end int64) int64 {
	b := make([]byte, 1)
	for end > 0 {
		if _, err := f.ReadAt(b, end-1); err != nil || b[0] == '\n' {
			return end
		}
		end--
	}
	return 0
}

// Next implements train.Source.
func (r *recorder) Next(ctx context.Context, lane, step int) (*feed.Batch, error) {
	b, err := r.Source.Next(ctx, lane, step)
	if err != nil {
		return nil, err
	}
	x := record{Run: r.run, Worker: r.worker, Step: step, Lane: lane, Samples: make([]int, len(b.Samples))}
	for i, s := range b.Samples {
		x.Samples[i] = s.Index
	}
	line, err := json.Marshal(x)
	if err == nil {
		r.mu.Lock()
		_, err = r.file.Write(append(line, '\n'))
		r.mu.Unlock()
	}
	if err != nil {
		b.Release()
		return nil, fmt.Errorf("record what was fed: %w", err)
	}
	return b, nil
}

func (r *recorder) close() error {
	if r == nil {
		return nil
	}
	return errors.Join(r.file.Sync(), r.file.Close())
}
