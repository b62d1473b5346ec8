package serve_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/job"
	"pupil/coordinator/raftlog"
	"pupil/coordinator/serve"
	"pupil/coordinator/wire"
	"pupil/internal/certificate"
	"pupil/internal/freeport"
	"pupil/worker/agent"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if leak := leaks(); leak != "" && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines that have not ended:\n"+leak)
		code = 1
	}
	os.Exit(code)
}

// leaks returns the stacks of goroutines that the packages under test have left behind.
func leaks() string {
	buffer := make([]byte, 1<<20)
	var left []string
	for _, stack := range strings.Split(string(buffer[:runtime.Stack(buffer, true)]), "\n\n") {
		for _, p := range []string{"pupil/coordinator/serve.", "pupil/coordinator/control.", "pupil/coordinator/raftlog.", "pupil/coordinator/peer."} {
			if strings.Contains(stack, p) {
				left = append(left, stack)
				break
			}
		}
	}
	return strings.Join(left, "\n\n")
}

const (
	token   = "a token for all the tests"
	version = "test-1"
	lanes   = 4
)

// cluster3 are coordinators in this process, each with its ports and its folder.
type cluster3 struct {
	t      *testing.T
	broker *control.Broker
	link   *control.Remote
	peers  []raftlog.Peer
	nodes  []*coordinator
	client *api.Client
	tls    *certificate.Source // of workers; nil: plain
}

type coordinator struct {
	config serve.Config
	end    func() // nil: it is down
}

func newCluster(t *testing.T, n int) *cluster3 {
	t.Helper()
	c := &cluster3{t: t}
	users := control.NewCredentials()
	var err error
	if c.broker, err = control.StartBroker(control.BrokerOptions{Credentials: &users}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.broker.Close)
	if c.link, err = control.NewRemote(c.broker.URL(), users, nil); err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for i := range n {
		config := c.config(fmt.Sprintf("c%d", i))
		c.nodes = append(c.nodes, &coordinator{config: config})
		c.peers = append(c.peers, raftlog.Peer{ID: config.ID, Address: config.Raft})
		addresses = append(addresses, "http://"+config.Listen)
	}
	for _, n := range c.nodes {
		n.config.Peers = c.peers
		c.up(n)
	}
	c.client = c.connect(addresses...)
	return c
}

func (c *cluster3) config(id string) serve.Config {
	config := serve.DefaultConfig()
	config.ID, config.Folder, config.Token, config.Version = id, filepath.Join(c.t.TempDir(), id), token, version
	config.Listen, config.Raft = freeport.Loopback(c.t), freeport.Loopback(c.t)
	config.Broker, config.Storage = c.link, "file://"+filepath.ToSlash(filepath.Join(c.t.TempDir(), "runs"))
	config.Logger = slog.New(slog.NewTextHandler(c.t.Output(), nil)).With("on", id)
	config.Election = 300 * time.Millisecond
	return config
}

func (c *cluster3) connect(addresses ...string) *api.Client {
	c.t.Helper()
	client, err := api.NewClient(api.Config{Addresses: addresses, Token: token, Patience: time.Minute})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.Close)
	return client
}

func (c *cluster3) up(n *coordinator) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve.Run(ctx, n.config) }()
	n.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Errorf("coordinator %s: %v", n.config.ID, err)
		}
	})
	c.t.Cleanup(n.end)
}

