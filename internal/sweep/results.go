package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// result is a line of the results: what a setting has reached with a seed.
type result struct {
	Setting           string   `json:"setting"`
	Seed              int      `json:"seed"`
	Overrides         []string `json:"overrides"`
	Epochs            float64  `json:"epochs"` // as the job gives them
	Steps             int      `json:"steps"`
	KNN               scores   `json:"knn"`
	Probe             scores   `json:"probe"`              // linear
	Accuracy          *float64 `json:"accuracy,omitempty"` // of the student's logits
	Loss              float64  `json:"loss"`               // of the last step
	MutualInformation float64  `json:"mutual_information"` // raw, of the last step, in nat
	UsedClasses       int      `json:"used_classes"`       // in the last step, over all feature groups
	Seconds           float64  `json:"seconds"`            // of training
	WeightsSHA256     string   `json:"weights_sha256"`
	JobDigest         string   `json:"job_digest"`
	Version           string   `json:"version"`
}

// scores are accuracies on the held-out images; nil: not measured.
type scores struct {
	Teacher   *float64 `json:"teacher"`
	Untrained *float64 `json:"untrained"`
	Student   *float64 `json:"student"`
}

// key is what a result is the result of.
type key struct {
	setting string
	seed    int
}

// results are the newest of each setting and seed.
type results map[key]result

// load reads a file of results, one JSON object a line. A file that is not there has none; a last line without an end
// is what a killed program left, and is cut off when the next one is appended.
func load(path string) (results, error) {
	all := results{}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	lines := bufio.NewScanner(bytes.NewReader(whole))
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		var r result
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("%s:%d: %w; mend or delete the line", path, number, err)
		}
		if r.Setting == "" || r.Probe.Student == nil || r.KNN.Student == nil {
			return nil, fmt.Errorf("%s:%d: setting or accuracy is missing; mend or delete the line", path, number)
		}
		all[key{r.Setting, r.Seed}] = r
	}
	return all, lines.Err()
}

// add appends a result in one write, after the last whole line.
func add(path string, r result) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	if err := f.Truncate(int64(end)); err != nil {
		return err
	}
	if _, err := f.WriteAt(append(line, '\n'), int64(end)); err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// has says whether the result of a setting and a seed is there, made with the same overrides and as long a training.
// Other changes of the base job it does not see.
func (all results) has(s setting, seed int, b budget) bool {
	r, ok := all[key{s.name, seed}]
	return ok && r.Epochs == b.epochs && (b.steps == 0 || r.Steps == b.steps) && slices.Equal(r.Overrides, s.overrides)
}

// baselines says whether a result with this seed has the teacher's and the untrained student's accuracy.
func (all results) baselines(seed int) bool {
	for k, r := range all {
		if k.seed == seed && r.Probe.Teacher != nil && r.Probe.Untrained != nil {
			return true
		}
	}
	return false
}

// of are the results of a setting, by seed.
func (all results) of(name string) []result {
	var found []result
	for _, r := range all {
		if r.Setting == name {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b result) int { return a.Seed - b.Seed })
	return found
}
