package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"pupil/allreduce"
	"pupil/allreduce/internal/ringsim"
)

const (
	gigabit  = 1e9 / 8 // bytes a second
	megabyte = 1e6
	latency  = 50 * time.Microsecond // between two machines of one hall
)

var (
	sizes  = []int{2, 4, 8, 16, 32, 64, 128, 256, 512, 1000}
	rates  = []float64{1, 10, 25, 100} // Gbit/s
	planes = []ringsim.Plane{ringsim.Mesh, ringsim.Broker}
)

// render writes all tables. tell says what is simulated.
func render(w io.Writer, most int, tell func(string)) error {
	bytesTable(w)
	for _, mb := range []int{14, 45} {
		timesTable(w, mb)
	}
	measuredTable(w)
	if err := simulatedTable(w, most, tell); err != nil {
		return err
	}
	return troubleTable(w, most, tell)
}

// settings are chunk bytes and window of a ring with all defaults.
func settings(ranks int) (chunk, window int) {
	c := allreduce.Config{Size: ranks}.WithDefaults()
	return c.ChunkBytes, c.Window
}

// milliseconds shows a time with three digits or so.
func milliseconds(d time.Duration) string {
	switch ms := float64(d) / 1e6; {
	case ms < 9.95:
		return fmt.Sprintf("%.1f", ms)
	case ms < 9999:
		return fmt.Sprintf("%.0f", ms)
	default:
		return fmt.Sprintf("%.0f,%03.0f", float64(int(ms+0.5)/1000), float64(int(ms+0.5)%1000))
	}
}

func bytesTable(w io.Writer) {
	fmt.Fprint(w, "\n### Bytes\n\nMB that the busiest card sends, and receives, for one sum of int32, headers included:\n\n"+
		"| workers | 14 MB, mesh: each worker | 14 MB, broker: its host | 45 MB, mesh | 45 MB, broker |\n| --- | --- | --- | --- | --- |\n")
	for _, n := range sizes {
		chunk, _ := settings(n)
		fmt.Fprintf(w, "| %d |", n)
		for _, mb := range []int{14, 45} {
			for _, p := range planes {
				fmt.Fprintf(w, " %.1f |", float64(ringsim.Bytes(p, n, mb*megabyte, chunk))/megabyte)
			}
		}
		fmt.Fprintln(w)
	}
}

func timesTable(w io.Writer, mb int) {
	fmt.Fprintf(w, "\n### Time of one sum of %d MB, by formula\n\nms, at 50 us of latency, mesh and broker, for cards of so many Gbit/s:\n\n"+
		"| workers | 1: mesh | broker | 10: mesh | broker | 25: mesh | broker | 100: mesh | broker |\n"+
		"| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n", mb)
	for _, n := range sizes {
		chunk, window := settings(n)
		fmt.Fprintf(w, "| %d |", n)
		for _, r := range rates {
			for _, p := range planes {
				fmt.Fprintf(w, " %s |", milliseconds(ringsim.Time(p, n, mb*megabyte, chunk, window, r*gigabit, latency)))
			}
		}
		fmt.Fprintln(w)
	}
}

// shape is what is simulated: few bytes, so that 256 vectors fit into memory.
const (
	simulated = 2 * megabyte
	fast      = 10 * gigabit
	deadline  = 2 * time.Minute
)

func base(p ringsim.Plane, ranks int) ringsim.Config {
	chunk, window := settings(ranks)
	return ringsim.Config{
		Ranks: ranks, Plane: p, Rate: fast, Latency: latency, Buckets: []int{simulated}, Steps: 1, Deadline: deadline,
		Chunk: chunk, Window: window,
	}
}

func upTo(most int, sizes ...int) []int {
	return slices.DeleteFunc(sizes, func(n int) bool { return n > most })
}

func simulatedTable(w io.Writer, most int, tell func(string)) error {
	fmt.Fprint(w, "\n### The step machine, simulated\n\nOne sum of 2 MB at 10 Gbit/s and 50 us, a commit included: ms, beside the formula. "+
		"Every sum was right; nothing was asked for.\n\n"+
		"| workers | mesh: simulated | formula | broker: simulated | formula | messages |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, n := range upTo(most, 2, 4, 8, 16, 32, 64, 128, 256) {
		fmt.Fprintf(w, "| %d |", n)
		var messages int64
		for _, p := range planes {
			tell(fmt.Sprintf("%d workers, %v", n, p))
			c := base(p, n)
			r, err := ringsim.Run(c)
			if err != nil {
				return err
			}
			if r.Asked > 0 {
				return fmt.Errorf("%d workers, %v: %d questions on a network that loses nothing", n, p, r.Asked)
			}
			messages = r.Messages
			fmt.Fprintf(w, " %s | %s |", milliseconds(r.Time),
				milliseconds(ringsim.Time(p, n, simulated, c.Chunk, c.Window, c.Rate, c.Latency)))
		}
		fmt.Fprintf(w, " %d |\n", messages)
	}
	return nil
}

func troubleTable(w io.Writer, most int, tell func(string)) error {
	fmt.Fprint(w, "\n### A slow link, a slow worker\n\nA step of 50 ms of computing whose four buckets, 2 MB together, are summed as they are "+
		"there; 10 Gbit/s, 50 us. Slow link: one worker's card has a tenth of that. Slow worker: one computes for 75 ms. "+
		"ms of the step, and the chunks that were sent again:\n\n"+
		"| workers | plane | quiet | slow link | sent again | slow worker | sent again |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, n := range upTo(most, 4, 16, 64, 256) {
		for _, p := range planes {
			tell(fmt.Sprintf("%d workers, %v, trouble", n, p))
			quiet := base(p, n)
			quiet.Compute, quiet.Buckets = 50*time.Millisecond, []int{simulated / 4, simulated / 4, simulated / 4, simulated / 4}
			link, worker := quiet, quiet
			link.SlowLink = map[int]float64{1: 10}
			worker.SlowRank = map[int]float64{1: 1.5}
			fmt.Fprintf(w, "| %d | %v |", n, p)
			for i, c := range []ringsim.Config{quiet, link, worker} {
				r, err := ringsim.Run(c)
				if err != nil {
					return err
				}
				fmt.Fprintf(w, " %s |", milliseconds(r.Time))
				if i > 0 {
					fmt.Fprintf(w, " %d |", r.Resent)
				}
			}
			fmt.Fprintln(w)
		}
	}
	return nil
}
