package cluster_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/job"
)

var update = flag.Bool("update", false, "write what the tests find into testdata")

// TestScripts runs testdata/*.txt. A script is blocks of lines: what happens, "----", what is to be seen, an empty
// line. See script.do and script.command for the words.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("scripts: %v, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := newScript().run(string(data))
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got != string(data) {
				t.Errorf("%s: run with -update and look at the difference; found:\n%s", path, got)
			}
		})
	}
}

type script struct {
	config cluster.Config
	state  *cluster.State
	now    time.Time
	start  time.Time
}

func newScript() *script {
	config := cluster.DefaultConfig()
	config.Prepare = 0 // but where a script says so
	start := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	return &script{config: config, state: cluster.New(), now: start, start: start}
}

// run returns the script with what was seen in place of what it says is to be seen.
func (s *script) run(text string) string {
	var out bytes.Buffer
	seen, skip := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "----":
			fmt.Fprintf(&out, "----\n%s", seen)
			seen, skip = "", true
		case line == "":
			skip = false
			fmt.Fprintln(&out)
		case skip:
		default:
			fmt.Fprintln(&out, line)
			if !strings.HasPrefix(line, "#") {
				seen += s.do(strings.Fields(line))
			}
		}
	}
	return out.String()
}

// line is what a line of a script says: a word, arguments by place and arguments by name.
type line struct {
	word  string
	plain []string
	named map[string]string
}

func parseLine(words []string) line {
	l := line{word: words[0], named: map[string]string{}}
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok {
			l.named[k] = v
		} else {
			l.plain = append(l.plain, w)
		}
	}
	return l
}

// first is the first argument by place; rest are the others.
func (l line) first() string { return strings.Join(l.plain[:min(1, len(l.plain))], "") }
func (l line) rest() string  { return strings.Join(l.plain[min(1, len(l.plain)):], " ") }

func (l line) text(key, missing string) string {
	if v := l.named[key]; v != "" {
		return v
	}
	return missing
}

func (l line) number(key string, missing int) int {
	if n, err := strconv.Atoi(l.named[key]); err == nil {
		return n
	}
	return missing
}

// do does what a line says, and returns what is to be seen.
func (s *script) do(words []string) string {
	l := parseLine(words)
	switch l.word {
	case "tick":
		d, err := time.ParseDuration(l.first())
		s.now = s.now.Add(d)
		if err != nil {
			return err.Error() + "\n"
		}
		return ""
	case "decide":
		return s.decide()
	case "state":
		return s.show()
	case "orders":
		return s.orders()
	case "events":
		return s.events()
	case "ledger":
		return s.ledger()
	case "slow":
		return l.slow()
	case "prepare":
		s.config.Prepare, _ = time.ParseDuration(l.first())
		return ""
	case "keep":
		s.config.KeepRuns = l.number("runs", s.config.KeepRuns)
		s.config.KeepFor, _ = time.ParseDuration(l.text("for", "0s"))
		return ""
	}
	c := s.command(l)
	if c == nil {
		return "unknown word " + l.word + "\n"
	}
	return s.apply(c)
}

// slow says which worker is slow by loads such as w0:compute=0.3.
func (l line) slow() string {
	var workers []string
	loads := map[string]*cluster.Load{}
	for _, key := range slices.Sorted(maps.Keys(l.named)) {
		worker, part, _ := strings.Cut(key, ":")
		if loads[worker] == nil {
			workers, loads[worker] = append(workers, worker), &cluster.Load{}
		}
		x := loads[worker]
		field := map[string]*float64{"compute": &x.Compute, "send": &x.Send, "receive": &x.Receive, "left": &x.Left, "wait": &x.Wait}[part]
		if field == nil {
			return "no worker spends time on " + part + "\n"
		}
		*field, _ = strconv.ParseFloat(l.named[key], 64)
	}
	var all []cluster.Load
	for _, w := range workers {
		all = append(all, *loads[w])
	}
	rank, cause := cluster.Slow(all)
	if cause == "" {
		return "no worker is slow\n"
	}
	return fmt.Sprintf("%s: %s\n", workers[rank], cause)
}

