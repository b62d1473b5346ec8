package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"pupil/internal/kernel"
)

// bench is one start of the program.
type bench struct {
	python, script string
	folder         string // of weights and images
	pairs          int    // 0: each case's own
	limit          time.Duration
	clock          string
	out, messages  io.Writer
	models         map[string]*models           // by the pair's name
	layouts        map[string]map[string]string // of PyTorch's networks in a step, likewise
	torch          torchVersions
	threads        func(n int) int // runtime.GOMAXPROCS
	peaks          []float64       // GFLOP/s, beside each pair of the kernel that was measured last
}

// ready says what is missing before anything is measured.
func (b *bench) ready() error {
	if _, err := os.Stat(b.script); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not there; start this in the repository's folder", b.script)
	}
	if _, err := os.Stat(b.python); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not there; %s", b.python, missing)
	}
	return nil
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.messages, format+"\n", args...) }

// measure compares the two sides in one case.
func (b *bench) measure(ctx context.Context, c benchmark) (results []*result, err error) {
	begin := time.Now()
	b.say("%s: %s", c.name, c.about())
	var m *models
	if c.kind != oneKernel {
		if m, err = b.modelsOf(c.pair); err != nil {
			return nil, err
		}
	}
	r := &result{Name: c.name, Unit: "s", Clock: b.clock, Threads: c.threads, Batch: c.pair.batch, About: c.about()}
	switch {
	case c.kind == memory:
		r.Unit, r.Clock = "MiB", ""
		err = b.measureMemory(ctx, c, m, r)
	case b.clock == clockAuto && c.threads == 1:
		r.Clock = clockCPU
		err = b.measureTime(ctx, c, m, r)
	case b.clock == clockAuto:
		r.Clock = clockWall
		err = b.measureTime(ctx, c, m, r)
	default:
		err = b.measureTime(ctx, c, m, r)
	}
	if err != nil {
		return nil, err
	}
	r.summarise()
	spent := time.Since(begin).Seconds()
	b.say("  %d pairs in %.0f s; PyTorch's layouts: %s%s", len(r.Pairs), spent, r.layouts(), r.other())
	results = []*result{r}
	if c.kind == oneKernel && c.operation.flops() > 0 {
		results = append(results, peakResult(c, r, b.peaks))
	}
	return results, nil
}

// modelsOf makes a pair's networks once.
func (b *bench) modelsOf(p pair) (*models, error) {
	if m, ok := b.models[p.name]; ok {
		return m, nil
	}
	m, err := newModels(p, filepath.Join(b.folder, p.name))
	b.models[p.name] = m
	return m, err
}

// preparePeer starts PyTorch's side and lets it read networks and images.
func (b *bench) preparePeer(ctx context.Context, c benchmark, m *models) (peer, error) {
	s, err := newSpec(c, m)
	if err != nil {
		return peer{}, err
	}
	p, err := startPeer(ctx, b.python, b.script, c.threads)
	if err != nil {
		return peer{}, err
	}
	if err := p.ask(map[string]any{"do": "prepare", "spec": s}, &b.torch); err != nil {
		p.Close()
		return peer{}, err
	}
	return p, nil
}

// ourWork makes our side of a case.
func ourWork(c benchmark, m *models) (work, error) {
	if c.kind == oneKernel {
		return newOurKernel(*c.operation), nil
	}
	if c.kind == inference {
		return newOurInference(m, c.network)
	}
	return newOurStep(m, c.threads)
}

// measureTime compares times, after a check that both sides compute the same.
func (b *bench) measureTime(ctx context.Context, c benchmark, m *models, r *result) error {
	defer b.threads(b.threads(c.threads))
	theirs, err := b.preparePeer(ctx, c, m)
	if err != nil {
		return err
	}
	defer theirs.Close()
	ours, err := ourWork(c, m)
	if err != nil {
		return err
	}
	defer ours.close()
	if err := theirs.ask(map[string]any{"do": "begin"}, &struct{}{}); err != nil {
		return err
	}
	if err := b.check(ctx, c, ours, theirs); err != nil {
		return err
	}
	if err := b.layOut(c, theirs, r); err != nil {
		return err
	}
	b.peaks = nil
	if c.decode {
		if err := b.decode(ctx, c, m, ours, theirs); err != nil {
			return err
		}
	}
	return b.repeat(ctx, c, func(oursFirst bool) (p sample, err error) {
		if c.kind == oneKernel {
			operations := 0.0
			peak, err := timed(func() error { operations = kernel.MultiplyAdds(peakRounds); return nil })
			if err != nil {
				return p, err
			}
			b.peaks = append(b.peaks, operations/peak.by(r.Clock)/1e9)
		}
		one := func() (err error) {
			p.Ours.cost, err = timed(func() error { return ours.run(ctx, c.runs) })
			p.Ours.cost = p.Ours.each(c.runs)
			return err
		}
		other := func() error {
			err := theirs.ask(map[string]any{"do": "run", "times": c.runs}, &p.Peer.cost)
			p.Peer.cost = p.Peer.each(c.runs)
			return err
		}
		if !oursFirst {
			one, other = other, one
		}
		if err := one(); err != nil {
			return p, err
		}
		return p, other()
	}, r)
}

