package main

import (
	"fmt"
	"io"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// meter shows how far something has come: a bar on a terminal, a line now and then elsewhere. It is used by one goroutine.
type meter struct {
	out        io.Writer
	what, unit string
	bars       *mpb.Progress // nil: lines
	bar        *mpb.Bar
	last       time.Time
}

func newMeter(w io.Writer, what, unit string) *meter {
	m := &meter{out: w, what: what, unit: unit, last: time.Now()}
	if isTerminal(w) {
		m.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(60))
	}
	return m
}

func (m *meter) set(done, total int) {
	if m.bars == nil {
		const often = 10 * time.Second
		if time.Since(m.last) > often {
			m.last = time.Now()
			fmt.Fprintf(m.out, "%s: %d of %d %s\n", m.what, done, total, m.unit)
		}
		return
	}
	if m.bar == nil {
		m.bar = m.bars.AddBar(int64(total),
			mpb.PrependDecorators(decor.Name(m.what+" "), decor.CountersNoUnit("%d of %d "+m.unit)),
			mpb.AppendDecorators(decor.AverageSpeed(0, " %.0f/s"), decor.Name("  "), decor.AverageETA(decor.ET_STYLE_GO)))
		m.bar.SetRefill(int64(done)) // what was there already
	}
	m.bar.SetCurrent(int64(done))
}

func (m *meter) close() {
	if m.bar != nil && !m.bar.Completed() {
		m.bar.Abort(false)
	}
	if m.bars != nil {
		m.bars.Wait()
	}
}
