package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/control"
	"pupil/coordinator/wire"
	"pupil/internal/freeport"
)

// site is a broker, coordinators and workers on this machine, each a process of its own.
type site struct {
	folder       string
	binaries     Binaries
	threads      int
	timeout      time.Duration // of silent workers
	natsAddress  string
	broker       *process
	coordinators []*process
	addresses    []string // of their APIs
	workers      []*seat  // places of workers; one may be empty
	network      *netns   // nil: all is on loopback
	dataPlane    string   // of coordinators
	seed         uint64   // of what lossy links lose
	bucket       bucket   // of the runs
	record       string   // folder of what was fed
	credentials  control.Credentials
	token        string
	client       *api.Client
	parent       *parent // of all processes
}

// seat is a worker's place: its process, and on loopback the proxy that it reaches the broker through.
type seat struct {
	*process
	proxy *proxy // nil in network namespaces
	busy  bool   // a fault is under way
}

// Binaries are the programs.
type Binaries struct{ Coordinator, Worker string }

// openSite starts a broker, n coordinators and workers in a folder, which must not be there yet. The site must be closed,
// also after an error.
func openSite(ctx context.Context, c Config, folder string, coordinators int, schedule Schedule) (*site, error) {
	s := &site{
		folder: folder, binaries: c.Binaries, threads: c.Threads, timeout: c.WorkerTimeout, record: filepath.Join(folder, "fed"),
		dataPlane: c.dataPlane(), seed: c.Schedule.Seed, parent: newParent(),
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return s, err
	}
	var err error
	host := "127.0.0.1"
	if c.Netns {
		if s.network, err = openNetns(); err != nil {
			return s, err
		}
		host = s.network.own()
	}
	if s.bucket, err = openBucket(c, s.file("runs"), host, schedule); err != nil {
		return s, err
	}
	if s.token, err = control.LoadToken(s.file("token"), true); err != nil {
		return s, err
	}
	if s.credentials, err = control.LoadCredentials(s.file("broker.json"), true); err != nil {
		return s, err
	}
	if err := s.startBroker(); err != nil {
		return s, err
	}
	if err := s.startCoordinators(coordinators); err != nil {
		return s, err
	}
	if s.client, err = s.ask(s.addresses); err != nil {
		return s, err
	}
	for range c.Workers {
		if _, err := s.addWorker(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

// openBucket opens the place of the runs: path, or on the store. It is nil after an error.
func openBucket(c Config, path, host string, schedule Schedule) (bucket, error) {
	if c.Storage != "" {
		s, err := openStore(c.Storage, filepath.Base(filepath.Dir(path)), host, c.Schedule.Seed)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	return openFolder(path, schedule.onBucket())
}

// ask is a client of some of the coordinators.
func (s *site) ask(addresses []string) (*api.Client, error) {
	return api.NewClient(api.Config{Addresses: addresses, Token: s.token, Patience: time.Minute})
}

func (s *site) file(name string) string { return filepath.Join(s.folder, name) }

// place finds a place for a process of a name: a host of its own, or this one, and n addresses for it to listen on.
func (s *site) place(name, binary string, n int) (*process, []string, error) {
	p := &process{name: name, folder: s.folder, binary: binary, parent: s.parent}
	var addresses []string
	if s.network == nil {
		for range n {
			free, err := freeport.Address("127.0.0.1")
			if err != nil {
				return nil, nil, err
			}
			addresses = append(addresses, free)
		}
		return p, addresses, nil
	}
	h, err := s.network.host()
	if err != nil {
		return nil, nil, fmt.Errorf("a host for %s: %w", name, err)
	}
	p.host, p.link = h, h
	for i := range n {
		addresses = append(addresses, net.JoinHostPort(h.address, strconv.Itoa(firstPort+i)))
	}
	return p, addresses, nil
}

// firstPort is where the processes on hosts of their own listen.
const firstPort = 7070

func (s *site) startBroker() error {
	p, listen, err := s.place("broker", s.binaries.Coordinator, 1)
	if err != nil {
		return err
	}
	s.broker, s.natsAddress = p, listen[0]
	p.args = []string{"broker", "--listen", s.natsAddress, "--credentials", s.file("broker.json")}
	return s.begin(p)
}

// begin starts a process that listens.
func (s *site) begin(p *process) error {
	if s.network != nil { // nobody else is on that network
		p.args = append(p.args, "--insecure")
	}
	return p.start()
}

func (s *site) startCoordinators(n int) error {
	var peers []string
	var raft []string
	for i := range n {
		id := "coordinator-" + strconv.Itoa(i)
		p, listen, err := s.place(id, s.binaries.Coordinator, 2)
		if err != nil {
			return err
		}
		s.coordinators = append(s.coordinators, p)
		s.addresses, raft = append(s.addresses, "http://"+listen[0]), append(raft, listen[1])
		peers = append(peers, id+"="+listen[1])
	}
	for i, p := range s.coordinators {
		p.args = []string{
			"serve", "--id", p.name, "--peers", strings.Join(peers, ","), "--raft", raft[i],
			"--listen", strings.TrimPrefix(s.addresses[i], "http://"), "--data-plane", s.dataPlane,
			"--nats", "nats://" + s.natsAddress, "--nats-credentials", s.file("broker.json"), "--token-file", s.file("token"),
			"--data", s.file(p.name), "--storage", s.file("runs"), "--worker-timeout", s.timeout.String(),
		}
		if err := s.begin(p); err != nil {
			return err
		}
	}
	return nil
}

// addWorker makes a place and starts a worker in it.
func (s *site) addWorker(ctx context.Context) (*seat, error) {
	id := "worker-" + strconv.Itoa(len(s.workers))
	p, listen, err := s.place(id, s.binaries.Worker, 1)
	if err != nil {
		return nil, err
	}
	w, broker := &seat{process: p}, s.natsAddress
	if s.network == nil {
		// The proxy lives as long as the site.
		w.proxy, err = newProxy(context.WithoutCancel(ctx), s.natsAddress, s.seed+uint64(len(s.workers))<<32)
		if err != nil {
			return nil, err
		}
		w.link, broker = w.proxy, w.proxy.address()
	}
	as := s.credentials.WorkerAccess(id, "*", time.Time{}, "")
	p.env = []string{"PUPIL_NATS_USER=" + as.User, "PUPIL_NATS_PASSWORD=" + as.Password}
	p.args = []string{"join", "--nats-url", "nats://" + broker, "--id", id, "--threads", strconv.Itoa(s.threads), "--record", s.record}
	if s.dataPlane == string(wire.MeshPlane) {
		p.args = append(p.args, "--ring-listen", listen[0])
	}
	s.workers = append(s.workers, w)
	return w, w.start()
}

// processes are all of the site.
func (s *site) processes() []*process {
	var all []*process
	for _, w := range s.workers {
		all = append(all, w.process)
	}
	all = append(all, s.coordinators...)
	if s.broker != nil {
		all = append(all, s.broker)
	}
	return all
}

// close kills all that runs.
func (s *site) close() {
	if s.client != nil {
		s.client.Close()
	}
	for _, p := range s.processes() {
		p.kill()
	}
	s.parent.close()
	for _, w := range s.workers {
		if w.proxy != nil {
			w.proxy.close()
		}
	}
	if s.network != nil {
		s.network.close()
	}
	if s.bucket != nil {
		_ = s.bucket.close() // a mount that stays is swept by the next run
	}
}

// died explains an error by what a process that should live has written last.
func (s *site) died(err error) error {
	for _, p := range s.processes() {
		if p.ended() != nil && !p.running() {
			err = errors.Join(err, fmt.Errorf("%s has ended; its log %s ends so:\n%s", p.name, s.file(p.name+".log"), p.tail()))
		}
	}
	return err
}