// decode lets both sides decode their images from now on, and makes a first step of both.
func (b *bench) decode(ctx context.Context, c benchmark, m *models, ours work, theirs peer) error {
	d, err := newDecoding(ctx, m, c.threads)
	if err != nil {
		return err
	}
	ours.(*ourStep).decoding = d
	if err := ours.run(ctx, 1); err != nil {
		return err
	}
	if err := theirs.ask(map[string]any{"do": "decode"}, &struct{}{}); err != nil {
		return err
	}
	return theirs.ask(map[string]any{"do": "run", "times": 1}, &cost{})
}

// layOut gives each of PyTorch's networks the faster layout. The choice for a step is made once for a pair of networks,
// with the threads of the first case.
func (b *bench) layOut(c benchmark, theirs peer, r *result) error {
	if chosen, ok := b.layouts[c.pair.name]; ok && c.kind == step {
		r.Layouts = chosen
		if err := theirs.ask(map[string]any{"do": "use", "layouts": chosen}, &struct{}{}); err != nil {
			return err
		}
		return theirs.ask(map[string]any{"do": "run", "times": 1}, &cost{}) // the check had the shapes of lanes
	}
	times := 1
	if c.threads > 1 {
		times = 2 // the check had the shapes of lanes; what PyTorch makes at a shape's first use must not count
	}
	if err := theirs.ask(map[string]any{"do": "choose", "times": times}, r); err != nil {
		return err
	}
	if c.kind == step {
		b.layouts[c.pair.name] = r.Layouts
	}
	return nil
}

// Differences that two right sides may have, relative: in the first figure, from the rounding of float32 through many
// layers, and in the second, where AdamW's first update takes each gradient for its sign, however near to 0 it is.
var tolerances = map[kind][2]float64{step: {2e-3, 3e-2}, inference: {1e-3, 1e-3}, oneKernel: {1e-4, 1e-4}}

// check compares figures that depend on all that the two sides compute.
func (b *bench) check(ctx context.Context, c benchmark, ours work, theirs peer) error {
	mine, err := ours.check(ctx)
	if err != nil {
		return err
	}
	var their struct{ Values []float64 }
	if err := theirs.ask(map[string]any{"do": "check", "lanes": c.threads}, &their); err != nil {
		return err
	}
	b.say("  check: ours %.6g, PyTorch's %.6g", mine, their.Values)
	return agree(mine, their.Values, tolerances[c.kind])
}

func agree(ours, theirs []float64, tolerance [2]float64) error {
	if len(ours) != len(tolerance) || len(theirs) != len(tolerance) {
		return fmt.Errorf("%d and %d figures to compare; there must be %d", len(ours), len(theirs), len(tolerance))
	}
	for i, x := range ours {
		y := theirs[i]
		if diff := math.Abs(x - y); !(diff <= tolerance[i]*max(math.Abs(x), math.Abs(y))) {
			return fmt.Errorf("the two sides do not compute the same: figure %d is %g here and %g in PyTorch; times would "+
				"compare different work", i+1, x, y)
		}
	}
	return nil
}

// repeat takes pairs until there are enough, or the limit has passed. The sides take turns in being first.
func (b *bench) repeat(ctx context.Context, c benchmark, take func(oursFirst bool) (sample, error), r *result) error {
	pairs := c.pairs
	if b.pairs > 0 {
		pairs = b.pairs
	}
	begin := time.Now()
	for i := range pairs {
		if i > 0 && time.Since(begin) > b.limit {
			b.say("  %d of %d pairs after %s; --limit allows no more", i, pairs, b.limit)
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := take(i%2 == 0)
		if err != nil {
			return err
		}
		r.Pairs = append(r.Pairs, p)
	}
	return nil
}