// until waits for a status.
func (c *cluster3) until(what string, ok func(*api.Status) bool) *api.Status {
	c.t.Helper()
	var last *api.Status
	done := errors.New("done")
	err := c.client.Watch(c.t.Context(), func(s *api.Status) error {
		if last = s; ok(s) {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		c.t.Fatalf("waiting for %s: %v; the last status is %+v", what, err, last)
	}
	return last
}

func (c *cluster3) submission(run string) api.Submission {
	c.t.Helper()
	text := fmt.Sprintf(`
name: %s
dataset: {train: "file:///data"}
student: {architecture: mobilenet_v2_cifar, outputs: 10}
lanes: %d
batch: 8
steps: 10
loss: [{name: cross_entropy}]
`, run, lanes)
	spec, err := job.Decode([]byte(text), "job.yaml", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return api.Submission{Run: run, Spec: spec}
}

// trainer sums a number of each lane over the ring in each step, and holds at some of them.
type trainer struct {
	steps int
	hold  func(rank, step int)
}

func (t trainer) Train(ctx context.Context, a agent.Assignment, s agent.Session) (agent.Outcome, error) {
	for step := max(0, a.RestoreStep); step < t.steps; step++ {
		v := []int64{int64(len(a.Lanes)), 0}
		if s.Requested() == agent.Stop {
			v[1] = 1
		}
		ring := s.Ring()
		if err := ring.ReduceInt64(ctx, uint64(step), 1, v); err != nil {
			return agent.Outcome{}, err
		}
		if err := ring.Commit(ctx, uint64(step)); err != nil {
			return agent.Outcome{}, err
		}
		if v[0] != lanes {
			return agent.Outcome{}, fmt.Errorf("the sum is %d", v[0])
		}
		s.SetTimes(step+1, wire.Times{Compute: 0.25 * float64(1+a.Rank), Wait: 0.25})
		if a.Rank == 0 {
			s.Report(wire.Report{Step: step + 1, Total: t.steps, Loss: 0.5, Images: 8, Seconds: 0.5})
		}
		if v[1] > 0 && step+1 < t.steps {
			return agent.Outcome{Kind: wire.Stopped, Step: step + 1, WeightsSHA256: "weights"}, nil
		}
		if t.hold != nil {
			t.hold(a.Rank, step+1)
		}
	}
	return agent.Outcome{Kind: wire.Finished, Step: t.steps, WeightsSHA256: "weights"}, nil
}

func (c *cluster3) work(id string, t agent.Trainer) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = agent.Run(ctx, agent.Config{
			Access: c.client.Broker, ID: id, Threads: 1, Version: version, Kernel: "generic", TLS: c.tls,
			Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil)).With("on", id),
		}, t)
	})
	c.t.Cleanup(func() { cancel(); wg.Wait() })
}

