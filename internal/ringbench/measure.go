package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pupil/coordinator/authority"
	"pupil/internal/contest"
)

// peerScript is PyTorch's side, which describes the commands that it takes.
const peerScript = "internal/ringbench/torch/gloo.py"

// missing says what to do when Python lacks a package.
const missing = "install it with apt-get install python3-torch (make bench-ring does), or name a Python that has torch " +
	"with --python"

// bench is one start of the program.
type bench struct {
	program, peer []string // command lines of our ranks and servers, and of PyTorch's ranks
	folder        string   // of what ranks share
	pairs         int
	limit         time.Duration
	until         time.Time // when all should be over
	left          int       // groups of cases of one size that are not begun
	messages      io.Writer
	torch         string // version
	rendezvous    int    // numbers the files by which gloo's ranks find each other
}

// ready says what is missing before anything is measured.
func (b *bench) ready() error {
	for _, name := range b.peer {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			if name == peerScript {
				return fmt.Errorf("%s is not there; start this in the repository's folder", name)
			}
			return fmt.Errorf("%s is not there; %s", name, missing)
		}
	}
	return nil
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.messages, format+"\n", args...) }

// measure takes a setting's cases, and gives the result of each to done.
func (b *bench) measure(ctx context.Context, s setting, done func(result) error) (err error) {
	b.say("%s", s.name())
	var w world = here{}
	if s.network == gigabit {
		n, err := newNamespaces(ctx, s.ranks+1)
		if err != nil {
			return err
		}
		w = n
	}
	defer func() { err = errors.Join(err, w.close()) }()
	groups := map[string]*group{}
	defer func() {
		for _, g := range groups {
			g.close()
		}
	}()
	for _, way := range s.ways() {
		g, err := b.open(ctx, w, way, s.ranks)
		if g != nil {
			groups[way] = g
		}
		if err != nil {
			return fmt.Errorf("%s: %w", way, err)
		}
	}
	for _, same := range s.cases {
		results, err := b.alternate(ctx, groups, same)
		if err != nil {
			return err
		}
		for _, r := range results {
			if err := done(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// open starts a way's ranks, and connects them.
func (b *bench) open(ctx context.Context, w world, way string, ranks int) (*group, error) {
	g := &group{}
	program := b.program
	o := order{Way: way, Size: ranks, Device: w.device()}
	switch way {
	case wayGloo:
		program = b.peer
		b.rendezvous++
		o.Folder = filepath.Join(b.folder, fmt.Sprint(b.rendezvous))
	case wayBroker:
		p, err := start(ctx, w.on(ranks, b.program))
		if err != nil {
			return g, err
		}
		g.server = &p
		a, err := g.server.ask(order{Do: "serve", Host: w.address(ranks)})
		if err != nil {
			return g, fmt.Errorf("the server: %w", err)
		}
		o.Broker, o.User, o.Password = a.Address, a.User, a.Password
	}
	for rank := range ranks {
		p, err := start(ctx, w.on(rank, program), "GLOO_SOCKET_IFNAME="+w.device())
		if err != nil {
			return g, err
		}
		g.ranks = append(g.ranks, p)
	}
	at := func(do string) func(rank int) order {
		return func(rank int) order {
			o := o
			o.Do, o.Rank, o.Host = do, rank, w.address(rank)
			return o
		}
	}
	answers, err := g.ask(at("listen"))
	if err != nil {
		return g, err
	}
	for _, a := range answers {
		o.Peers = append(o.Peers, a.Address)
		if a.Torch != "" {
			b.torch = a.Torch
		}
	}
	open := at("open")
	if embedded(way) {
		if open, err = certify(open, way, answers); err != nil {
			return g, err
		}
	}
	_, err = g.ask(open)
	return g, err
}

// certify adds to each rank's order what the coordinator issues where ranks embed servers.
func certify(of func(rank int) order, way string, answers []answer) (func(rank int) order, error) {
	issuer, err := authority.New(authority.NewSecret(), 1, time.Now())
	if err != nil {
		return nil, err
	}
	var names []string
	var issued [][]byte
	for rank, a := range answers {
		names = append(names, issuer.Name(rank))
		if way == wayLocal || way == wayLocal+wideWay {
			continue
		}
		c, err := issuer.Issue(rank, a.Key)
		if err != nil {
			return nil, err
		}
		issued = append(issued, c)
	}
	return func(rank int) order {
		o := of(rank)
		o.Names, o.Password = names, issuer.Password()
		if len(issued) > 0 {
			o.Issuer, o.Issued = issuer.Certificate(), issued[rank]
		}
		return o
	}, nil
}

// alternate lets the ways of some cases of one size, and gloo, take turns in being first.
func (b *bench) alternate(ctx context.Context, groups map[string]*group, same []benchmark) ([]result, error) {
	against := same[0]
	against.way, against.format = wayGloo, "float32"
	contest := append(slices.Clone(same), against)
	for _, c := range contest {
		_, err := groups[c.way].ask(func(int) order { return order{Do: "check", Format: c.format, Elements: c.elements()} })
		if err == nil { // the first time is another one's: memory is made
			_, err = once(groups[c.way], c, 1)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name(), err)
		}
	}
	results := make([]result, len(same))
	for i, c := range same {
		results[i] = newResult(c)
	}
	most := b.share(len(contest))
	begin := time.Now()
	for pair := range b.pairs {
		if took := time.Since(begin); pair > 0 && took+took/time.Duration(pair) > most {
			b.say("  %s: %d of %d pairs; --limit or --within allows no more", same[0].name(), pair, b.pairs)
			break
		}
		took := make([]cost, len(contest))
		for k := range contest {
			i := (k + pair) % len(contest)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			var err error
			if took[i], err = once(groups[contest[i].way], contest[i], contest[i].times()); err != nil {
				return nil, fmt.Errorf("%s: %w", contest[i].name(), err)
			}
		}
		for i := range same {
			results[i].Pairs = append(results[i].Pairs, pairOf{took[i], took[len(same)]})
		}
	}
	for i := range results {
		results[i].summarise()
		b.say("  %s", results[i].words())
	}
	return results, nil
}

// share is how long the next group of cases may take, of so many contestants: the limit of each, and no more than its part of
// the time that is left for all.
func (b *bench) share(contestants int) time.Duration {
	part := time.Until(b.until) / time.Duration(max(b.left, 1))
	b.left--
	return min(b.limit*time.Duration(contestants), part)
}

// once lets a group sum some times.
func once(g *group, c benchmark, times int) (cost, error) {
	before, err := g.serverCPU()
	if err != nil {
		return cost{}, err
	}
	do := "run"
	if c.latency() {
		do = "latency"
	}
	answers, err := g.ask(func(int) order {
		return order{Do: do, Format: c.format, Elements: c.elements(), Times: times}
	})
	if err != nil {
		return cost{}, err
	}
	after, err := g.serverCPU()
	if err != nil {
		return cost{}, err
	}
	took := cost{CPU: after - before}
	for _, a := range answers {
		took.CPU += a.CPU
		took.Wall = max(took.Wall, a.Wall)
		if c.latency() {
			took.P50, took.P99 = max(took.P50, contest.Percentile(a.Each, 0.5)), max(took.P99, contest.Percentile(a.Each, 0.99))
		}
	}
	took.CPU /= float64(times)
	took.Wall /= float64(times)
	return took, nil
}

// serverCPU is the CPU time that the group's server has had, 0 if it has none.
func (g *group) serverCPU() (float64, error) {
	if g.server == nil {
		return 0, nil
	}
	a, err := g.server.ask(order{Do: "cpu"})
	return a.CPU, err
}
