// Package contest is what benchmarks have in common that compare this project with others: processes that take turns, and
// figures of how they did.
package contest

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
)

// Process is a program that takes commands on standard input, one a line as JSON, and answers each with a line.
type Process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
	errors  bytes.Buffer
}

// longest is the longest answer, in bytes.
const longest = 1 << 20

// ErrMissing says that the program lacks a package of its language.
var ErrMissing = errors.New("a package is missing")

// Start starts a program with further variables in its environment. It ends with ctx.
func Start(ctx context.Context, argv []string, environment ...string) (*Process, error) {
	p := &Process{cmd: exec.CommandContext(ctx, argv[0], argv[1:]...)}
	p.cmd.Env = append(append(os.Environ(), environment...), "PYTHONDONTWRITEBYTECODE=1")
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
	p.answers.Buffer(nil, longest)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", strings.Join(argv, " "), err)
	}
	return p, nil
}

// Ask gives a command, whose name is for errors, and reads the answer to it. What the process says is wrong is an error.
func (p *Process) Ask(name string, command, answer any) error {
	line, err := json.Marshal(command)
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return p.died(name)
	}
	if !p.answers.Scan() {
		return p.died(name)
	}
	var fault struct{ Error, Missing string }
	err = json.Unmarshal(p.answers.Bytes(), &fault)
	switch {
	case err != nil:
	case fault.Missing != "":
		return fmt.Errorf("%s: %s: %w", p.cmd.Path, fault.Error, ErrMissing)
	case fault.Error != "":
		return fmt.Errorf("%s, at %s: %s", p.cmd.Path, name, fault.Error)
	default:
		err = json.Unmarshal(p.answers.Bytes(), answer)
	}
	if err != nil {
		return fmt.Errorf("%s, at %s, answers %q: %w", p.cmd.Path, name, p.answers.Text(), err)
	}
	return nil
}

// died says how the process ended.
func (p *Process) died(name string) error {
	err := p.cmd.Wait()
	if err == nil {
		err = errors.New("it ended")
	}
	lines := strings.Split(strings.TrimSpace(p.errors.String()), "\n")
	return fmt.Errorf("%s, at %s: %w: %s", p.cmd.Path, name, err, strings.Join(lines[max(0, len(lines)-5):], "; "))
}

// Close ends the process. It has nothing to lose.
func (p *Process) Close() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}
