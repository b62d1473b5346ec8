package testcluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pupil/internal/freeport"
)

// Cluster is coordinators and workers, each a process of its own, in a folder of the test. All end with it.
type Cluster struct {
	t       testing.TB
	b       Binaries
	Folder  string
	Broker  *Process   // nil: each coordinator has one within it
	Nodes   []*Process // coordinators
	APIs    []string   // their addresses
	natsURL string     // of Broker
	Brokers []string   // without Broker: where those within coordinators listen
	routes  []string   // and for each other
	peers   string
	raft    []string
	serve   []string // more arguments of coordinators
}

// Process is one of a cluster's processes.
type Process struct {
	t    testing.TB
	Name string
	Cmd  *exec.Cmd
	Log  string // file
	done chan struct{}
}

// StartCluster starts a broker by itself and n coordinators, these with more arguments.
func StartCluster(t testing.TB, n int, serve ...string) *Cluster {
	t.Helper()
	return StartClusterOf(t, Build(t), n, serve...)
}

// StartClusterOf is StartCluster with other binaries.
func StartClusterOf(t testing.TB, b Binaries, n int, serve ...string) *Cluster {
	t.Helper()
	c := newCluster(t, n, serve)
	c.b = b
	c.natsURL = "nats://" + freeport.Loopback(t)
	c.StartBroker()
	c.startNodes()
	return c
}

// StartCoordinators starts n coordinators with brokers within them, with more arguments.
func StartCoordinators(t testing.TB, n int, serve ...string) *Cluster {
	t.Helper()
	c := newCluster(t, n, serve)
	for range n {
		c.Brokers, c.routes = append(c.Brokers, freeport.Loopback(t)), append(c.routes, freeport.Loopback(t))
	}
	c.startNodes()
	return c
}

func newCluster(t testing.TB, n int, serve []string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, b: Build(t), Folder: t.TempDir(), serve: serve, Nodes: make([]*Process, n)}
	var peers []string
	for i := range n {
		c.raft, c.APIs = append(c.raft, freeport.Loopback(t)), append(c.APIs, "http://"+freeport.Loopback(t))
		peers = append(peers, fmt.Sprintf("c%d=%s", i, c.raft[i]))
	}
	c.peers = strings.Join(peers, ",")
	if err := os.WriteFile(c.file("token"), []byte("a token for all the processes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *Cluster) startNodes() {
	c.t.Helper()
	for i := range c.Nodes {
		c.StartNode(i)
	}
}

// Use lets what is started from now on be of other binaries.
func (c *Cluster) Use(b Binaries) { c.b = b }

func (c *Cluster) file(name string) string { return filepath.Join(c.Folder, name) }

// StartBroker starts the broker, or starts it again at the same address.
func (c *Cluster) StartBroker() {
	c.t.Helper()
	c.Broker = c.start("broker", c.b.Coordinator, "broker", "--listen", strings.TrimPrefix(c.natsURL, "nats://"),
		"--credentials", c.file("broker.json"))
	for { // the coordinators read the file
		if _, err := os.Stat(c.file("broker.json")); err == nil {
			return
		}
		select {
		case <-c.Broker.done:
			c.t.Fatalf("the broker has ended:\n%s", c.Broker.Text())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// StartNode starts a coordinator, or starts it again with its folder.
func (c *Cluster) StartNode(i int) {
	c.t.Helper()
	id := fmt.Sprintf("c%d", i)
	args := []string{
		"serve", "--id", id, "--peers", c.peers, "--raft", c.raft[i], "--listen", strings.TrimPrefix(c.APIs[i], "http://"),
		"--token-file", c.file("token"), "--data", c.file(id), "--storage", c.file("runs"),
	}
	if len(c.Brokers) > 0 {
		args = append(args, "--nats-listen", c.Brokers[i], "--nats-routes", c.routes[i], "--nats-peers", strings.Join(c.routes, ","))
	} else {
		args = append(args, "--nats", c.natsURL, "--nats-credentials", c.file("broker.json"))
	}
	c.Nodes[i] = c.start(id, c.b.Coordinator, append(args, c.serve...)...)
}

// StartWorker starts a worker. It asks the coordinators where the broker is.
func (c *Cluster) StartWorker(id string, args ...string) *Process {
	c.t.Helper()
	return c.start(id, c.b.Worker, append([]string{
		"join", "--coordinator", strings.Join(c.APIs, ","), "--token-file", c.file("token"), "--id", id, "--threads", "1",
	}, args...)...)
}

// Do runs a command of coordinator against the cluster and returns its output and exit code.
func (c *Cluster) Do(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.b.Coordinator, append(args,
		"--coordinator", strings.Join(c.APIs, ","), "--token-file", c.file("token"), "--patience", "60s")...)
	cmd.Dir = Root()
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		c.t.Fatal(err)
	}
	return out.String(), messages.String(), cmd.ProcessState.ExitCode()
}

// JSON runs a command with --json, which must end with exit code 0, and reads its output.
func (c *Cluster) JSON(v any, args ...string) {
	c.t.Helper()
	out, messages, code := c.Do(append(args, "--json")...)
	if code != 0 {
		c.t.Fatalf("coordinator %s: exit code %d\n%s\n%s", strings.Join(args, " "), code, messages, c.logs())
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		c.t.Fatalf("coordinator %s --json printed %q: %v", strings.Join(args, " "), out, err)
	}
}

// Watch calls show with each line of `coordinator watch --json` until it returns true.
func (c *Cluster) Watch(show func(line []byte) bool) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.b.Coordinator, "watch", "--json",
		"--coordinator", strings.Join(c.APIs, ","), "--token-file", c.file("token"), "--patience", "60s")
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	var messages bytes.Buffer
	cmd.Stderr = &messages
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	d := json.NewDecoder(out)
	for {
		var line json.RawMessage
		if err := d.Decode(&line); err != nil {
			_ = cmd.Wait() // its messages say more
			c.t.Fatalf("coordinator watch has ended (%v): %s\n%s", err, messages.String(), c.logs())
		}
		if show(line) {
			break
		}
	}
	_ = cmd.Process.Kill()
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // killed
}

// logs are the ends of what all processes wrote.
func (c *Cluster) logs() string {
	var all strings.Builder
	files, _ := filepath.Glob(c.file("*.log"))
	for _, f := range files {
		const most = 4000
		data, _ := os.ReadFile(f)
		fmt.Fprintf(&all, "--- %s\n%s", filepath.Base(f), data[max(0, len(data)-most):])
	}
	return all.String()
}

func (c *Cluster) start(name, binary string, args ...string) *Process {
	c.t.Helper()
	p := &Process{t: c.t, Name: name, Log: c.file(name + ".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	p.Cmd = exec.CommandContext(c.t.Context(), binary, args...)
	p.Cmd.Dir, p.Cmd.Stdout, p.Cmd.Stderr = c.Folder, log, log
	if err := p.Cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		_ = p.Cmd.Wait() // Wait says how
		_ = log.Close()
		close(p.done)
	}()
	c.t.Cleanup(p.Kill)
	return p
}

// Kill ends the process as kill -9 does, and waits for its end.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill() // it may have ended
	<-p.done
}

// Wait waits for the end of the process and returns its exit code; -1 for one that was killed.
func (p *Process) Wait() int {
	<-p.done
	return p.Cmd.ProcessState.ExitCode()
}

// Text is what the process wrote.
func (p *Process) Text() string {
	data, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
