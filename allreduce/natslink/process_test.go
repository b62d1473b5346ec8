package natslink_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/allreduce"
	"pupil/allreduce/linktest"
	"pupil/allreduce/natslink"
)

// rankVariable makes this test binary a rank of its own process: its value is a rankConfig.
const rankVariable = "PUPIL_TEST_RANK"

type rankConfig struct {
	URL        string
	Rank, Size int
	Deadline   time.Duration
	Steps      uint64
}

func TestMain(m *testing.M) {
	text := os.Getenv(rankVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var c rankConfig
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = c.run(context.Background())
	}
	fmt.Printf("end: %q\n", fmt.Sprint(err))
}

// run sums steps, and tells of each. What comes on standard input aborts the ring.
func (c rankConfig) run(ctx context.Context) error {
	nc, err := nats.Connect(c.URL, nats.ReconnectBufSize(-1), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return err
	}
	defer nc.Close()
	l, err := natslink.New(ctx, nc, natslink.Config{Prefix: "process", Generation: 1, Rank: c.Rank, Size: c.Size})
	if err != nil {
		return err
	}
	r, err := allreduce.New(l, allreduce.Config{
		Generation: 1, Rank: c.Rank, Size: c.Size, Deadline: c.Deadline, ChunkBytes: 16 << 10,
	})
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	running.Go(func() { _ = r.Run(ctx) }) // a failure shows in the calls
	defer func() {
		stop()
		running.Wait()
		_ = l.Close() // the process ends
	}()
	go func() {
		if reason, err := bufio.NewReader(os.Stdin).ReadString('\n'); err == nil {
			r.Abort(errors.New(strings.TrimSpace(reason)))
		}
	}()
	var done atomic.Uint64
	running.Go(func() { tellOfWaits(ctx, r, &done) })
	for step := range c.Steps {
		if err := linktest.Step(ctx, r, c.Rank, c.Size, step, []int{30_000, 5}); err != nil {
			return err
		}
		done.Store(step + 1)
		fmt.Println("step", step)
	}
	return nil
}

// tellOfWaits prints a line when the ring has asked several times for what is missing in one step.
func tellOfWaits(ctx context.Context, r *allreduce.Ring, done *atomic.Uint64) {
	const many = 6
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	step, asked := uint64(0), int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := r.Stats()
		if now := done.Load(); now != step {
			step, asked = now, s.Asked
		} else if s.Asked >= asked+many {
			fmt.Println("waits")
			asked = s.Asked
		}
	}
}

// process is a rank's, and its output, line by line.
type process struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

func processes(t *testing.T, size int, deadline time.Duration, steps uint64) (all []*process) {
	t.Helper()
	s := broker(t, nil)
	for rank := range size {
		c, err := json.Marshal(rankConfig{s.ClientURL(), rank, size, deadline, steps})
		if err != nil {
			t.Fatal(err)
		}
		p := &process{cmd: exec.CommandContext(t.Context(), os.Args[0])}
		p.cmd.Env = append(os.Environ(), rankVariable+"="+string(c))
		if p.in, err = p.cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		out, err := p.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		p.out = bufio.NewScanner(out)
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = p.cmd.Process.Kill() // if it has not ended
			_ = p.cmd.Wait()
		})
		all = append(all, p)
	}
	return all
}

// until reads a process's output up to a line, and returns the last one read.
func (p *process) until(line string) (last string) {
	for p.out.Scan() {
		if last = p.out.Text(); last == line {
			break
		}
	}
	return last
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

const endless = 1 << 40 // steps

// A process that stands still for longer than the deadline, or is killed, ends the others with an error; should it wake
// up, it ends with one too.
func TestStoppedAndKilled(t *testing.T) {
	for name, s := range map[string]syscall.Signal{"stopped": syscall.SIGSTOP, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := processes(t, 3, time.Second, endless)
			all[1].until("step 3")
			all[1].signal(t, s)
			for _, rank := range []int{0, 2} {
				if end := all[rank].until(""); !strings.Contains(end, "no progress within the deadline of 1s") {
					t.Errorf("rank %d: %q", rank, end)
				}
			}
			if s == syscall.SIGSTOP {
				all[1].signal(t, syscall.SIGCONT)
				if end := all[1].until(""); !strings.HasPrefix(end, "end: ") || end == `end: "<nil>"` {
					t.Errorf("the rank that was stopped: %q", end)
				}
			}
		})
	}
}

// A process that stands still for less than the deadline changes nothing but the time.
func TestPaused(t *testing.T) {
	t.Parallel()
	all := processes(t, 3, time.Minute, 200)
	all[1].until("step 3")
	all[1].signal(t, syscall.SIGSTOP)
	if line := all[2].until("waits"); line != "waits" {
		t.Errorf("rank 2 does not wait: %q", line)
	}
	all[1].signal(t, syscall.SIGCONT)
	for rank, p := range all {
		if end := p.until(""); end != `end: "<nil>"` {
			t.Errorf("rank %d: %q", rank, end)
		}
	}
}

// An abort at one process ends the sums of the others that wait for a third, long before the deadline.
func TestAbortWhileAPeerStandsStill(t *testing.T) {
	t.Parallel()
	all := processes(t, 3, time.Hour, endless)
	all[1].until("step 3")
	all[1].signal(t, syscall.SIGSTOP)
	for _, rank := range []int{0, 2} {
		if line := all[rank].until("waits"); line != "waits" {
			t.Errorf("rank %d does not wait: %q", rank, line)
		}
	}
	if _, err := io.WriteString(all[0].in, "a new generation\n"); err != nil {
		t.Fatal(err)
	}
	for _, rank := range []int{0, 2} {
		if end := all[rank].until(""); !strings.Contains(end, "aborted") || !strings.Contains(end, "a new generation") {
			t.Errorf("rank %d: %q", rank, end)
		}
	}
	all[1].signal(t, syscall.SIGCONT)
	if end := all[1].until(""); !strings.Contains(end, "a new generation") {
		t.Errorf("the rank that was stopped: %q", end)
	}
}
