package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/allreduce"
	"pupil/allreduce/meshlink"
	"pupil/allreduce/natslink"
	"pupil/coordinator/wire"
)

// ring is our all-reduce as workers use it: each sum is committed, in a step of its own.
type ring struct {
	ring  *allreduce.Ring
	step  uint64
	stop  context.CancelFunc
	ended sync.WaitGroup
	close func() error
}

// deadline is far above what any sum takes.
const deadline = time.Minute

// openRing opens a rank's end. server is its own, in a mesh.
func openRing(ctx context.Context, o order, server *meshlink.Server) (summer, error) {
	c := allreduce.Config{
		Job: "bench", Generation: 1, Rank: o.Rank, Size: o.Size, Deadline: deadline, Wide: strings.HasSuffix(o.Way, wideWay),
	}
	connect := connectBroker
	if embedded(o.Way) {
		connect = connectMesh
	}
	link, closeLink, err := connect(ctx, o, c, server)
	if err != nil {
		return nil, err
	}
	r, err := allreduce.New(link, c)
	if err != nil {
		return nil, errors.Join(err, closeLink())
	}
	s := &ring{ring: r, close: closeLink}
	running, stop := context.WithCancel(ctx)
	s.stop = stop
	s.ended.Go(func() { _ = r.Run(running) }) // a failure shows in the calls
	return s, nil
}

func connectBroker(ctx context.Context, o order, c allreduce.Config, _ *meshlink.Server) (allreduce.Link, func() error, error) {
	if o.Way != wayBroker {
		return nil, nil, fmt.Errorf("there is no way %q", o.Way)
	}
	nc, err := nats.Connect(o.Broker, nats.UserInfo(o.User, o.Password), nats.ReconnectBufSize(-1), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the broker: %w", err)
	}
	link, err := natslink.New(ctx, nc, natslink.Config{
		Prefix: wire.RingPrefix(c.Job), Generation: c.Generation, Rank: c.Rank, Size: c.Size,
	})
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return link, func() error {
		err := link.Close()
		nc.Close()
		return err
	}, nil
}

func connectMesh(ctx context.Context, o order, c allreduce.Config, server *meshlink.Server) (allreduce.Link, func() error, error) {
	m := meshlink.Config{
		Prefix: wire.RingPrefix(c.Job), Generation: c.Generation, Rank: c.Rank,
		Authority: o.Issuer, Certificate: o.Issued, Password: o.Password,
	}
	for rank, address := range o.Peers {
		m.Peers = append(m.Peers, meshlink.Peer{Address: address, Name: o.Names[rank]})
	}
	link, err := meshlink.New(ctx, server, m)
	if err != nil {
		return nil, nil, err
	}
	return link, link.Close, nil
}

func (s *ring) sum(ctx context.Context, v any) (err error) {
	s.step++
	switch v := v.(type) {
	case []int32:
		err = s.ring.ReduceInt32(ctx, s.step, 0, v)
	case []int16:
		err = s.ring.ReduceInt16(ctx, s.step, 0, v)
	default:
		err = fmt.Errorf("a vector of %T", v)
	}
	if err != nil {
		return err
	}
	return s.ring.Commit(ctx, s.step)
}

func (s *ring) Close() error {
	s.stop()
	s.ended.Wait()
	return s.close()
}
