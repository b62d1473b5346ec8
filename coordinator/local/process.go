package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// process is a worker process of this machine.
type process struct {
	id      string
	cmd     *exec.Cmd
	life    io.Closer // the worker's standard input: it ends when this is closed, as it is when this process is killed
	logPath string
	log     *os.File
}

// startProcess runs the worker binary with its messages in a log file. It stands in a process group of its own, so that
// Ctrl-C reaches only the coordinator, and ends when ctx does: as its standard input is closed, then after grace by SIGKILL.
func startProcess(ctx context.Context, binary, id, logs string, env, args []string) (*process, error) {
	const grace = 5 * time.Second
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	p := &process{id: id, logPath: filepath.Join(logs, id+".log")}
	var err error
	if p.log, err = os.OpenFile(p.logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
		return nil, err
	}
	p.cmd = exec.CommandContext(ctx, binary, args...)
	p.cmd.Env = append(WorkerEnvironment(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = ownGroup()
	p.cmd.Cancel = func() error { return p.life.Close() }
	p.cmd.WaitDelay = grace
	if p.life, err = p.cmd.StdinPipe(); err != nil {
		p.log.Close()
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		p.log.Close()
		return nil, fmt.Errorf("start worker %s: %w; --worker-binary says where it is", id, err)
	}
	return p, nil
}

// WorkerEnvironment is this process's environment without the name of its configuration file, whose keys a worker does
// not know.
func WorkerEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PUPIL_CONFIG=") })
}

// ownGroup keeps Ctrl-C, which a terminal sends to the whole group in front, from a child.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// wait returns when the process has ended, with how it ended in words. again is false for one that ended as it should, and for
// one that was used in a wrong way: another one would be, too.
func (p *process) wait() (how string, again bool) {
	err := p.cmd.Wait() // closes life
	p.log.Close()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "ended", false
	case errors.As(err, &exit):
		if status, is := exit.Sys().(syscall.WaitStatus); is && status.Signaled() {
			return fmt.Sprintf("was killed by signal %d (%s)", status.Signal(), status.Signal()), true
		}
		how = fmt.Sprintf("ended with exit code %d", exit.ExitCode())
		if last := lastLine(p.logPath); last != "" {
			how += ": " + last
		}
		return how, exit.ExitCode() != wrongUse
	}
	return err.Error(), true
}

// wrongUse is the exit code of a program whose flags, environment or files are not what it takes.
const wrongUse = 2

// lastLine is the last line of a file, or what can be read of it.
func lastLine(path string) string {
	const most = 1000 // bytes
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	begin := max(0, end-most)
	data, err := io.ReadAll(io.NewSectionReader(f, begin, end-begin))
	if err != nil {
		return ""
	}
	text := strings.TrimSpace(string(data))
	return strings.ToValidUTF8(text[strings.LastIndex(text, "\n")+1:], "?")
}

// WorkerBinary is the path of the worker binary: beside this one, unless told otherwise.
func WorkerBinary(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the worker binary: %w; say where it is with --worker-binary", err)
	}
	path := filepath.Join(filepath.Dir(self), "worker")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find the worker binary beside %s: %w; build both with make build, or say where it is with --worker-binary",
			self, err)
	}
	return path, nil
}