// command is the command of a line. Where nothing else is said, it is about run a and the newest generation.
func (s *script) command(l line) cluster.Command {
	first, run, session := l.first(), l.text("run", "a"), l.text("session", l.first()+"-1")
	generation, step := uint64(l.number("gen", int(s.state.Generation))), l.number("step", 0)
	submission := cluster.Submission{
		Run: first, Spec: &job.Spec{Name: first, Lanes: l.number("lanes", 4)}, Digest: "digest" + l.named["digest"],
		Storage: "mem://", MinWorkers: l.number("min", 1), Workers: l.number("workers", 0),
		MaxWorkers: l.number("max", 0), Restore: l.number("restore", -1),
	}
	switch l.word {
	case "submit":
		return cluster.Submit{Submission: submission}
	case "resume":
		return cluster.Resume{Submission: submission}
	case "join":
		return cluster.Join{
			Worker: first, Session: session, Host: "h", PID: 7, Threads: 1, Kernel: l.text("kernel", "avx2"),
		}
	case "lost":
		return cluster.Lost{Worker: first, Session: l.named["session"], Reason: l.rest()}
	case "draining":
		return cluster.Draining{Worker: first, Session: session, Reason: l.rest()}
	case "began":
		return cluster.Began{Worker: first, Run: run, Generation: generation, Step: step, From: l.named["from"]}
	case "measured":
		m := cluster.Measured{Run: run, Generation: generation}
		for _, p := range l.plain {
			worker, text, _ := strings.Cut(p, ":")
			seconds, _ := strconv.ParseFloat(text, 64)
			m.Paces = append(m.Paces, cluster.Pace{Worker: worker, Seconds: seconds})
		}
		return m
	case "leave":
		return cluster.Leave{Worker: first, Session: session}
	case "committed":
		return cluster.Committed{Run: run, Generation: generation, Step: step}
	case "checkpointed":
		return cluster.Checkpointed{Run: run, Generation: generation, Step: step}
	case "ended":
		outcome, text, _ := strings.Cut(l.rest(), " ")
		return cluster.Ended{
			Worker: first, Run: run, Generation: generation, Outcome: cluster.Phase(outcome), Error: text,
			Step: step, Weights: l.named["weights"],
		}
	case "stop":
		return cluster.StopRequested{Run: first, Reason: l.rest()}
	case "restarted":
		return cluster.Restarted{}
	case "prepared":
		return cluster.Prepared{Worker: first, Session: session, Run: run, Error: l.rest()}
	case "preparing":
		return cluster.Preparing{Worker: first, Run: run}
	case "forget":
		return cluster.Forgotten{Run: first, Reason: l.rest()}
	case "took_over":
		return cluster.TookOver{Coordinator: first}
	}
	return nil
}

func (s *script) apply(c cluster.Command) string {
	if err := s.state.Apply(s.now, c); err != nil {
		return err.Error() + "\n"
	}
	return ""
}

// decide applies decisions until there is none.
func (s *script) decide() string {
	var out strings.Builder
	for {
		d, why := cluster.Decide(s.state, s.now, s.config)
		fmt.Fprintf(&out, "%s", d.Kind)
		if d.Run != "" {
			fmt.Fprintf(&out, " %s", d.Run)
		}
		if !d.Until.IsZero() {
			fmt.Fprintf(&out, " until %s", d.Until.Sub(s.start))
		}
		fmt.Fprintf(&out, ": %s\n", why)
		if d.Command == nil {
			return out.String()
		}
		out.WriteString(s.apply(d.Command))
	}
}

func (s *script) show() string {
	var out strings.Builder
	for _, r := range s.state.Runs {
		fmt.Fprintf(&out, "%s %s at=%d committed=%d checkpoints=%v", r.Run, r.Phase, r.Position, r.Committed, r.Checkpoints)
		if r.Weights != "" {
			fmt.Fprintf(&out, " step=%d weights=%s", r.EndedStep, r.Weights)
		}
		if r.Reason != "" {
			fmt.Fprintf(&out, " (%s)", r.Reason)
		}
		fmt.Fprintln(&out)
		if r.Plan != nil {
			fmt.Fprintf(&out, "  generation %d from %d:", r.Plan.Generation, r.Plan.Restore)
			for _, m := range r.Plan.Members {
				fmt.Fprintf(&out, " %s%v", m.Worker, m.Lanes)
			}
			fmt.Fprintln(&out)
		}
	}
	return out.String()
}

func (s *script) orders() string {
	var out strings.Builder
	for _, w := range s.state.Workers {
		o := s.state.Order(w.ID)
		fmt.Fprintf(&out, "%s %s", w.ID, o.Instruction)
		if o.Run != "" {
			fmt.Fprintf(&out, " %s %d", o.Run, o.Generation)
		}
		if o.Reason != "" {
			fmt.Fprintf(&out, " (%s)", o.Reason)
		}
		fmt.Fprintln(&out)
	}
	return out.String()
}

func (s *script) ledger() string {
	var out strings.Builder
	for _, r := range s.state.Runs {
		for _, span := range r.Spans {
			fmt.Fprintf(&out, "%s %d to %d by generation %d\n", r.Run, span.From, span.To, span.Generation)
		}
	}
	return out.String()
}

func (s *script) events() string {
	var out strings.Builder
	for _, e := range s.state.Events {
		fmt.Fprintf(&out, "%d %s run=%s worker=%s %s\n", e.Sequence, e.Time.Sub(s.start), e.Run, e.Worker, e.Text)
	}
	return out.String()
}
