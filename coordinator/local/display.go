package local

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"pupil/coordinator/wire"
)

// NewDisplay shows a run on w: one live line on a terminal, else plain lines.
func NewDisplay(w io.Writer, terminal bool) Display {
	if terminal {
		return newBar(w)
	}
	return &lines{out: w, now: time.Now}
}

// line says in words where a job stands.
func line(r wire.Report, rate float64, left time.Duration) string {
	return fmt.Sprintf("step %d of %d  %.0f images/s  loss %.4f  mutual information %.3f  ETA %s",
		r.Step, r.Total, rate, r.Loss, r.MutualInformation, left.Round(time.Second))
}

// estimate smooths the speed that reports tell.
type estimate struct {
	perStep float64 // seconds
}

func (e *estimate) add(r wire.Report) (rate float64, left time.Duration) {
	const memory = 0.9 // of the average
	if e.perStep == 0 {
		e.perStep = r.Seconds
	}
	e.perStep = memory*e.perStep + (1-memory)*r.Seconds
	if e.perStep > 0 {
		rate = float64(r.Images) / e.perStep
	}
	return rate, time.Duration(float64(r.Total-r.Step) * e.perStep * float64(time.Second))
}

// lines is the display of an output that is no terminal: about 20 lines for a job, and one every 10 seconds.
type lines struct {
	mu     sync.Mutex
	out    io.Writer
	now    func() time.Time
	last   time.Time
	speed  estimate
	closed bool
}

func (l *lines) Notice(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.out, text)
}

func (l *lines) Progress(r wire.Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rate, left := l.speed.add(r)
	const most, often = 20, 10 * time.Second
	due := r.Step == 1 || r.Step == r.Total || r.Step%max(1, r.Total/most) == 0 || l.now().Sub(l.last) > often
	if l.closed || !due {
		return
	}
	l.last = l.now()
	fmt.Fprintln(l.out, line(r, rate, left))
}

func (l *lines) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// bar is the display of a terminal: notices scroll above one live line. Its lock is never held during a call of mpb, whose
// goroutines call back for the text.
type bar struct {
	plain io.Writer
	out   *mpb.Progress

	text atomic.Value // string

	mu    sync.Mutex
	live  *mpb.Bar
	speed estimate
	done  bool
}

func newBar(w io.Writer, options ...mpb.ContainerOption) *bar {
	b := &bar{plain: w, out: mpb.New(append(options, mpb.WithOutput(w), mpb.WithWidth(40))...)}
	b.text.Store("")
	return b
}

func (b *bar) Notice(text string) {
	b.mu.Lock()
	done := b.done
	b.mu.Unlock()
	if done {
		fmt.Fprintln(b.plain, text)
		return
	}
	fmt.Fprintln(b.out, text)
}

// Progress has one caller.
func (b *bar) Progress(r wire.Report) {
	b.mu.Lock()
	rate, left := b.speed.add(r)
	live, done := b.live, b.done
	b.mu.Unlock()
	if done {
		return
	}
	b.text.Store(line(r, rate, left))
	if live == nil {
		live = b.out.AddBar(int64(r.Total), mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			return b.text.Load().(string)
		})))
		b.mu.Lock()
		b.live = live
		b.mu.Unlock()
	}
	live.SetCurrent(int64(r.Step))
}

// Close leaves the line as it is and ends its updates.
func (b *bar) Close() {
	b.mu.Lock()
	live, done := b.live, b.done
	b.done = true
	b.mu.Unlock()
	if done {
		return
	}
	if live != nil {
		live.Abort(false)
	}
	b.out.Wait()
}
