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
	record       string   // folder of what was fed
	credentials  control.Credentials
	client       *api.Client
}

// seat is a worker's place: its process, and the proxy that it reaches the broker through.
type seat struct {
	*process
	proxy *proxy
	busy  bool // a fault is under way
}

// Binaries are the programs.
type Binaries struct{ Coordinator, Worker string }

// openSite starts a broker, n coordinators and workers in a folder, which must not be there yet. The site must be closed,
// also after an error.
func openSite(ctx context.Context, c Config, folder string, coordinators, workers int) (*site, error) {
	s := &site{
		folder: folder, binaries: c.Binaries, threads: c.Threads, timeout: c.WorkerTimeout, record: filepath.Join(folder, "fed"),
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return s, err
	}
	token, err := control.LoadToken(s.file("token"), true)
	if err != nil {
		return s, err
	}
	if s.credentials, err = control.LoadCredentials(s.file("broker.json"), true); err != nil {
		return s, err
	}
	free, err := freeAddresses(1 + 2*coordinators)
	if err != nil {
		return s, err
	}
	s.natsAddress = free[0]
	s.broker = &process{
		name: "broker", folder: folder, binary: c.Binaries.Coordinator,
		args: []string{"broker", "--listen", s.natsAddress, "--credentials", s.file("broker.json")},
	}
	if err := s.broker.start(); err != nil {
		return s, err
	}
	if err := s.startCoordinators(free[1:1+coordinators], free[1+coordinators:]); err != nil {
		return s, err
	}
	if s.client, err = api.NewClient(api.Config{Addresses: s.addresses, Token: token, Patience: time.Minute}); err != nil {
		return s, err
	}
	for range workers {
		if _, err := s.addWorker(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *site) file(name string) string { return filepath.Join(s.folder, name) }

// freeAddresses are addresses on loopback that were free a moment ago.
func freeAddresses(n int) ([]string, error) {
	var all []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // not before all are found
		all = append(all, l.Addr().String())
	}
	return all, nil
}

func (s *site) startCoordinators(raft, apis []string) error {
	var peers []string
	for i, address := range raft {
		peers = append(peers, fmt.Sprintf("coordinator-%d=%s", i, address))
	}
	for i := range raft {
		id := "coordinator-" + strconv.Itoa(i)
		p := &process{
			name: id, folder: s.folder, binary: s.binaries.Coordinator,
			args: []string{
				"serve", "--id", id, "--peers", strings.Join(peers, ","), "--raft", raft[i], "--listen", apis[i],
				"--nats", "nats://" + s.natsAddress, "--nats-credentials", s.file("broker.json"), "--token-file", s.file("token"),
				"--data", s.file(id), "--storage", s.file("runs"), "--worker-timeout", s.timeout.String(),
			},
		}
		if err := p.start(); err != nil {
			return err
		}
		s.coordinators = append(s.coordinators, p)
		s.addresses = append(s.addresses, "http://"+apis[i])
	}
	return nil
}

// addWorker makes a place and starts a worker in it.
func (s *site) addWorker(ctx context.Context) (*seat, error) {
	x, err := newProxy(context.WithoutCancel(ctx), s.natsAddress) // it lives as long as the site
	if err != nil {
		return nil, err
	}
	id := "worker-" + strconv.Itoa(len(s.workers))
	w := &seat{proxy: x, process: &process{
		name: id, folder: s.folder, binary: s.binaries.Worker,
		env: []string{"PUPIL_NATS_USER=worker", "PUPIL_NATS_PASSWORD=" + s.credentials.Worker},
		args: []string{
			"join", "--nats-url", "nats://" + x.address(), "--id", id, "--threads", strconv.Itoa(s.threads), "--record", s.record,
		},
	}}
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
	for _, w := range s.workers {
		w.proxy.close()
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
