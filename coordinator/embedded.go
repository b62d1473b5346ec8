package main

import (
	"cmp"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"pupil/coordinator/control"
	"pupil/coordinator/serve"
	"pupil/internal/config"
	"pupil/internal/hostport"
)

// The ports of a broker within a coordinator, as NATS servers have them.
const (
	natsPort  = "4222"
	routePort = "6222"
)

// embeddedFlags say where the broker within a coordinator listens, and where those of the other coordinators are.
type embeddedFlags struct {
	listen, advertise, routes, peers string
	open                             bool
}

func (f *embeddedFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "nats-listen", "", "address of the broker within this process (default: the host of --listen, port "+natsPort+")")
	flags.StringVar(&f.advertise, "nats-advertise", "", "address by which workers reach --nats-listen (default: the same; where that is\nall addresses, this coordinator's host in --peers or --advertise)")
	flags.StringVar(&f.routes, "nats-routes", "", "address for the brokers of other coordinators (default: the host of --raft, port "+routePort+", where\nthere are others)")
	flags.StringVar(&f.peers, "nats-peers", "", "--nats-routes of the other coordinators, host:port,... (default: the hosts of --peers, at the port of\nthis one's --nats-routes)")
	addOpenBroker(cmd, &f.open)
}

// refuse says that a flag makes no sense beside --nats.
func (f *embeddedFlags) refuse(cmd *cobra.Command) error {
	for _, name := range []string{"nats-listen", "nats-advertise", "nats-routes", "nats-peers", openBrokerFlag} {
		if cmd.Flags().Changed(name) {
			return config.Usagef("--%s is about the broker within this process, and with --nats there is none; give one of the two", name)
		}
	}
	return nil
}

// options are those of the broker of a coordinator.
func (f *embeddedFlags) options(c serve.Config) (control.BrokerOptions, error) {
	o := control.BrokerOptions{Name: c.ID, TLS: c.TLS, Open: f.open, Advertise: f.advertise, Logger: c.Logger}
	listen := cmp.Or(f.listen, net.JoinHostPort(hostOf(c.Listen), natsPort))
	var err error
	if o.Host, o.Port, err = brokerAddress(listen, c.TLS != nil, c.Insecure); err != nil {
		return o, fmt.Errorf("--nats-listen: %w", err)
	}
	own := ownHost(c)
	switch {
	case f.advertise != "":
		if err := hostport.Check(f.advertise); err != nil {
			return o, fmt.Errorf("--nats-advertise: %w", err)
		}
	case hostport.Any(o.Host) && o.Port != 0 && own != "" && own != "localhost" && !net.ParseIP(own).IsLoopback():
		o.Advertise = net.JoinHostPort(own, fmt.Sprint(o.Port))
	}
	o.Routes, err = f.route(c, own)
	return o, err
}

// route is the way to the other brokers; nil for a coordinator alone.
func (f *embeddedFlags) route(c serve.Config, own string) (*control.Routes, error) {
	if len(c.Peers) < 2 && !c.Join && f.routes == "" && f.peers == "" {
		return nil, nil
	}
	listen := cmp.Or(f.routes, net.JoinHostPort(hostOf(c.Raft), routePort))
	r := &control.Routes{}
	var err error
	if r.Host, r.Port, err = brokerAddress(listen, c.TLS != nil, c.Insecure); err != nil {
		return nil, fmt.Errorf("--nats-routes: %w", err)
	}
	port := fmt.Sprint(r.Port)
	if own != "" && r.Port != 0 {
		r.Advertise = net.JoinHostPort(own, port)
	}
	if f.peers != "" {
		for _, a := range strings.Split(f.peers, ",") {
			if a = strings.TrimSpace(a); a == r.Advertise || a == listen || a == "" {
				continue
			}
			if err := hostport.Check(a); err != nil {
				return nil, fmt.Errorf("--nats-peers: %w", err)
			}
			r.Peers = append(r.Peers, a)
		}
		return r, nil
	}
	if c.Join {
		return nil, fmt.Errorf("a coordinator that joins others needs to know where their brokers are: give their --nats-routes as " +
			"--nats-peers host:port,..., or a broker that runs by itself with --nats")
	}
	seen := map[string]bool{}
	for _, p := range c.Peers {
		host := hostOf(p.Address)
		if p.ID == c.ID {
			continue
		}
		if seen[host] || host == own {
			return nil, fmt.Errorf("several coordinators are on the host %s, so that the places of their brokers do not follow from --peers; "+
				"give each its --nats-listen and --nats-routes, and all of these as --nats-peers", host)
		}
		seen[host] = true
		r.Peers = append(r.Peers, net.JoinHostPort(host, port))
	}
	return r, nil
}

// ownHost is by what name or address others reach this coordinator; "" if nothing says so.
func ownHost(c serve.Config) string {
	for _, p := range c.Peers {
		if p.ID == c.ID {
			return hostOf(p.Address)
		}
	}
	for _, a := range []string{c.Advertise, c.Raft} {
		if host := hostOf(a); !hostport.Any(host) {
			return host
		}
	}
	return ""
}

// hostOf is an address without its port; "" for what is none, which its own check tells.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return host
}
