package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// netns is a network of hosts: a network namespace for each process of a site, joined by a bridge in one more. This process
// reaches them, and no fault is between it and them. It must be closed.
type netns struct {
	prefix string // of the names of namespaces; it has this process's number
	subnet string // the first three bytes
	up     string // this process's device

	mu    sync.Mutex
	made  []string // namespaces
	hosts []*host
}

const (
	netnsPrefix = "pupil-chaos-"
	hostDevice  = "eth0"
	// slowQdisc is slowRate for tc.
	slowQdisc = "32mbit"
)

// CheckNetns says what is missing for network namespaces on this machine.
func CheckNetns() error { return checkNetns(runtime.GOOS, os.Geteuid(), exec.LookPath) }

func checkNetns(system string, user int, look func(string) (string, error)) error {
	if system != "linux" {
		return fmt.Errorf("network namespaces are there on Linux only, and this is %s", system)
	}
	if user != 0 {
		return errors.New("only root may make network namespaces; run as root, or leave them out")
	}
	for _, x := range []struct{ program, from string }{{"ip", "iproute2"}, {"tc", "iproute2"}, {"nft", "nftables"}} {
		if _, err := look(x.program); err != nil {
			return fmt.Errorf("there is no %s, which network namespaces are made with; install %s (Debian's package)", x.program, x.from)
		}
	}
	return nil
}

// openNetns makes a network without hosts. It must be closed, also after an error.
func openNetns() (*netns, error) {
	pid := os.Getpid()
	n := &netns{
		prefix: netnsPrefix + strconv.Itoa(pid) + "-", up: "pch" + strconv.Itoa(pid),
		subnet: fmt.Sprintf("198.19.%d.", pid%256), // of those for tests of networks (RFC 2544)
	}
	if err := CheckNetns(); err != nil {
		return n, err
	}
	sweepNetns()
	hub := n.prefix + "hub"
	if err := n.add(hub); err != nil {
		return n, err
	}
	return n, all(
		[]string{"ip", "-n", hub, "link", "add", "bridge", "type", "bridge"},
		[]string{"ip", "-n", hub, "link", "set", "bridge", "up"},
		[]string{"ip", "link", "add", n.up, "type", "veth", "peer", "name", "above", "netns", hub},
		[]string{"ip", "-n", hub, "link", "set", "above", "master", "bridge", "up"},
		[]string{"ip", "addr", "add", n.own() + "/24", "dev", n.up},
		[]string{"ip", "link", "set", n.up, "up"},
	)
}

// sweepNetns ends what runs have left behind whose process has ended without a goodbye.
func sweepNetns() {
	list, err := execute("ip", "netns", "list")
	if err != nil {
		return
	}
	for line := range strings.Lines(list) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest, ours := strings.CutPrefix(name, netnsPrefix)
		number, _, _ := strings.Cut(rest, "-")
		if pid, err := strconv.Atoi(number); ours && err == nil && !alive(pid) {
			removeNetns(name) // it harms nobody
		}
	}
}

