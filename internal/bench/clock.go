package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"pupil/internal/contest"
)

// The clocks. auto is the CPU's for one thread, where it is what the wall clock would show on a quiet machine, and the
// wall's for several, where CPU time would leave out the waiting of one thread for another.
const (
	clockAuto = "auto"
	clockCPU  = "cpu"
	clockWall = "wall"
)

// cost is what a run took, in seconds.
type cost struct {
	CPU  float64 `json:"cpu,omitempty"` // of all threads of the process
	Wall float64 `json:"wall,omitempty"`
}

func (c cost) by(clock string) float64 {
	if clock == clockCPU {
		return c.CPU
	}
	return c.Wall
}

// each is the cost of one of several equal runs.
func (c cost) each(times int) cost { return cost{c.CPU / float64(times), c.Wall / float64(times)} }

// timed runs work.
func timed(work func() error) (c cost, err error) {
	cpu, err := contest.CPUSeconds()
	if err != nil {
		return cost{}, err
	}
	start := time.Now()
	if err := work(); err != nil {
		return cost{}, err
	}
	c.Wall = time.Since(start).Seconds()
	after, err := contest.CPUSeconds()
	c.CPU = after - cpu
	return c, err
}

// resident is a size of /proc/self/status, in bytes: VmRSS now, VmHWM at its peak.
func resident(field string) (int64, error) {
	const path = "/proc/self/status"
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("memory of this process (Linux alone tells it): %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", path, err)
			}
			return kilobytes << 10, nil
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, field)
}

// forgetPeak lets the peak begin anew.
func forgetPeak() error {
	const path = "/proc/self/clear_refs"
	if err := os.WriteFile(path, []byte("5"), 0); err != nil {
		return fmt.Errorf("begin the peak of the resident memory anew: %w", err)
	}
	return nil
}
