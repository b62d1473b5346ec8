package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// world is where the processes are: on one machine, or each on a machine of its own.
type world interface {
	// on is the command line that runs a program on a machine.
	on(machine int, argv []string) []string
	// address is a machine's, and device its network's.
	address(machine int) string
	device() string
	close() error
}

// here is this machine, for all processes.
type here struct{}

func (here) on(_ int, argv []string) []string { return argv }
func (here) address(int) string               { return "127.0.0.1" }
func (here) device() string                   { return "lo" }
func (here) close() error                     { return nil }

// namespaces are machines, each a network namespace with one link to a switch, which is in a namespace as well. A link
// has the rate in each direction. So nothing of this machine's own network is touched.
type namespaces struct {
	prefix string
	made   []string
	run    func(argv ...string) (string, error)
}

// The links. A queue of 50 ms is a usual switch's; the burst is as long as the largest piece that the kernel hands on.
const (
	rate    = "1gbit"
	burst   = "128kb"
	queue   = "50ms"
	subnet  = "10.213.0."
	nsName  = "pupil-ring-"
	hostDev = "eth0"
)

// newNamespaces makes machines, after it has removed what an ended run may have left.
func newNamespaces(ctx context.Context, machines int) (*namespaces, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("network namespaces need root; or choose others with --only loopback")
	}
	for _, tool := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("network namespaces need %s: install iproute2, or choose others with --only loopback", tool)
		}
	}
	n := &namespaces{prefix: nsName + strconv.Itoa(os.Getpid()) + "-", run: execute}
	n.sweep(alive)
	if err := n.build(ctx, machines); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func execute(argv ...string) (string, error) {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

func alive(pid int) bool { return syscall.Kill(pid, 0) != syscall.ESRCH }

// sweep deletes the namespaces of runs whose process has ended.
func (n *namespaces) sweep(alive func(pid int) bool) {
	list, err := n.run("ip", "netns", "list")
	if err != nil {
		return
	}
	for line := range strings.Lines(list) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest, ours := strings.CutPrefix(name, nsName)
		number, _, _ := strings.Cut(rest, "-")
		if pid, err := strconv.Atoi(number); ours && err == nil && !alive(pid) {
			_, _ = n.run("ip", "netns", "del", name) // it harms nobody
		}
	}
}

func (n *namespaces) name(machine int) string { return n.prefix + strconv.Itoa(machine) }

// build makes the switch and the machines. Links go with their namespaces.
func (n *namespaces) build(ctx context.Context, machines int) error {
	hub := n.prefix + "switch"
	if err := n.add(hub); err != nil {
		return err
	}
	steps := [][]string{
		{"ip", "-n", hub, "link", "add", "bridge", "type", "bridge"},
		{"ip", "-n", hub, "link", "set", "bridge", "up"},
	}
	for i := range machines {
		name, port := n.name(i), "port"+strconv.Itoa(i)
		if err := n.add(name); err != nil {
			return err
		}
		limit := []string{"root", "tbf", "rate", rate, "burst", burst, "latency", queue}
		steps = append(steps,
			[]string{"ip", "-n", hub, "link", "add", port, "type", "veth", "peer", "name", hostDev, "netns", name},
			[]string{"ip", "-n", hub, "link", "set", port, "master", "bridge", "up"},
			[]string{"ip", "-n", name, "addr", "add", n.address(i) + "/24", "dev", hostDev},
			[]string{"ip", "-n", name, "link", "set", "lo", "up"},
			[]string{"ip", "-n", name, "link", "set", hostDev, "up"},
			append([]string{"tc", "-n", hub, "qdisc", "add", "dev", port}, limit...),
			append([]string{"tc", "-n", name, "qdisc", "add", "dev", hostDev}, limit...),
		)
	}
	for _, argv := range steps {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := n.run(argv...); err != nil {
			return err
		}
	}
	return nil
}

func (n *namespaces) add(name string) error {
	if _, err := n.run("ip", "netns", "add", name); err != nil {
		return err
	}
	n.made = append(n.made, name)
	return nil
}

func (n *namespaces) on(machine int, argv []string) []string {
	return append([]string{"ip", "netns", "exec", n.name(machine)}, argv...)
}

func (n *namespaces) address(machine int) string { return subnet + strconv.Itoa(machine+1) }
func (n *namespaces) device() string             { return hostDev }

// close deletes everything that build made.
func (n *namespaces) close() error {
	var errs []error
	for _, name := range n.made {
		_, err := n.run("ip", "netns", "del", name)
		errs = append(errs, err)
	}
	n.made = nil
	return errors.Join(errs...)
}
