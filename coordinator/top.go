package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pupil/coordinator/api"
	"pupil/coordinator/cluster"
	"pupil/internal/config"
)

func topCommand() *cobra.Command {
	var f clientFlags
	var every time.Duration
	var once bool
	cmd := &cobra.Command{
		Use:   "top [RUN]",
		Short: "Show a cluster on the whole terminal as it goes: runs, workers, who waits for whom",
		Long: "Top draws the cluster, or one run, anew every --every: progress, loss and mutual information over time, each worker\n" +
			"with its lanes and where its last step's time went, the newest events. It goes on when another coordinator takes\n" +
			"over, until it is interrupted. Where its output is no terminal it prints the picture once.\n\n" +
			"In a worker's bar # is computing, - is waiting for sums and images, and = is sending.",
		Example: "  coordinator top\n  coordinator top faces-1 --every 5s",
		Args:    atMostOne("the name of a run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.use(func(c *api.Client) error {
				if every <= 0 {
					return config.Usagef("--every is %s; it must be positive", every)
				}
				t := &top{out: cmd.OutOrStdout(), client: c, every: every, history: map[string]*trace{}}
				if len(args) == 1 {
					t.run = args[0]
				}
				if f.json {
					return watchJSON(cmd, c, args)
				}
				if file, ok := t.out.(*os.File); ok && term.IsTerminal(int(file.Fd())) && !once {
					t.screen = file
				}
				return t.follow(cmd)
			})
		},
	}
	cmd.Flags().DurationVar(&every, "every", time.Second, "time between two pictures")
	cmd.Flags().BoolVar(&once, "once", false, "print one picture and end, also on a terminal")
	f.add(cmd)
	return cmd
}

// top draws a cluster.
type top struct {
	out     io.Writer
	screen  *os.File // nil: no terminal
	client  *api.Client
	run     string // the only one to be shown; "": all
	every   time.Duration
	drawn   time.Time
	history map[string]*trace // by run
}

// trace is what a run's newest steps were like.
type trace struct {
	step              int
	loss, information []float64
}

// maxTrace is the number of steps that are kept.
const maxTrace = 60

// What terminals understand: another screen without a cursor, and back; the upper left corner; the rest of a line and of the
// screen.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearRest   = "\x1b[J"
)

func (t *top) follow(cmd *cobra.Command) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if t.run != "" {
		if _, err := t.client.Run(ctx, t.run); err != nil {
			return err
		}
	}
	var last []byte
	if t.screen != nil {
		fmt.Fprint(t.out, enterScreen)
		defer func() { fmt.Fprintf(t.out, "%s%s", leaveScreen, last) }() // what was seen last stays
	}
	err := t.client.Watch(ctx, func(s *api.Status) error {
		t.note(s)
		if t.screen != nil && time.Since(t.drawn) < t.every {
			return nil
		}
		t.drawn = time.Now()
		var events []*api.Event
		_ = t.client.Events(ctx, 0, false, func(e *api.Event) error { // without them the picture is still of use
			if t.run == "" || e.Run == t.run {
				events = append(events, e)
			}
			return nil
		})
		width, height := 100, 0
		if t.screen != nil {
			if w, h, err := term.GetSize(int(t.screen.Fd())); err == nil {
				width, height = w, h
			}
		}
		last = t.picture(s, events, width)
		if t.screen == nil {
			_, err := t.out.Write(last)
			return orOver(err)
		}
		return t.paint(last, width, height)
	})
	return watched(ctx.Err() != nil, err, nil)
}

func orOver(err error) error {
	if err == nil {
		return errOver
	}
	return err
}

// paint puts a picture over the one before, cut to the screen.
func (t *top) paint(picture []byte, width, height int) error {
	var b bytes.Buffer
	b.WriteString(home)
	lines := strings.Split(strings.TrimSuffix(string(picture), "\n"), "\n")
	if height > 1 && len(lines) >= height {
		lines = lines[:height-1]
	}
	for _, line := range lines {
		if r := []rune(line); len(r) > width {
			line = string(r[:width])
		}
		b.WriteString(line + clearLine + "\r\n")
	}
	b.WriteString(clearRest)
	_, err := t.out.Write(b.Bytes())
	return err
}

// note keeps what changes from step to step.
func (t *top) note(s *api.Status) {
	for _, r := range s.Runs {
		h := t.history[r.Run]
		if h == nil {
			h = &trace{}
			t.history[r.Run] = h
		}
		if r.Step == h.step || r.StepSeconds == 0 {
			continue
		}
		h.step = r.Step
		h.loss = keep(h.loss, r.Loss)
		h.information = keep(h.information, r.MutualInformation)
	}
}

