package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"

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

// DefaultRingPort is where a worker listens for the others that was not told where, if nobody else does.
const DefaultRingPort = 4223

// ownServer is the worker's server for the others' sums, which outlives sessions. The zero value is none.
type ownServer struct{ *meshlink.Server }

// listen starts the server, if it does not run already.
func (o *ownServer) listen(address string, plain bool, logger *slog.Logger) (err error) {
	if o.Server == nil {
		o.Server, err = meshlink.Listen(meshlink.ServerConfig{Listen: address, Plain: plain, Logger: logger})
	}
	return err
}

func (o *ownServer) close(logger *slog.Logger) {
	if o.Server == nil {
		return
	}
	if err := o.Close(); err != nil {
		logger.Warn("close the ring's server", "err", err)
	}
}

// listenAsWanted starts the server of a worker that was not told where to listen, when the coordinators' data plane wants it: at the
// address that the broker is spoken to from.
func (a *agent) listenAsWanted() {
	own := a.config.own
	if own.Server != nil || !a.plane.Listens() {
		return
	}
	host, _, err := net.SplitHostPort(a.nc.LocalAddr())
	if err == nil {
		if own.listen(net.JoinHostPort(host, strconv.Itoa(DefaultRingPort)), false, a.logger) != nil { // another worker of this host has it
			err = own.listen(net.JoinHostPort(host, "0"), false, a.logger)
		}
	}
	if err != nil {
		a.logger.Warn("this worker does not listen for the others; say where it can with --ring-listen", "err", err)
		return
	}
	a.logger.Info("listening for the other workers", "address", own.Addr())
}

// ringServer is where others reach the worker's own server, and its key in hex, "" without TLS. What listens on all of a machine's addresses
// is reached by the one that the coordinator is spoken to from.
func (a *agent) ringServer() (address, key string) {
	s := a.config.own.Server
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
	if a.config.own.Server == nil {
		return nil, nil, dataPlane(m).Fits("", "")
	}
	c := meshlink.Config{
		Prefix: m.RingPrefix, Generation: m.Generation, Rank: m.Rank, Authority: m.Mesh.Authority,
		Certificate: m.Mesh.Certificate, Password: m.Mesh.Password, Timeout: m.Deadline,
		Gone: func(rank int) { a.missing(m.Generation, m.Members[rank].ID) },
	}
	for _, p := range m.Mesh.Peers {
		c.Peers = append(c.Peers, meshlink.Peer{Address: p.Address, Name: p.Name})
	}
	mesh, err := meshlink.New(ctx, a.config.own.Server, c)
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
