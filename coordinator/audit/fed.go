package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"pupil/coordinator/job"
	"pupil/storage/dataset"
)

// Record is what a worker has fed to a lane in a step: one line of JSON in its record. A step that was begun again after a
// loss has several, which must be the same.
type Record struct {
	Run     string `json:"run"`
	Worker  string `json:"worker"`
	Step    int    `json:"step"` // counted from 0
	Lane    int    `json:"lane"`
	Samples []int  `json:"samples"` // numbers of images, in the order of the micro-batch
}

// Fed compares the workers' records with the ledger.
type Fed struct {
	Agrees   bool     `json:"agrees"`
	Records  int      `json:"records"`  // of the run's committed steps
	Again    int      `json:"again"`    // of them, those of a step and lane that were fed before
	Beyond   int      `json:"beyond"`   // records of steps that were not committed
	Replaced int      `json:"replaced"` // broken images for which others stood in (dataset.broken: skip)
	Missing  int      `json:"missing"`  // committed steps and lanes that nobody has recorded
	Differ   []string `json:"differ"`   // what was fed that should not have been
}

// ReadRecords calls each with every record of a folder's *.jsonl files. The last line of a worker that was killed may be
// torn; it is left out.
func ReadRecords(folder string, each func(Record) error) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no record, that is no *.jsonl; workers write it with --record", folder)
	}
	slices.Sort(files)
	for _, name := range files {
		if err := readRecord(name, each); err != nil {
			return fmt.Errorf("record %s: %w", name, err)
		}
	}
	return nil
}

func readRecord(name string, each func(Record) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<16)
	for line := 1; ; line++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // a whole line has its end
			return nil
		}
		if err != nil {
			return err
		}
		var r Record
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		if err := each(r); err != nil {
			return err
		}
	}
}

// Compare compares the report's ledger with the records of a folder.
func (r *Report) Compare(ctx context.Context, spec *job.Spec, folder string) error {
	o, err := order(ctx, spec)
	if err != nil {
		return err
	}
	c := comparison{report: r, fed: &Fed{Differ: []string{}}, cursors: make([]*dataset.Cursor, o.Lanes), skip: spec.Dataset.Broken == job.BrokenSkip}
	for l := range c.cursors {
		c.cursors[l] = o.Cursor(l)
	}
	c.seen = make([]bool, r.Committed*o.Lanes)
	if err := ReadRecords(folder, c.add); err != nil {
		return err
	}
	for _, seen := range c.seen {
		if !seen {
			c.fed.Missing++
		}
	}
	c.fed.Agrees = c.fed.Missing == 0 && len(c.fed.Differ) == 0
	r.Fed = c.fed
	r.judge()
	return nil
}

type comparison struct {
	report  *Report
	fed     *Fed
	cursors []*dataset.Cursor
	seen    []bool // by step and lane
	skip    bool
}

func (c *comparison) add(x Record) error {
	if x.Run != c.report.Run {
		return nil
	}
	if x.Step >= c.report.Committed {
		c.fed.Beyond++
		return nil
	}
	if x.Step < 0 || x.Lane < 0 || x.Lane >= len(c.cursors) {
		c.differ("worker %s has fed lane %d in step %d, which there is not", x.Worker, x.Lane, x.Step)
		return nil
	}
	c.fed.Records++
	at := x.Step*len(c.cursors) + x.Lane
	if c.seen[at] {
		c.fed.Again++
	}
	c.seen[at] = true
	_, want := c.cursors[x.Lane].At(x.Step)
	if slices.Equal(x.Samples, want) {
		return nil
	}
	if c.skip && len(x.Samples) == len(want) {
		for i, s := range want {
			if x.Samples[i] != s {
				c.fed.Replaced++
			}
		}
		return nil
	}
	c.differ("worker %s has fed lane %d in step %d with %v instead of %v", x.Worker, x.Lane, x.Step, x.Samples, want)
	return nil
}

func (c *comparison) differ(format string, args ...any) {
	if len(c.fed.Differ) < maxListed {
		c.fed.Differ = append(c.fed.Differ, fmt.Sprintf(format, args...))
	}
}
