package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"pupil/internal/contest"
)

// process is one rank of one way to sum, or its server.
type process struct{ *contest.Process }

// start runs a program. It ends with ctx.
func start(ctx context.Context, argv []string, environment ...string) (process, error) {
	p, err := contest.Start(ctx, argv, append(environment, "OMP_NUM_THREADS=1")...)
	return process{p}, err
}

// order is a command. Only the fields that it needs are set.
type order struct {
	Do       string   `json:"do"`
	Way      string   `json:"way,omitempty"`
	Host     string   `json:"host,omitempty"`   // address of the rank's machine
	Device   string   `json:"device,omitempty"` // of its network
	Rank     int      `json:"rank"`
	Size     int      `json:"size,omitempty"`
	Peers    []string `json:"peers,omitempty"` // addresses by rank
	Broker   string   `json:"broker,omitempty"`
	User     string   `json:"user,omitempty"`
	Password string   `json:"password,omitempty"`
	Names    []string `json:"names,omitempty"`       // by rank, in the certificates
	Issuer   []byte   `json:"issuer,omitempty"`      // its certificate
	Issued   []byte   `json:"certificate,omitempty"` // the rank's
	Folder   string   `json:"folder,omitempty"`      // that all ranks share
	Format   string   `json:"format,omitempty"`
	Elements int      `json:"elements,omitempty"`
	Times    int      `json:"times,omitempty"`
}

// answer is what a process says. Only the fields that the command asks for are set.
type answer struct {
	Error    string    `json:"error,omitempty"`
	Address  string    `json:"address,omitempty"`
	User     string    `json:"user,omitempty"`
	Password string    `json:"password,omitempty"`
	Key      []byte    `json:"key,omitempty"`
	Wall     float64   `json:"wall,omitempty"` // seconds
	CPU      float64   `json:"cpu,omitempty"`
	Each     []float64 `json:"each,omitempty"` // seconds, by sum
	Torch    string    `json:"torch,omitempty"`
}

// ask gives a command and waits for its answer.
func (p process) ask(o order) (a answer, err error) {
	if err = p.Ask(o.Do, o, &a); errors.Is(err, contest.ErrMissing) {
		err = fmt.Errorf("%w; %s", err, missing)
	}
	return a, err
}

// group is the ranks of one way, and its server if it has one.
type group struct {
	ranks  []process
	server *process // nil: none
}

// ask gives every rank its command at the same time, and waits for all.
func (g *group) ask(of func(rank int) order) ([]answer, error) {
	answers, errs := make([]answer, len(g.ranks)), make([]error, len(g.ranks))
	var all sync.WaitGroup
	for rank, p := range g.ranks {
		all.Go(func() {
			if answers[rank], errs[rank] = p.ask(of(rank)); errs[rank] != nil {
				errs[rank] = fmt.Errorf("rank %d: %w", rank, errs[rank])
			}
		})
	}
	all.Wait()
	return answers, errors.Join(errs...)
}

func (g *group) close() {
	for _, p := range g.ranks {
		p.Close()
	}
	if g.server != nil {
		g.server.Close()
	}
}
