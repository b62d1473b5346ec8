package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"

	"pupil/allreduce"
	"pupil/allreduce/meshlink"
	"pupil/allreduce/natslink"
	"pupil/coordinator/wire"
	"pupil/internal/hostport"
)

func (c Config) checkRing() error {
	var errs []error
	if c.RingListen != "" {
		if err := hostport.CheckListen(c.RingListen); err != nil {
			errs = append(errs, fmt.Errorf("ring listen: %w", err))
		}
	}
	if c.RingPlain && (!hostport.Loopback(c.RingListen) || c.RingAdvertise != "") {
		errs = append(errs, errors.New("ring plain leaves TLS out, which is for workers of one machine: ring listen must be a loopback "+
			"address, such as 127.0.0.1:0, and ring advertise not given"))
	}
	if c.RingAdvertise != "" {
		if c.RingListen == "" {
			errs = append(errs, errors.New("ring advertise says where others reach this worker, but ring listen is not given"))
		}
		if err := hostport.Check(c.RingAdvertise); err != nil {
			errs = append(errs, fmt.Errorf("ring advertise: %w", err))
		}
	}
	return errors.Join(errs...)
}

// listen starts the worker's own server, if it shall have one.
func (c *Config) listen() (closeServer func(), err error) {
	if c.RingListen == "" {
		return func() {}, nil
	}
	if c.server, err = meshlink.Listen(meshlink.ServerConfig{Listen: c.RingListen, Plain: c.RingPlain, Logger: c.Logger}); err != nil {
		return nil, err
	}
	return func() {
		if err := c.server.Close(); err != nil && c.Logger != nil {
			c.Logger.Warn("close the ring's server", "err", err)
		}
	}, nil
}

// ringServer is where others reach the worker's own server, and its key in hex, "" without TLS. What listens on all of a machine's addresses
// is reached by the one that the coordinator is spoken to from.
func (a *agent) ringServer() (address, key string) {
	s := a.config.server
	if s == nil {
		return "", ""
	}
	key = hex.EncodeToString(s.PublicKey())
	if a.config.RingAdvertise != "" {
		return a.config.RingAdvertise, key
	}
	host, port, _ := net.SplitHostPort(s.Addr())
	if hostport.Any(host) {
		host, _, _ = net.SplitHostPort(a.nc.LocalAddr())
	}
	return net.JoinHostPort(host, port), key
}

// dataPlane is the way of a plan's ring.
func dataPlane(m wire.Plan) wire.DataPlane { return m.Mesh.Plane() }

// link opens the way of a plan's ring.
func (a *agent) link(ctx context.Context, m wire.Plan) (l allreduce.Link, closeLink func() error, err error) {
	if m.Mesh == nil {
		return a.brokerLink(ctx, m)
	}
	if a.config.server == nil {
		return nil, nil, dataPlane(m).Fits("", "")
	}
	c := meshlink.Config{
		Prefix: m.RingPrefix, Generation: m.Generation, Rank: m.Rank, Authority: m.Mesh.Authority,
		Certificate: m.Mesh.Certificate, Password: m.Mesh.Password, Timeout: m.Deadline,
	}
	for _, p := range m.Mesh.Peers {
		c.Peers = append(c.Peers, meshlink.Peer{Address: p.Address, Name: p.Name})
	}
	mesh, err := meshlink.New(ctx, a.config.server, c)
	if err != nil {
		return nil, nil, err
	}
	return mesh, mesh.Close, nil
}

// brokerLink is the way through the broker: by a connection of the ring's own, if the plan has a user for it.
func (a *agent) brokerLink(ctx context.Context, m wire.Plan) (allreduce.Link, func() error, error) {
	nc, end := a.nc, func() {}
	if m.Ring != nil {
		var err error
		if nc, end, err = a.ringConnection(ctx, *m.Ring); err != nil {
			return nil, nil, err
		}
	}
	l, err := natslink.New(ctx, nc, natslink.Config{
		Prefix: m.RingPrefix, Generation: m.Generation, Rank: m.Rank, Size: len(m.Members),
	})
	if err != nil {
		end()
		return nil, nil, err
	}
	return l, func() error {
		err := l.Close()
		end()
		return err
	}, nil
}
