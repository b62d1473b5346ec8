//go:build e2e

package testcluster_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pupil/internal/testcluster"
)

// droppedReport is a report as coordinator chaos --json prints it, as far as the page reads it.
const droppedReport = `{"seed":1,"workers":3,"coordinators":3,"faults":2,"planned":2,"outcome":"finished","steps":60,"generations":3,
"hash_equal":true,"steps_lost":0,"samples_lost":0,"samples_repeated":0,"exactly_once":true,"recovery_ms":{"p50":310,"p99":480,"max":480},
"recovery_by":[{"fault":"kill worker","faults":2,"p50":310,"p99":480,"max":480}],"goodput":0.93}`

// TestDash follows a run on the page in Debian's Chromium, by one address for all coordinators, as a Service or a load balancer is.
// The coordinator that has served the page, which is the leader, is killed meanwhile.
// With PUPIL_PICTURES=FOLDER it takes the docs' pictures of a longer run.
func TestDash(t *testing.T) {
	modules, browser := script(t, "node"), script(t, "browser")
	pictures := os.Getenv("PUPIL_PICTURES")
	settings := []string{"--set", "steps=150", "--set", "batch=64", "--set", "student.width=0.25", "--set", "dataset.test=", "--set", "checkpoint.every=50"}
	if pictures != "" {
		settings = []string{"--set", "steps=240", "--set", "batch=64", "--set", "dataset.test=", "--set", "checkpoint.every=50"}
	}
	c := testcluster.StartCluster(t, 3)
	for _, id := range []string{"worker-a", "worker-b"} {
		c.StartWorker(id)
	}
	leader := until(t, c, func(s status) bool { return s.Leader != "" }).Leader
	lead := slices.IndexFunc(c.Nodes, func(p *testcluster.Process) bool { return p.Name == leader })
	address := balance(t, append(slices.Clone(c.APIs[lead:]), c.APIs[:lead]...))

	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(testcluster.Root(), "internal/testcluster/testdata/dash.js"), modules, browser,
		address, "a token for all the processes", droppedReport)
	if pictures != "" {
		cmd.Args = append(cmd.Args, pictures)
	}
	var messages bytes.Buffer
	cmd.Stderr = &messages
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	hear := func(v any) {
		t.Helper()
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), v) != nil {
			_ = cmd.Wait() // its messages say more
			t.Fatalf("the browser says %q: %s", lines.Text(), messages.String())
		}
	}

	var login struct {
		Refused string
		Shown   bool
	}
	if hear(&login); login.Shown || !strings.Contains(login.Refused, "token") {
		t.Errorf("with a wrong token: %+v", login)
	}
	// The page is open: however fast the machine is, it sees the run from its beginning.
	c.JSON(new(any), append([]string{"submit", demo, "--run", "fashion-1", "--min-workers", "2"}, settings...)...)
	var drawn struct {
		Colours     map[string]int
		Link, Label string
		Workers     []string
		Lanes       int
		Events      int
	}
	hear(&drawn)
	for canvas, n := range drawn.Colours {
		if n < 3 {
			t.Errorf("%s has %d colours", canvas, n)
		}
	}
	if len(drawn.Colours) != 6 || len(drawn.Workers) != 2 || drawn.Lanes != 8 || drawn.Events < 3 || !strings.HasPrefix(drawn.Label, "loss from ") {
		t.Errorf("it shows %+v", drawn)
	}

	c.Nodes[lead].Kill()
	if _, err := io.WriteString(in, "the leader is dead\n"); err != nil {
		t.Fatal(err)
	}
	var changed struct{ Before, Link string }
	if hear(&changed); changed.Before != leader || strings.Contains(changed.Link, leader+" leads") {
		t.Errorf("after the death of %s: %+v", leader, changed)
	}

	var keys struct {
		Cell, Wrong                string
		Help                       bool
		Themes, Chaos, Audit, Bare []string
		Views                      int
	}
	hear(&keys)
	if keys.Cell == "" || !strings.Contains(keys.Cell, "teacher's class 0, student's class 1: ") || !keys.Help || len(keys.Bare) > 0 ||
		!slices.Equal(keys.Themes, []string{"light", "light", "dark", "light"}) {
		t.Errorf("by keyboard: %+v", keys)
	}
	if len(keys.Audit) < 2 || keys.Audit[0] != "yes" || keys.Audit[1] != "yes" || keys.Views < 100 {
		t.Errorf("audit %q, views %d pixels wide", keys.Audit, keys.Views)
	}
	if len(keys.Chaos) == 0 || keys.Chaos[0] != "yes" || !strings.Contains(keys.Wrong, "no report of coordinator chaos") {
		t.Errorf("chaos %q, and of another file: %s", keys.Chaos, keys.Wrong)
	}

	var end struct {
		Steps             []int
		Widths            [][2]int
		Title             string
		Errors, Elsewhere []string
	}
	hear(&end)
	if len(end.Errors)+len(end.Elsewhere) > 0 {
		t.Errorf("errors %q, requests to others %q", end.Errors, end.Elsewhere)
	}
	if n := len(end.Steps); n < 150 || end.Steps[0] != 1 || end.Steps[n-1] != n || !strings.Contains(end.Title, "finished") {
		t.Errorf("%s: the curve's steps are %v", end.Title, end.Steps)
	}
	for _, w := range end.Widths {
		if w[1] > w[0] {
			t.Errorf("a screen %d wide scrolls: %d", w[0], w[1])
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the browser: %v\n%s", err, messages.String())
	}
}

// balance listens, and passes each connection on to the first of some addresses at which somebody is.
func balance(t *testing.T, urls []string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	pass := func(from net.Conn) {
		defer from.Close()
		for _, url := range urls {
			to, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				continue
			}
			stop := context.AfterFunc(t.Context(), func() { from.Close() }) // before the cleanups
			defer stop()
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = io.Copy(to, from)
				to.Close()
			}()
			_, _ = io.Copy(from, to)
			from.Close()
			<-done
			return
		}
	}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { pass(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}
