package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"pupil/internal/contest"
	"pupil/internal/version"
)

// cost is what a sum took, in seconds.
type cost struct {
	Wall float64 `json:"wall"`          // at the slowest rank
	CPU  float64 `json:"cpu"`           // of all ranks and the server together
	P50  float64 `json:"p50,omitempty"` // of single sums, at the slowest rank
	P99  float64 `json:"p99,omitempty"`
}

// pairOf is a run of ours and one of gloo's, close to each other.
type pairOf struct {
	Ours cost `json:"ours"`
	Peer cost `json:"peer"`
}

// result is a case's line, and what is behind it.
type result struct {
	Name    string  `json:"name"`
	Unit    string  `json:"unit"` // s, or share
	Ours    float64 `json:"ours"` // median
	Peer    float64 `json:"peer"` // median; of a share, the target
	Ratio   float64 `json:"ratio"`
	Lowest  float64 `json:"lowest"`
	Highest float64 `json:"highest"`

	About     string   `json:"about"`
	Ranks     int      `json:"ranks"`
	Megabytes int      `json:"megabytes,omitempty"`
	Way       string   `json:"way"`
	Bus       sides    `json:"bus_mb_per_second"` // 2(N-1)/N of the vector's 4-byte elements by time
	CPU       sides    `json:"cpu_ms_per_mb"`     // of all ranks and the server, by 10^6 bytes of one vector
	CPURatio  float64  `json:"cpu_ratio"`         // median of the pairs, gloo's by ours
	Pairs     []pairOf `json:"pairs"`
}

type sides struct {
	Ours float64 `json:"ours"`
	Peer float64 `json:"peer"`
}

func newResult(c benchmark) result {
	unit := "s"
	if c.training {
		unit = "share"
	}
	return result{Unit: unit, Name: c.name(), About: c.about(), Ranks: c.ranks, Megabytes: c.megabytes, Way: c.way}
}

// of is the figure that is compared.
func (r *result) of(c cost) float64 {
	if r.Megabytes == 0 {
		return c.P99
	}
	return c.Wall
}

// summarise computes medians, and the ratios of the pairs.
func (r *result) summarise() {
	var ours, theirs, ratios, cpu, peerCPU, cpuRatios []float64
	for _, p := range r.Pairs {
		x, y := r.of(p.Ours), r.of(p.Peer)
		ours, theirs, ratios = append(ours, x), append(theirs, y), append(ratios, y/x)
		cpu, peerCPU, cpuRatios = append(cpu, p.Ours.CPU), append(peerCPU, p.Peer.CPU), append(cpuRatios, p.Peer.CPU/p.Ours.CPU)
	}
	r.Ours, r.Peer, r.Ratio = contest.Median(ours), contest.Median(theirs), contest.Median(ratios)
	r.Lowest, r.Highest = slices.Min(ratios), slices.Max(ratios)
	if r.Megabytes > 0 {
		bus := 2 * float64(r.Ranks-1) / float64(r.Ranks) * float64(r.Megabytes)
		r.Bus = sides{bus / r.Ours, bus / r.Peer}
		r.CPURatio = contest.Median(cpuRatios)
		r.CPU = sides{1e3 * contest.Median(cpu) / float64(r.Megabytes), 1e3 * contest.Median(peerCPU) / float64(r.Megabytes)}
	}
}

// line is name, ours, peer, ratio, lowest and highest ratio.
func (r *result) line() string {
	return fmt.Sprintf("%s\t%.5f %s\t%.5f %s\t%.2f\t%.2f\t%.2f", r.Name, r.Ours, r.Unit, r.Peer, r.Unit, r.Ratio, r.Lowest, r.Highest)
}

// words tell what the line does not.
func (r *result) words() string {
	if r.Megabytes == 0 {
		var ours, theirs []float64
		for _, p := range r.Pairs {
			ours, theirs = append(ours, p.Ours.P50), append(theirs, p.Peer.P50)
		}
		return fmt.Sprintf("%s: %d pairs, medians of single sums %.2f ms, gloo %.2f ms", r.Name, len(r.Pairs),
			1e3*contest.Median(ours), 1e3*contest.Median(theirs))
	}
	return fmt.Sprintf("%s: %d pairs, bus bandwidth %.0f MB/s, gloo %.0f MB/s; CPU %.2f ms a MB, gloo %.2f, median ratio %.2f",
		r.Name, len(r.Pairs), r.Bus.Ours, r.Bus.Peer, r.CPU.Ours, r.CPU.Peer, r.CPURatio)
}

// head is that of the table that --table writes, of result.row.
const head = "| name | ours | gloo | ratio | lowest, highest | CPU a MB, gloo's | ratio of CPU time |\n| --- | --- | --- | --- | --- | --- | --- |\n"

// row is the result in Markdown. CPU time is measured of large sums only.
func (r *result) row() string {
	format := func(x float64) string { return fmt.Sprintf("%.2f", x) }
	if r.Unit == "s" {
		format = func(x float64) string { return fmt.Sprintf("%.3g ms", 1e3*x) }
	}
	cpu, ratio := "", ""
	if r.Megabytes > 0 {
		cpu, ratio = fmt.Sprintf("%.1f ms, %.1f ms", r.CPU.Ours, r.CPU.Peer), fmt.Sprintf("%.2f", r.CPURatio)
	}
	return fmt.Sprintf("| %s | %s | %s | %.2f | %.2f, %.2f | %s | %s |\n", r.Name, format(r.Ours), format(r.Peer), r.Ratio, r.Lowest, r.Highest,
		cpu, ratio)
}

// writeTable writes the results so far to a file, as a table with the date, the processor and what was run above it. No file: nothing.
func (r *report) writeTable(file string) error {
	if file == "" {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d cores of %s, load average %s, PyTorch %s, %s: `%s`\n\n%s", r.Date.Format("2 January 2006, 15:04"), r.Cores, r.CPU,
		r.Load, r.Torch, r.Go, r.Command, head)
	for i := range r.Results {
		b.WriteString(r.Results[i].row())
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// load is the load average of the last minute, by Linux.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	text, _, _ := strings.Cut(string(data), " ")
	return text
}

// report is what --json writes.
type report struct {
	Date    time.Time `json:"date"`
	Command string    `json:"command"`
	CPU     string    `json:"cpu"`
	Cores   int       `json:"cores"`
	Load    string    `json:"load"` // before the first case
	Version string    `json:"version"`
	Go      string    `json:"go"`
	Torch   string    `json:"torch"`
	Results []result  `json:"results"`
}

func newReport(command string) *report {
	return &report{
		Date: time.Now().UTC().Truncate(time.Second), Command: command, CPU: contest.CPUModel(), Cores: runtime.NumCPU(), Load: load(),
		Version: version.Line(), Go: runtime.Version(),
	}
}