func keep(all []float64, v float64) []float64 {
	all = append(all, v)
	return all[max(0, len(all)-maxTrace):]
}

// picture is the cluster as text.
func (t *top) picture(s *api.Status, events []*api.Event, width int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "coordinator %s leads, %d workers, %s\n", s.Leader, len(s.Workers), s.Time.Local().Format("15:04:05"))
	for i := range s.Runs {
		r := &s.Runs[i]
		if t.run == "" || t.run == r.Run {
			t.drawRun(&b, r, width)
		}
	}
	if len(s.Runs) == 0 {
		fmt.Fprintln(&b, "\nno job was submitted yet")
	}
	var idle []string
	for _, w := range s.Workers {
		if w.Run == "" {
			idle = append(idle, w.ID)
		}
	}
	if len(idle) > 0 {
		fmt.Fprintf(&b, "\nwithout lanes: %s\n", strings.Join(idle, ", "))
	}
	const most = 8
	if len(events) > 0 {
		fmt.Fprintln(&b)
	}
	for _, e := range events[max(0, len(events)-most):] {
		fmt.Fprintf(&b, "%s  %s\n", e.Time.Local().Format("15:04:05"), strings.TrimSpace(e.Run+" "+e.Worker+" "+e.Text))
	}
	return bytes.Map(func(r rune) rune { // what workers tell does not reach the terminal's controls
		if r != '\n' && unicode.IsControl(r) {
			return ' '
		}
		return r
	}, b.Bytes())
}

func (t *top) drawRun(b *bytes.Buffer, r *api.Run, width int) {
	fmt.Fprintf(b, "\n%s is %s", r.Run, r.Phase)
	if r.Reason != "" {
		fmt.Fprintf(b, ": %s", r.Reason)
	}
	fmt.Fprintln(b)
	if r.Total > 0 {
		fmt.Fprintf(b, "  [%s] step %s", bar(max(10, min(40, width-50)), part{'#', float64(r.Step) / float64(r.Total)}), steps(r))
		if r.ImagesPerSecond > 0 {
			fmt.Fprintf(b, ", %s images/s, ETA %s", rate(r), eta(r))
		}
		fmt.Fprintln(b)
	}
	if r.Phase.Over() && r.Phase != cluster.Finished || r.StepSeconds == 0 {
		return
	}
	h := t.history[r.Run]
	fmt.Fprintf(b, "  loss %-10.4f %s\n", r.Loss, spark(h.loss))
	fmt.Fprintf(b, "  information %-3.3f %s nat\n", r.MutualInformation, spark(h.information))
	for _, w := range r.Workers {
		whole := w.Compute + w.Wait + w.Send
		if whole <= 0 {
			whole = 1
		}
		slow := ""
		if r.Slow != nil && r.Slow.Worker == w.ID {
			slow = "  the others wait for it: " + r.Slow.Cause
		}
		fmt.Fprintf(b, "  %2d %-16s lanes %-8s [%s] %7s computing%s\n", w.Rank, w.ID, ranges(w.Lanes),
			bar(20, part{'#', w.Compute / whole}, part{'-', w.Wait / whole}, part{'=', w.Send / whole}), seconds(w.Compute), slow)
	}
}

// part of a bar: its sign and its share.
type part struct {
	sign  rune
	share float64
}

// bar draws shares of a whole.
func bar(width int, parts ...part) string {
	var b strings.Builder
	sum, at := 0., 0
	for _, p := range parts {
		sum += max(0, min(1, p.share))
		for end := min(width, int(sum*float64(width)+0.5)); at < end; at++ {
			b.WriteRune(p.sign)
		}
	}
	return b.String() + strings.Repeat(" ", width-at)
}

// spark draws values over time, from the least to the most.
func spark(all []float64) string {
	signs := []rune("▁▂▃▄▅▆▇█")
	if len(all) < 2 {
		return ""
	}
	low, high := all[0], all[0]
	for _, v := range all {
		low, high = min(low, v), max(high, v)
	}
	var b strings.Builder
	for _, v := range all {
		at := 0
		if high > low {
			at = int((v - low) / (high - low) * float64(len(signs)-1))
		}
		b.WriteRune(signs[max(0, min(at, len(signs)-1))])
	}
	return b.String()
}
