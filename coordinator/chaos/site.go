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

// site is coordinators with brokers within them, or beside a broker by itself, and workers on this machine, each a process of its own.
type site struct {
	folder       string
	binaries     Binaries
	threads      int
	timeout      time.Duration // of silent workers
	brokers      []string      // where they listen for workers
	broker       *process      // nil: each coordinator has one within it
	coordinators []*process
	addresses    []string       // of their APIs
	workers      []*seat        // places of workers; one may be empty
	network      *netns         // nil: all is on loopback
	dataPlane    wire.DataPlane // of coordinators
	seed         uint64         // of what lossy links lose
	bucket       bucket         // of the runs
	record       string         // folder of what was fed
	credentials  control.Credentials
	token        string
	client       *api.Client
	parent       *parent // of all processes
}

// seat is a worker's place: its process, and on loopback the proxies that it reaches the brokers through, and others reach it.
type seat struct {
	*process
	proxies []*proxy // of brokers, in their order; none in network namespaces
	ring    *proxy   // to its own server, for the others' sums; nil: none
	busy    bool     // a fault is under way
}

// links are several ways, struck together.
type links []link

func (l links) set(c condition) error {
	var errs []error
	for _, one := range l {
		errs = append(errs, one.set(c))
	}
	return errors.Join(errs...)
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
	if c.External {
		if s.credentials, err = control.LoadCredentials(s.file("broker.json"), true); err != nil {
			return s, err
		}
		if err := s.startBroker(); err != nil {
			return s, err
		}
	} else {
		s.credentials = control.DeriveCredentials(s.token)
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
	return api.NewClient(api.Config{Addresses: addresses, Token: s.token, Patience: patience})
}

// patience is how long coordinators may be away that are asked.
const patience = 10 * time.Minute

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
	s.broker, s.brokers = p, listen
	p.args = []string{"broker", "--listen", listen[0], "--credentials", s.file("broker.json")}
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
	var peers, raft, routes []string
	for i := range n {
		id := "coordinator-" + strconv.Itoa(i)
		p, listen, err := s.place(id, s.binaries.Coordinator, 4)
		if err != nil {
			return err
		}
		s.coordinators = append(s.coordinators, p)
		s.addresses, raft = append(s.addresses, "http://"+listen[0]), append(raft, listen[1])
		peers = append(peers, id+"="+listen[1])
		if s.broker == nil {
			s.brokers, routes = append(s.brokers, listen[2]), append(routes, listen[3])
		}
	}
	for i, p := range s.coordinators {
		p.args = []string{
			"serve", "--id", p.name, "--peers", strings.Join(peers, ","), "--raft", raft[i],
			"--listen", strings.TrimPrefix(s.addresses[i], "http://"), "--data-plane", string(s.dataPlane),
			"--token-file", s.file("token"), "--data", s.file(p.name), "--storage", s.file("runs"), "--worker-timeout", s.timeout.String(),
		}
		switch {
		case s.broker != nil:
			p.args = append(p.args, "--nats", "nats://"+s.brokers[0], "--nats-credentials", s.file("broker.json"))
		case n == 1:
			p.args = append(p.args, "--nats-listen", s.brokers[0])
		default:
			p.args = append(p.args, "--nats-listen", s.brokers[i], "--nats-routes", routes[i], "--nats-peers", strings.Join(routes, ","))
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
	w, brokers := &seat{process: p}, s.brokers
	advertise := ""
	if s.network == nil {
		if err := w.connect(ctx, s, listen[0]); err != nil {
			return nil, err
		}
		brokers = nil
		for _, x := range w.proxies {
			brokers = append(brokers, x.address())
		}
		advertise = w.ring.address()
	}
	as := s.credentials.WorkerAccess(id, "*", time.Time{}, "")
	p.env = []string{"PUPIL_NATS_USER=" + as.User, "PUPIL_NATS_PASSWORD=" + as.Password}
	p.args = []string{"join", "--nats-url", urls(brokers), "--id", id, "--threads", strconv.Itoa(s.threads), "--record", s.record}
	if s.dataPlane.Listens() {
		p.args = append(p.args, "--ring-listen", listen[0])
		if advertise != "" {
			p.args = append(p.args, "--ring-advertise", advertise)
		}
	}
	s.workers = append(s.workers, w)
	return w, w.start()
}

// urls are those of brokers.
func urls(addresses []string) string { return "nats://" + strings.Join(addresses, ",nats://") }

// connect makes the proxies between a worker of this machine, which listens at an address, and all others. They live as long as
// the site.
func (w *seat) connect(ctx context.Context, s *site, own string) (err error) {
	ctx = context.WithoutCancel(ctx)
	seed := s.seed + uint64(len(s.workers))<<32
	var all links
	for i, b := range s.brokers {
		x, err := newProxy(ctx, b, seed+uint64(i)<<24, false)
		if err != nil {
			return err
		}
		w.proxies, all = append(w.proxies, x), append(all, x)
	}
	if w.ring, err = newProxy(ctx, own, seed, true); err != nil { // TLS
		return err
	}
	w.link = append(all, w.ring)
	return nil
}

// busiest is the coordinator whose broker most of the workers' connections go to; nil in network namespaces, where nobody knows.
func (s *site) busiest() *process {
	if s.network != nil {
		return nil
	}
	best, most := 0, int64(-1)
	for i := range s.coordinators {
		n := int64(0)
		for _, w := range s.workers {
			n += w.proxies[i].open.Load()
		}
		if n > most {
			best, most = i, n
		}
	}
	return s.coordinators[best]
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
		for _, x := range append(w.proxies, w.ring) {
			if x != nil {
				x.close()
			}
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
