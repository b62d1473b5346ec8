package main

import (
	"math"
	"strings"
	"testing"

	"pupil/internal/contest"
)

// A kernel's case gives a line beside PyTorch, and one of the share of the CPU's peak where it is limited by arithmetic.
func TestKernel(t *testing.T) {
	for _, o := range []operation{
		{Op: "gemm", Pass: forward, N: 9, H: 1, W: 1, C: 7, K: 5},
		{Op: "norm", Pass: data, N: 2, H: 3, W: 4, C: 5, K: 5},
	} {
		b, log := newBench(t, "right")
		c := benchmark{name: "k", kind: oneKernel, operation: &o, threads: 1, pairs: 2, runs: 2}
		rightValues(t, b, c)
		results, err := b.measure(t.Context(), c)
		if err != nil {
			t.Fatalf("%s: %v, %s", o.Op, err, log)
		}
		if r := results[0]; r.Unit != "s" || r.Clock != clockCPU || r.Peer != 1800 || len(r.Pairs) != 2 || !(r.Ours > 0) {
			t.Errorf("%s: %+v", o.Op, r)
		}
		if (o.flops() > 0) != (len(results) == 2) {
			t.Errorf("%s: %d results", o.Op, len(results))
			continue
		}
		if len(results) == 2 {
			r := results[1]
			want := o.flops() / results[0].Pairs[0].Ours.CPU / 1e9
			if got := r.Pairs[0].Ours.Rate; r.Name != "k.peak" || got != want || !(r.Peer > 0.1) || r.Ratio != contest.Median([]float64{
				r.Pairs[0].Ours.Rate / r.Pairs[0].Peer.Rate, r.Pairs[1].Ours.Rate / r.Pairs[1].Peer.Rate,
			}) {
				t.Errorf("peak: %+v, want %v GFLOP/s", r, want)
			}
			if line := r.line(); strings.Count(line, "\t") != 5 || !strings.Contains(line, " GFLOP/s\t") {
				t.Errorf("line %q", line)
			}
		}
	}
}

// Every kernel's case computes something, the same in each run.
func TestKernelCases(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range kernelCases() {
		if seen[c.name] || !strings.HasPrefix(c.name, "kernel.") || c.runs < 3 || c.about() == "" {
			t.Errorf("case %+v", c)
		}
		seen[c.name] = true
		small := *c.operation
		small.N, small.H, small.W = 2, min(small.H, 6), min(small.W, 6)
		k := newOurKernel(small)
		first, err := k.check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		again, err := k.check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if first[0] != again[0] || first[1] != again[1] || !(first[0] > 0) || math.IsInf(first[1], 0) {
			t.Errorf("%s: %v, then %v", c.name, first, again)
		}
		k.close()
	}
	if len(seen) < 20 {
		t.Errorf("there are %d cases", len(seen))
	}
}
