package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// fedEvery is how often the workers' records are looked at.
const fedEvery = 10 * time.Millisecond

// watch follows the records of what workers feed, in a folder, until end is called: a worker that feeds a step has committed all
// before it.
func (t *timeline) watch(ctx context.Context, folder string) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		read := map[string]int64{} // bytes, by file
		for pause(ctx, fedEvery) == nil {
			files, _ := filepath.Glob(filepath.Join(folder, "*.jsonl")) // of a good pattern
			for _, f := range files {
				step, size := newestFed(f, read[f])
				read[f] = size
				t.seen(step, time.Now())
			}
		}
	})
	return func() { cancel(); wait.Wait() }
}

// newestFed is the newest step in the whole lines of a file that begin at an offset, and where the next one will begin. A file
// that cannot be read has none.
func newestFed(file string, from int64) (step int, next int64) {
	f, err := os.Open(file)
	if err != nil {
		return 0, from
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, from, 1<<40))
	if err != nil {
		return 0, from
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	for line := range bytes.Lines(data[:end]) {
		var r struct {
			Step int `json:"step"`
		}
		if json.Unmarshal(line, &r) == nil {
			step = max(step, r.Step)
		}
	}
	return step, from + int64(end)
}
