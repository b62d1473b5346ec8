package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// process is one rank of one way to sum, or its server: a program that takes a command a line and answers each.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
	errors  bytes.Buffer
}

// start runs a program. It ends with ctx.
func start(ctx context.Context, argv []string, environment ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, argv[0], argv[1:]...)}
	p.cmd.Env = append(append(os.Environ(), environment...), "OMP_NUM_THREADS=1", "PYTHONDONTWRITEBYTECODE=1")
	p.cmd.Stderr = &p.errors
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.answers = bufio.NewScanner(out)
	p.answers.Buffer(nil, 1<<20)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", strings.Join(argv, " "), err)
	}
	return p, nil
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
	Missing  string    `json:"missing,omitempty"` // a package of Python
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
func (p *process) ask(o order) (a answer, err error) {
	line, err := json.Marshal(o)
	if err != nil {
		return a, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return a, p.died(o.Do)
	}
	if !p.answers.Scan() {
		return a, p.died(o.Do)
	}
	if err := json.Unmarshal(p.answers.Bytes(), &a); err != nil {
		return a, fmt.Errorf("%s answers %q: %w", p.cmd.Path, p.answers.Text(), err)
	}
	switch {
	case a.Missing != "":
		return a, fmt.Errorf("%s: %s; %s", p.cmd.Path, a.Error, missing)
	case a.Error != "":
		return a, fmt.Errorf("%s: %s", o.Do, a.Error)
	}
	return a, nil
}

// died says how the process ended.
func (p *process) died(command string) error {
	err := p.cmd.Wait()
	if err == nil {
		err = errors.New("it ended")
	}
	lines := strings.Split(strings.TrimSpace(p.errors.String()), "\n")
	return fmt.Errorf("%s, at %s: %w: %s", p.cmd.Path, command, err, strings.Join(lines[max(0, len(lines)-5):], "; "))
}

// close ends the process. It has nothing to lose.
func (p *process) close() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// group is the ranks of one way, and its server if it has one.
type group struct {
	ranks  []*process
	server *process
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
		p.close()
	}
	if g.server != nil {
		g.server.close()
	}
}
