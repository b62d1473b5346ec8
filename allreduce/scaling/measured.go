package main

import (
	"fmt"
	"io"

	"pupil/allreduce/internal/ringsim"
)

// measured are times of `make bench-ring`, medians, in ms; see docs/benchmarks.md for the machine.
var measured = []struct {
	name      string
	plane     ringsim.Plane
	ranks, mb int
	bytes     int // of an element on the wire: 3 where sums have 24 bits, else 4
	gigabits  float64
	ms        float64
}{
	{"ring.1gbit.n4.4mb.int32", ringsim.Mesh, 4, 4, 3, 1, 53.1},
	{"ring.1gbit.n4.4mb.int32.broker", ringsim.Broker, 4, 4, 4, 1, 220.0},
	{"ring.1gbit.n4.14mb.int32", ringsim.Mesh, 4, 14, 3, 1, 152.2},
	{"ring.1gbit.n4.14mb.int32.wide", ringsim.Mesh, 4, 14, 4, 1, 194.7},
	{"ring.1gbit.n4.14mb.int32.broker", ringsim.Broker, 4, 14, 4, 1, 767.3},
	{"ring.1gbit.n4.45mb.int32", ringsim.Mesh, 4, 45, 3, 1, 572.0},
	{"ring.1gbit.n4.45mb.int32.broker", ringsim.Broker, 4, 45, 4, 1, 2430.7},
}

func measuredTable(w io.Writer) {
	fmt.Fprint(w, "\n### Measured\n\n`make bench-ring`, every rank and the broker in a network namespace of its own behind a link of `tc tbf`; the formula "+
		"with the latency left out:\n\n| name | bytes an element | measured, ms | formula, ms | ratio |\n| --- | --- | --- | --- | --- |\n")
	for _, m := range measured {
		chunk, window := settings(m.ranks)
		ms := float64(ringsim.Time(m.plane, m.ranks, m.mb*megabyte*m.bytes/4, chunk*m.bytes/4, window, m.gigabits*gigabit, 0)) / 1e6
		fmt.Fprintf(w, "| `%s` | %d | %.0f | %.0f | %.2f |\n", m.name, m.bytes, m.ms, ms, m.ms/ms)
	}
}
