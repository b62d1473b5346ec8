package cluster_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/job"
)

var update = flag.Bool("update", false, "write what the tests find into testdata")

// TestScripts runs testdata/*.txt. A script is blocks of lines: what happens, "----", what is to be seen, an empty line.
// See script.do for the words.
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
	state *cluster.State
	now   time.Time
	start time.Time
}

func newScript() *script {
	start := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	return &script{state: cluster.New(), now: start, start: start}
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

// do does what a line says. Every line but tick, decide, state, orders and events is a command; its arguments are
// key=value or, in order, those that the case shows.
func (s *script) do(words []string) string {
	word, rest := words[0], words[1:]
	arg := map[string]string{}
	var plain []string
	for _, w := range rest {
		if k, v, ok := strings.Cut(w, "="); ok {
			arg[k] = v
		} else {
			plain = append(plain, w)
		}
	}
	first := strings.Join(plain[:min(1, len(plain))], "")
	others := strings.Join(plain[min(1, len(plain)):], " ")
	number := func(key string, missing int) int {
		if n, err := strconv.Atoi(arg[key]); err == nil {
			return n
		}
		return missing
	}
	session := arg["session"]
	if session == "" {
		session = first + "-1"
	}
	run := "a"
	if arg["run"] != "" {
		run = arg["run"]
	}
	generation := uint64(number("gen", int(s.state.Generation)))
	submission := cluster.Submission{
		Run: first, Spec: &job.Spec{Name: first, Lanes: number("lanes", 4)}, Digest: "digest" + arg["digest"],
		Storage: "mem://", MinWorkers: number("min", 1), Restore: number("restore", -1),
	}
	switch word {
	case "tick":
		d, err := time.ParseDuration(first)
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
	case "submit":
		return s.apply(cluster.Submit{Submission: submission})
	case "resume":
		return s.apply(cluster.Resume{Submission: submission})
	case "join":
		kernel := "avx2"
		if arg["kernel"] != "" {
			kernel = arg["kernel"]
		}
		return s.apply(cluster.Join{Worker: first, Session: session, Host: "h", PID: 7, Threads: 1, Kernel: kernel})
	case "lost":
		return s.apply(cluster.Lost{Worker: first, Session: arg["session"], Reason: others})
	case "leave":
		return s.apply(cluster.Leave{Worker: first, Session: session})
	case "committed":
		return s.apply(cluster.Committed{Run: run, Generation: generation, Step: number("step", 0)})
	case "checkpointed":
		return s.apply(cluster.Checkpointed{Run: run, Generation: generation, Step: number("step", 0)})
	case "ended":
		outcome, text, _ := strings.Cut(others, " ")
		return s.apply(cluster.Ended{
			Worker: first, Run: run, Generation: generation, Outcome: cluster.Phase(outcome), Error: text,
			Step: number("step", 0), Weights: arg["weights"],
		})
	case "stop":
		return s.apply(cluster.StopRequested{Run: first, Reason: others})
	case "restarted":
		return s.apply(cluster.Restarted{})
	}
	return "unknown word " + word + "\n"
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
		d, why := cluster.Decide(s.state, s.now, cluster.DefaultConfig())
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

func (s *script) events() string {
	var out strings.Builder
	for _, e := range s.state.Events {
		fmt.Fprintf(&out, "%d %s run=%s worker=%s %s\n", e.Sequence, e.Time.Sub(s.start), e.Run, e.Worker, e.Text)
	}
	return out.String()
}
