package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pupil/allreduce/meshlink"
	"pupil/coordinator/control"
	"pupil/internal/config"
	"pupil/internal/contest"
)

const rankName = "rank"

// rankCommand is one rank of ours, or a server. It takes orders on standard input, and answers on standard output.
func rankCommand() *cobra.Command {
	return &cobra.Command{
		Use: rankName, Hidden: true, Args: config.Args(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// summer is a rank's end of a way to sum. Vectors are []int32 or []int16.
type summer interface {
	sum(ctx context.Context, v any) error
	io.Closer
}

// rank is the state of one process.
type rank struct {
	number, size int
	listener     *tcpRing // that waits to be opened
	summer       summer
	broker       *control.Broker
	server       *meshlink.Server
	vectors      map[string]*vector // by format and length
}

// vector is what a rank gives, and where it is summed: each sum begins with a copy, as in a worker.
type vector struct{ gives, sums any }

func (v *vector) fill() {
	switch sums := v.sums.(type) {
	case []int32:
		copy(sums, v.gives.([]int32))
	case []int16:
		copy(sums, v.gives.([]int16))
	}
}

// serve follows orders until there are no more.
func serve(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	r := &rank{vectors: map[string]*vector{}}
	defer func() { err = errors.Join(err, r.close()) }()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("order %q: %w", lines.Text(), err)
		}
		a, err := r.follow(ctx, o)
		if err != nil {
			a.Error = err.Error()
		}
		line, err := json.Marshal(a)
		if err != nil {
			return err
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (r *rank) close() error {
	var err error
	if r.summer != nil {
		err = r.summer.Close()
	}
	if r.server != nil {
		err = errors.Join(err, r.server.Close())
	}
	if r.broker != nil {
		r.broker.Close()
	}
	return err
}

func (r *rank) follow(ctx context.Context, o order) (a answer, err error) {
	switch o.Do {
	case "serve":
		if r.broker, err = control.StartBroker(control.BrokerOptions{Host: o.Host}); err != nil {
			return a, err
		}
		a.Address = r.broker.URL()
		a.User, a.Password = "coordinator", r.broker.Users().Coordinator
	case "cpu":
		a.CPU, err = contest.CPUSeconds()
	case "listen":
		if plain(o.Way) {
			if r.listener, err = listenTCP(o.Host); err == nil {
				a.Address = r.listener.address()
			}
		} else if embedded(o.Way) {
			c := meshlink.ServerConfig{Listen: net.JoinHostPort(o.Host, "0"), Plain: o.Way == wayLocal || o.Way == wayLocal+wideWay}
			if r.server, err = meshlink.Listen(c); err == nil {
				a.Address, a.Key = r.server.Addr(), r.server.PublicKey()
			}
		}
	case "open":
		r.number, r.size = o.Rank, o.Size
		if plain(o.Way) {
			r.summer, err = r.listener, r.listener.open(ctx, o)
		} else {
			r.summer, err = openRing(ctx, o, r.server)
		}
	case "check":
		err = r.check(ctx, o)
	case "run":
		return r.run(ctx, o)
	case "latency":
		return r.latency(ctx, o)
	default:
		err = fmt.Errorf("unknown order %q", o.Do)
	}
	return a, err
}

// plain says which ways are the TCP ring. A rank of ours that is to be gloo's, in the tests, is it as well.
func plain(way string) bool { return way == wayTCP || way == wayGloo }

// embedded says in which ways a rank has a NATS server of its own.
func embedded(way string) bool {
	way, _ = strings.CutSuffix(way, wideWay)
	return way == wayLocal || way == wayMesh
}

// vector is the one of a format and length, made once.
func (r *rank) vector(o order) (*vector, error) {
	key := fmt.Sprint(o.Format, o.Elements)
	if v := r.vectors[key]; v != nil {
		return v, nil
	}
	clear(r.vectors) // one is in use at a time
	gives, err := gradients(r.number, r.size, o.Elements, o.Format)
	if err != nil {
		return nil, err
	}
	v := &vector{gives: gives, sums: make([]int32, o.Elements)}
	if o.Format == int16s {
		v.sums = make([]int16, o.Elements)
	}
	r.vectors[key] = v
	return v, nil
}

// check sums values whose sum is known, twice: only the first sum of a ring is sure to have 4 bytes an int32.
func (r *rank) check(ctx context.Context, o order) error {
	v, err := r.vector(o)
	if err != nil {
		return err
	}
	for range 2 {
		switch sums := v.sums.(type) {
		case []int32:
			err = errors.Join(err, check(ctx, r, sums))
		case []int16:
			err = errors.Join(err, check(ctx, r, sums))
		}
	}
	return err
}

func check[T int16 | int32](ctx context.Context, r *rank, v []T) error {
	for i := range v {
		v[i] = T((r.number + 1) * (i%13 - 6))
	}
	if err := r.summer.sum(ctx, v); err != nil {
		return err
	}
	all := r.size * (r.size + 1) / 2
	for i, x := range v {
		if want := T(all * (i%13 - 6)); x != want {
			return fmt.Errorf("element %d of the sum is %d; it must be %d", i, x, want)
		}
	}
	return nil
}

// together returns when all ranks have come.
func (r *rank) together(ctx context.Context) error { return r.summer.sum(ctx, make([]int32, 1)) }

func (r *rank) run(ctx context.Context, o order) (a answer, err error) {
	v, err := r.vector(o)
	if err != nil {
		return a, err
	}
	if err := r.together(ctx); err != nil {
		return a, err
	}
	cpu, err := contest.CPUSeconds()
	if err != nil {
		return a, err
	}
	begin := time.Now()
	for range o.Times {
		v.fill()
		if err := r.summer.sum(ctx, v.sums); err != nil {
			return a, err
		}
	}
	a.Wall = time.Since(begin).Seconds()
	after, err := contest.CPUSeconds()
	a.CPU = after - cpu
	return a, err
}

// latency times single sums. The ranks leave each at about the same time, and so come to the next.
func (r *rank) latency(ctx context.Context, o order) (a answer, err error) {
	v, err := r.vector(o)
	if err != nil {
		return a, err
	}
	if err := r.together(ctx); err != nil {
		return a, err
	}
	for range o.Times {
		v.fill()
		begin := time.Now()
		if err := r.summer.sum(ctx, v.sums); err != nil {
			return a, err
		}
		a.Each = append(a.Each, time.Since(begin).Seconds())
	}
	return a, nil
}