// removeNetns kills what is left in a namespace, and deletes it with its devices.
func removeNetns(name string) {
	if pids, err := execute("ip", "netns", "pids", name); err == nil {
		for _, word := range strings.Fields(pids) {
			if pid, err := strconv.Atoi(word); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	_, _ = execute("ip", "netns", "del", name)
}

func all(steps ...[]string) error {
	for _, argv := range steps {
		if _, err := execute(argv...); err != nil {
			return err
		}
	}
	return nil
}

func (n *netns) add(name string) error {
	if _, err := execute("ip", "netns", "add", name); err != nil {
		return err
	}
	n.made = append(n.made, name)
	return nil
}

func (n *netns) own() string { return n.subnet + "254" }

// close deletes everything.
func (n *netns) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range n.made {
		removeNetns(name)
	}
	if len(n.made) > 0 {
		_, _ = execute("ip", "link", "del", n.up) // the kernel may have taken it away with its other end already
	}
	n.made = nil
}

// host adds a host.
func (n *netns) host() (*host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	const most = 253
	if len(n.hosts) == most {
		return nil, fmt.Errorf("the network has room for %d hosts only", most)
	}
	i := strconv.Itoa(len(n.hosts) + 1)
	h := &host{net: n, name: n.prefix + i, port: "port" + i, address: n.subnet + i}
	if err := n.add(h.name); err != nil {
		return nil, err
	}
	n.hosts = append(n.hosts, h)
	hub := n.prefix + "hub"
	return h, all(
		[]string{"ip", "-n", hub, "link", "add", h.port, "type", "veth", "peer", "name", hostDevice, "netns", h.name},
		[]string{"ip", "-n", hub, "link", "set", h.port, "master", "bridge", "up"},
		[]string{"ip", "-n", h.name, "addr", "add", h.address + "/24", "dev", hostDevice},
		[]string{"ip", "-n", h.name, "link", "set", "lo", "up"},
		[]string{"ip", "-n", h.name, "link", "set", hostDevice, "up"},
	)
}

// part lets no packet go between the hosts given and the others; none: all are together again.
func (n *netns) part(side []*host) error {
	n.mu.Lock()
	hosts := append([]*host(nil), n.hosts...)
	n.mu.Unlock()
	here := map[*host]bool{}
	for _, h := range side {
		here[h] = true
	}
	var errs []error
	for _, h := range hosts {
		var away []string
		for _, other := range hosts {
			if here[h] != here[other] {
				away = append(away, other.address)
			}
		}
		errs = append(errs, h.parted(away))
	}
	return errors.Join(errs...)
}

// host is a network namespace with an address.
type host struct {
	net           *netns
	name, address string
	port          string // the bridge's device for it

	mu   sync.Mutex
	now  condition
	away []string // addresses that it is parted from
}

// command runs a program on the host. The process is the program's own: ip becomes it.
func (h *host) command(argv []string) []string {
	return append([]string{"ip", "netns", "exec", h.name}, argv...)
}

// set implements link.
func (h *host) set(c condition) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	slow := h.now.slow
	h.now = c
	if slow != c.slow {
		if err := h.limit(c.slow); err != nil {
			return err
		}
	}
	return h.filter()
}

func (h *host) parted(away []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = away
	return h.filter()
}

// limit bounds what both ends of the host's cable carry.
func (h *host) limit(slow bool) error {
	tbf := []string{"root", "tbf", "rate", slowQdisc, "burst", "64kb", "latency", "200ms"}
	change := "add"
	if !slow {
		change, tbf = "del", []string{"root"}
	}
	return all(
		append([]string{"tc", "-n", h.name, "qdisc", change, "dev", hostDevice}, tbf...),
		append([]string{"tc", "-n", h.net.prefix + "hub", "qdisc", change, "dev", h.port}, tbf...),
	)
}

// filter tells the kernel which packets the host loses.
func (h *host) filter() error {
	cmd := exec.Command("ip", "netns", "exec", h.name, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(h.rules())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft on %s: %w: %s", h.address, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// rules are those of nft: the table as it shall be, in place of the one that is there.
func (h *host) rules() string {
	var b strings.Builder
	b.WriteString("table inet pupil\ndelete table inet pupil\ntable inet pupil {\n")
	for _, x := range []struct{ chain, hook, device, address string }{
		{"in", "input", "iifname", "saddr"}, {"out", "output", "oifname", "daddr"},
	} {
		fmt.Fprintf(&b, " chain %s {\n  type filter hook %s priority 0\n", x.chain, x.hook)
		fmt.Fprintf(&b, "  %s lo accept\n  ip %s %s accept\n", x.device, x.address, h.net.own())
		if h.now.cut {
			b.WriteString("  drop\n")
		}
		if len(h.away) > 0 {
			fmt.Fprintf(&b, "  ip %s { %s } drop\n", x.address, strings.Join(h.away, ", "))
		}
		if h.now.lose {
			fmt.Fprintf(&b, "  numgen random mod 1000 < %d drop\n", int(lossShare*1000))
		}
		b.WriteString(" }\n")
	}
	b.WriteString("}\n")
	return b.String()
}
