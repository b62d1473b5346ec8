package main

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"pupil/internal/contest"
	"pupil/internal/kernel"
	"pupil/internal/version"
)

// measured is what one side of a pair took: times, or bytes.
type measured struct {
	cost
	Bytes int64   `json:"bytes,omitempty"`
	Rate  float64 `json:"rate,omitempty"` // GFLOP/s
}

// sample is one pair of runs.
type sample struct {
	Ours measured `json:"ours"`
	Peer measured `json:"peer"`
}

// result is a case's line, and what is behind it.
type result struct {
	Name    string  `json:"name"`
	Ours    float64 `json:"ours"` // median
	Peer    float64 `json:"peer"` // median
	Ratio   float64 `json:"ratio"`
	Lowest  float64 `json:"lowest"`
	Highest float64 `json:"highest"`

	Unit    string                        `json:"unit"`            // of ours and peer: s, MiB or GFLOP/s
	Clock   string                        `json:"clock,omitempty"` // of the times: cpu or wall
	Threads int                           `json:"threads"`
	Batch   int                           `json:"batch,omitempty"`
	About   string                        `json:"about"`
	Layouts map[string]string             `json:"layouts"`           // of PyTorch's networks
	Seconds map[string]map[string]float64 `json:"seconds,omitempty"` // that chose them, by network and layout
	Pairs   []sample                      `json:"pairs"`
}

// of is a side's figure in the result's unit.
func (r *result) of(m measured) float64 {
	if r.Unit == "MiB" {
		return float64(m.Bytes) / (1 << 20)
	}
	if r.Unit == rateUnit {
		return m.Rate
	}
	return m.by(r.Clock)
}

// rateUnit is the unit of results where more is better.
const rateUnit = "GFLOP/s"

// summarise computes the line's figures: medians, and the ratios of the pairs.
func (r *result) summarise() {
	var ours, theirs, ratios []float64
	for _, p := range r.Pairs {
		x, y := r.of(p.Ours), r.of(p.Peer)
		ratio := y / x
		if r.Unit == rateUnit {
			ratio = x / y
		}
		ours, theirs, ratios = append(ours, x), append(theirs, y), append(ratios, ratio)
	}
	r.Ours, r.Peer, r.Ratio = contest.Median(ours), contest.Median(theirs), contest.Median(ratios)
	r.Lowest, r.Highest = slices.Min(ratios), slices.Max(ratios)
}

// line is name, ours, peer, ratio, lowest and highest ratio.
func (r *result) line() string {
	digits := 4
	if r.Unit != "s" {
		digits = 1
	} else if r.Ours < 0.01 {
		digits = 6
	}
	return fmt.Sprintf("%s\t%.*f %s\t%.*f %s\t%.2f\t%.2f\t%.2f", r.Name,
		digits, r.Ours, r.Unit, digits, r.Peer, r.Unit, r.Ratio, r.Lowest, r.Highest)
}

// layouts are PyTorch's, in words.
func (r *result) layouts() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.Layouts)) {
		parts = append(parts, name+" "+r.Layouts[name])
	}
	return strings.Join(parts, ", ")
}

// other is the ratio by the other clock, in words, and how busy the machine was.
func (r *result) other() string {
	if r.Unit != "s" {
		return ""
	}
	clock := clockWall
	if r.Clock == clockWall {
		clock = clockCPU
	}
	var ratios, waits []float64
	for _, p := range r.Pairs {
		ratios = append(ratios, p.Peer.by(clock)/p.Ours.by(clock))
		waits = append(waits, p.Ours.Wall*float64(r.Threads)/p.Ours.CPU)
	}
	return fmt.Sprintf("; by the %s clock the ratio is %.2f; wall time x threads / CPU time of ours is %.2f",
		clock, contest.Median(ratios), contest.Median(waits))
}

// report is what --json writes.
type report struct {
	Date    time.Time     `json:"date"`
	Command string        `json:"command"`
	CPU     string        `json:"cpu"`
	Cores   int           `json:"cores"`
	Kernel  string        `json:"kernel"`
	Version string        `json:"version"`
	Go      string        `json:"go"`
	Torch   torchVersions `json:"torch"`
	Waiting string        `json:"omp_wait_policy"` // of PyTorch's threads
	Results []result      `json:"results"`
}

func newReport(command string) *report {
	return &report{
		Date: time.Now().UTC().Truncate(time.Second), Command: command, CPU: contest.CPUModel(), Cores: runtime.NumCPU(),
		Kernel: kernel.Name(), Version: version.Line(), Go: runtime.Version(), Waiting: policy(),
	}
}
