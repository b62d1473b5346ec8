package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"pupil/worker/nn"
	"pupil/worker/student"
)

// program computes batches and tells of each the seconds by the clock, and of the processor. Where others use the machine
// as well the latter say more.
type program interface {
	run(batch, times int) ([][2]float64, error)
	close() error
}

// cases are what is timed: single images, and batches.
var cases = [...]struct{ batch, times int }{{1, 20}, {16, 2}}

func compare(ctx context.Context, w io.Writer, m *student.Model, file, modules string, threads, rounds int) error {
	names := []string{"ours", "PyTorch 1.13 eager", "onnxruntime 1.30"}
	programs := make([]program, len(names))
	var err error
	if programs[0], err = ours(m, threads); err != nil {
		return err
	}
	if programs[1], err = start(ctx, "/usr/bin/python3", "-c", torchScript, fmt.Sprint(threads)); err != nil {
		return err
	}
	if programs[2], err = start(ctx, "node", "-e", nodeScript, modules, file, fmt.Sprint(threads)); err != nil {
		return err
	}
	var seconds, busy [len(cases)][3][]float64 // [case][program]
	for round := range rounds + 1 {            // the first warms up
		for i, c := range cases {
			for p := range programs {
				p = (p + round) % len(programs)
				took, err := programs[p].run(c.batch, c.times)
				if err != nil {
					return fmt.Errorf("%s: %w", names[p], err)
				}
				for _, s := range took {
					if round > 0 {
						seconds[i][p], busy[i][p] = append(seconds[i][p], s[0]), append(busy[i][p], s[1])
					}
				}
			}
		}
	}
	fmt.Fprintf(w, "%d threads\n%-20s %12s %9s %15s %16s %19s %12s\n", threads, "", "1 image, ms", "p99, ms", "1 image, CPU ms",
		"16: images/s", "16: CPU ms an image", "over PyTorch")
	for p, name := range names {
		alone, batch := seconds[0][p], seconds[1][p]
		fmt.Fprintf(w, "%-20s %12.1f %9.1f %15.1f %16.1f %19.1f %12.2f\n", name, 1e3*quantile(alone, 0.5), 1e3*quantile(alone, 0.99),
			1e3*quantile(busy[0][p], 0.5), 16/quantile(batch, 0.5), 1e3*quantile(busy[1][p], 0.5)/16,
			quantile(busy[1][1], 0.5)/quantile(busy[1][p], 0.5))
	}
	fmt.Fprintln(w)
	var faults []error
	for _, p := range programs {
		faults = append(faults, p.close())
	}
	return errors.Join(faults...)
}

func quantile(v []float64, q float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[min(len(v)-1, int(q*float64(len(v))))]
}

// own is our inference.
type own struct{ graphs map[int]*nn.Inference }

func ours(m *student.Model, threads int) (*own, error) {
	frozen, err := m.Network.Freeze(m.State, nn.FreezeConfig{})
	if err != nil {
		return nil, err
	}
	o := &own{map[int]*nn.Inference{}}
	for _, c := range cases {
		if o.graphs[c.batch], err = frozen.NewInference(nn.InferenceConfig{Batch: c.batch, Threads: min(threads, c.batch)}); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *own) run(batch, times int) (seconds [][2]float64, err error) {
	images := pixels(batch)
	for range times {
		start, before := time.Now(), processor()
		if _, _, err := o.graphs[batch].Run(images); err != nil {
			return nil, err
		}
		seconds = append(seconds, [2]float64{time.Since(start).Seconds(), processor() - before})
	}
	return seconds, nil
}

// processor is the seconds of this process's CPU time.
func processor() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

func (o *own) close() error {
	for _, g := range o.graphs {
		g.Close()
	}
	return nil
}

// The peers' programs: they read lines of a batch and a number of times, and print the seconds of each as a JSON list.
var (
	//go:embed peer_torch.py
	torchScript string
	//go:embed peer_onnx.js
	nodeScript string
)

type peer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(ctx context.Context, name string, args ...string) (*peer, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &peer{cmd, in, bufio.NewReader(out)}, cmd.Start()
}

func (p *peer) run(batch, times int) (seconds [][2]float64, err error) {
	if _, err := fmt.Fprintln(p.in, batch, times); err != nil {
		return nil, err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("it ended: %w", err)
	}
	return seconds, json.Unmarshal(line, &seconds)
}

func (p *peer) close() error { return errors.Join(p.in.Close(), p.cmd.Wait()) }