// TestLeaders carries a run over changes of the leader, and then over an end of all coordinators.
func TestLeaders(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	in := c.submission("a")
	in.MinWorkers = 2
	for range 2 { // the second time changes nothing
		r, err := c.client.Submit(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if r.Phase != cluster.Waiting || r.Storage != c.nodes[0].config.Storage+"/a" && r.Storage != c.nodes[1].config.Storage+"/a" &&
			r.Storage != c.nodes[2].config.Storage+"/a" {
			t.Errorf("run %+v", r)
		}
	}
	reached, goOn := make(chan struct{}), make(chan struct{})
	work := trainer{steps: 12, hold: func(rank, step int) {
		if rank == 1 && step%4 == 0 && step < 12 {
			reached <- struct{}{}
			<-goOn
		}
	}}
	c.work("w0", work)
	c.work("w1", work)

	<-reached
	s := c.until("the times of both workers", func(s *api.Status) bool {
		return len(s.Runs) == 1 && len(s.Runs[0].Workers) == 2 && s.Runs[0].Workers[0].Compute > 0 && s.Runs[0].Workers[1].Compute > 0
	})
	first := s.Leader
	if r := s.Runs[0]; r.Step != 4 || r.Total != 12 || r.ImagesPerSecond != 16 || r.ETASeconds != 4 || r.Slow != nil ||
		len(r.Workers[0].Lanes) != 2 {
		t.Errorf("run %+v", r)
	}
	for _, n := range c.nodes {
		if n.config.ID == first {
			n.end()
		}
	}
	goOn <- struct{}{}
	s = c.until("another leader", func(s *api.Status) bool { return s.Leader != first })
	if r := s.Runs[0]; r.Generation != 1 || len(s.Workers) != 2 {
		t.Errorf("run %+v, workers %+v", r, s.Workers)
	}

	<-reached
	for _, n := range c.nodes {
		n.end()
	}
	goOn <- struct{}{}
	for _, n := range c.nodes {
		c.up(n)
	}
	s = c.until("the end", func(s *api.Status) bool { return s.Runs[0].Phase.Over() })
	if r := s.Runs[0]; r.Phase != cluster.Finished || r.Generation != 1 || r.Step != 12 || r.Weights != "weights" {
		t.Errorf("run %+v", r)
	}
	leads := 0
	err := c.client.Events(t.Context(), 0, false, func(e *api.Event) error {
		if strings.HasSuffix(e.Text, " leads") {
			leads++
		}
		if strings.Contains(e.Text, "lost") {
			t.Errorf("event %+v", e)
		}
		return nil
	})
	if err != nil || leads < 3 {
		t.Errorf("%d leaders in the events, error %v", leads, err)
	}
}

// TestRequests asks each of three coordinators, whether it leads or not.
func TestRequests(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.until("a leader", func(s *api.Status) bool { return s.Leader != "" })
	for _, n := range c.nodes {
		one := c.connect("http://" + n.config.Listen)
		name := "run-on-" + n.config.ID
		in := c.submission(name)
		in.Storage = "file://" + filepath.ToSlash(t.TempDir())
		if _, err := one.Submit(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		d, err := one.Run(t.Context(), name)
		if err != nil || d.Spec == nil || d.Spec.Digest() != in.Spec.Digest() || d.Total != 10 {
			t.Errorf("detail %+v, error %v", d, err)
		}
		if _, err := os.Stat(filepath.Join(strings.TrimPrefix(in.Storage, "file://"), wire.RecordName)); err != nil {
			t.Error(err)
		}
		if b, err := one.Broker(t.Context(), "w0", "s"); err != nil || b.URL != c.link.URL() || !strings.HasPrefix(b.User, "worker w0 s ") || b.Password == "" {
			t.Errorf("broker %+v, error %v", b, err)
		}
		if m, err := one.Members(t.Context()); err != nil || len(m) != 3 {
			t.Errorf("members %+v, error %v", m, err)
		}
		// Each of these is refused with a reason.
		other, bad, here := in, in, in
		spec := *in.Spec
		spec.Seed = 7
		other.Spec = &spec
		bad.Run = "no spaces"
		here.Run = name + "-2"
		for want, err := range map[string]error{
			"another job": errorOf(one.Submit(t.Context(), other)),
			"contains":    errorOf(one.Submit(t.Context(), bad)),
			"no run gone": errorOf(one.Run(t.Context(), "gone")),
			"no run lost": errorOf(one.Cancel(t.Context(), "lost", "")),
			"no job":      errorOf(one.Submit(t.Context(), api.Submission{Run: "x"})),
			"only":        errorOf(one.RemoveMember(t.Context(), "c9")),
			"id=host":     errorOf(one.AddMember(t.Context(), api.Member{ID: "c9"})),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v; want one with %q", err, want)
			}
		}
		stranger, err := api.NewClient(api.Config{Addresses: []string{"http://" + n.config.Listen}, Token: "wrong"})
		if err != nil {
			t.Fatal(err)
		}
		var said *api.Error
		if err := errorOf(stranger.Status(t.Context())); !errors.As(err, &said) || said.Code != api.Unauthorized || said.Status != 401 {
			t.Errorf("another token: error %v", err)
		}
		stranger.Close()
		if r, err := http.Get("http://" + n.config.Listen + "/healthz"); err != nil || r.StatusCode != 200 {
			t.Errorf("health: %v, error %v", r, err)
		} else {
			_ = r.Body.Close()
		}
	}
	runs, err := c.client.Runs(t.Context())
	if err != nil || len(runs) != 3 {
		t.Fatalf("runs %+v, error %v", runs, err)
	}
	r, err := c.client.Cancel(t.Context(), runs[0].Run, "enough")
	if err != nil || r.Phase != cluster.Stopped || r.Reason != "enough" {
		t.Errorf("cancelled: %+v, error %v", r, err)
	}
	if err := errorOf(c.client.Cancel(t.Context(), runs[0].Run, "again")); err == nil || !strings.Contains(err.Error(), "is stopped already") {
		t.Errorf("cancelled again: error %v", err)
	}
}

func errorOf[T any](_ T, err error) error { return err }

// TestMembers lets a coordinator join one that was alone, and takes the first one out.
func TestMembers(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	in := c.submission("a")
	if _, err := c.client.Submit(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	second := &coordinator{config: c.config("c1")}
	second.config.Join = true
	c.up(second)
	m, err := c.client.AddMember(t.Context(), api.Member{ID: "c1", Address: second.config.Raft})
	if err != nil || len(m) != 2 {
		t.Fatalf("members %+v, error %v", m, err)
	}
	other := c.connect("http://" + second.config.Listen)
	if runs, err := other.Runs(t.Context()); err != nil || len(runs) != 1 {
		t.Errorf("the new one has the runs %+v, error %v", runs, err)
	}
	if m, err = other.RemoveMember(t.Context(), "c0"); err != nil && !strings.Contains(err.Error(), "only [c1]") {
		t.Fatalf("members %+v, error %v", m, err)
	}
	c.nodes[0].end()
	if m, err = other.Members(t.Context()); err != nil || len(m) != 1 || m[0].ID != "c1" || !m[0].Leader {
		t.Errorf("members %+v, error %v", m, err)
	}
	if runs, err := other.Runs(t.Context()); err != nil || len(runs) != 1 || runs[0].Run != "a" {
		t.Errorf("the runs %+v, error %v", runs, err)
	}
}

func TestValidate(t *testing.T) {
	err := serve.Config{
		Listen: "0.0.0.0:1", Raft: "nowhere", Join: true, Peers: []raftlog.Peer{{ID: "a", Address: "h:1"}, {ID: "b", Address: "h:2"}},
	}.Validate()
	for _, want := range []string{
		"id is missing", "token is missing", "broker is missing", "without TLS", "host:port", "either begins", "1, 3 or 5",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want one with %q", err, want)
		}
	}
}
