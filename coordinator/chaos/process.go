package chaos

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// process is one of the site's: it may be killed and started again under its name.
type process struct {
	name, binary string
	args, env    []string
	folder       string // its log is there, and it runs there
	host         *host  // that it runs on; nil: this one
	link         link   // what faults of links strike; nil: nothing
	parent       *parent

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// start starts the process, which must not run.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(filepath.Join(p.folder, p.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", p.name, err)
	}
	argv := append([]string{p.binary}, p.args...)
	if p.host != nil {
		argv = p.host.command(argv)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = p.folder, log, log, append(os.Environ(), p.env...)
	cmd.SysProcAttr = attributes()
	if err := p.parent.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", p.name, firstError(err, log.Close()))
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() { // ends with the process, which the site kills at its end
		_ = cmd.Wait() // its state is asked for where it matters
		_ = log.Close()
		close(done)
	}()
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// running says whether the process lives.
func (p *process) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alive()
}

func (p *process) alive() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends a signal to the process, if it lives.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive() {
		_ = p.cmd.Process.Signal(s) // it may end just now
	}
}

// kill ends the process at once, and waits for its end.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	if done := p.ended(); done != nil {
		<-done
	}
}

// leave asks the process to end, and kills it when it has not after the grace time.
func (p *process) leave(grace time.Duration) (asked bool) {
	p.signal(syscall.SIGTERM)
	done := p.ended()
	if done == nil {
		return true
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		p.kill()
		return false
	}
}

func (p *process) ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// tail is the end of what the process wrote.
func (p *process) tail() string {
	const most = 2000
	f, err := os.Open(filepath.Join(p.folder, p.name+".log"))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-most), io.SeekStart)
	}
	data, _ := io.ReadAll(f)
	return string(data)
}
