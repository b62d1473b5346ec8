package chaos

import (
	"os/exec"
	"runtime"
)

// parent is a thread that starts processes. On Linux the kernel kills them when it ends, and so when this program does in
// any way, kill -9 too: nobody is left to train on. Elsewhere they outlive a kill -9. It must be closed.
//
// The signal is bound to the thread that started a process, not to the program (prctl(2), PR_SET_PDEATHSIG): a thread of
// the runtime's choice could end sooner.
type parent struct {
	starts chan func()
	ended  chan struct{}
}

func newParent() *parent {
	p := &parent{starts: make(chan func()), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		runtime.LockOSThread() // and never unlocked: the thread ends with this function
		for start := range p.starts {
			start()
		}
	}()
	return p
}

// start starts a process.
func (p *parent) start(cmd *exec.Cmd) (err error) {
	done := make(chan struct{})
	p.starts <- func() {
		defer close(done)
		err = cmd.Start()
	}
	<-done
	return err
}

func (p *parent) close() {
	close(p.starts)
	<-p.ended
}
