package agent_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"pupil/coordinator/wire"
	"pupil/worker/agent"
)

// TestMeshWithoutServer tells the coordinator of a plan that this worker cannot carry.
func TestMeshWithoutServer(t *testing.T) {
	c := newCoordinator(t)
	ended := c.registered(train(block))
	p := plan()
	p.Members = []wire.Member{{ID: "w.0", Lanes: []int{0}}, {ID: "w.1", Lanes: []int{1}}}
	p.Mesh = &wire.Mesh{
		Peers:     []wire.MeshPeer{{Address: "127.0.0.1:1", Name: "a"}, {Address: "127.0.0.1:2", Name: "b"}},
		Authority: []byte{1}, Certificate: []byte{1}, Password: "p",
	}
	c.send(c.push, p)
	end, msg := hear(c, always[wire.Ended])
	if end.Outcome != wire.Failed || !strings.Contains(end.Error, "--ring-listen") {
		t.Errorf("end %+v", end)
	}
	c.answer(msg, wire.Ack{})
	c.send(c.push, wire.Abort{Reason: "it is ending"})
	<-ended
}

// TestPlainAddress: a worker without TLS says so by having no key.
func TestPlainAddress(t *testing.T) {
	c := newCoordinator(t)
	ended := c.run(t.Context(), train(block), func(c *agent.Config) { c.RingListen, c.RingPlain = "127.0.0.1:0", true })
	m, msg := hear(c, always[wire.Register])
	if !strings.HasPrefix(m.RingAddress, "127.0.0.1:") || m.RingKey != "" {
		t.Errorf("registration %+v", m)
	}
	c.push = wire.PushSubject(m.Worker, m.Session)
	c.answer(msg, wire.Registered{Interval: 50 * time.Millisecond, Timeout: 300 * time.Millisecond})
	c.send(c.push, wire.Abort{Reason: "it is ending"})
	<-ended
}

func TestRingConfig(t *testing.T) {
	good := agent.Config{URL: "nats://h:1", ID: "w", Threads: 1, Version: "v", Kernel: "k"}
	for _, test := range []struct {
		listen, advertise string
		plain             bool
		want              string
	}{
		{"", "", false, ""},
		{"0.0.0.0:4223", "", false, ""},
		{":0", "worker-0:4223", false, ""},
		{"127.0.0.1:0", "", true, ""},
		{"worker-0", "", false, "ring listen"},
		{"", "worker-0:4223", false, "ring listen is not given"},
		{":4223", "0.0.0.0:4223", false, "names no machine"},
		{"", "", true, "ring plain leaves TLS out"},
		{"10.0.0.7:0", "", true, "must be a loopback address"},
		{"127.0.0.1:0", "127.0.0.1:4223", true, "ring advertise not given"},
	} {
		c := good
		c.RingListen, c.RingAdvertise, c.RingPlain = test.listen, test.advertise, test.plain
		err := c.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v", test, err)
		}
	}
}

// TestListensAsWanted: a worker that was not told where listens for the others if the coordinators' data plane is a mesh.
func TestListensAsWanted(t *testing.T) {
	for plane, listens := range map[wire.DataPlane]bool{wire.AutoPlane: true, wire.MeshPlane: true, wire.BrokerPlane: false, "": false} {
		c := newCoordinator(t)
		ended := c.run(t.Context(), train(block), func(to *agent.Config) {
			to.Access = func(context.Context, string, string) (*wire.Broker, error) {
				return &wire.Broker{URL: c.server.ClientURL(), DataPlane: plane}, nil
			}
		})
		m, msg := hear(c, always[wire.Register])
		if (m.RingKey != "") != listens || strings.HasPrefix(m.RingAddress, "127.0.0.1:") != listens {
			t.Errorf("data plane %q: registration %+v", plane, m)
		}
		c.push = wire.PushSubject(m.Worker, m.Session)
		c.answer(msg, wire.Registered{Interval: 50 * time.Millisecond, Timeout: 300 * time.Millisecond})
		c.send(c.push, wire.Abort{Reason: "it is ending"})
		<-ended
	}
}

// TestRingAddress: a worker registers where others reach its server, and a port that is taken is an error.
func TestRingAddress(t *testing.T) {
	c := newCoordinator(t)
	ended := c.run(t.Context(), train(block), func(c *agent.Config) { c.RingListen = "0.0.0.0:0" })
	m, msg := hear(c, always[wire.Register])
	if !strings.HasPrefix(m.RingAddress, "127.0.0.1:") || len(m.RingKey) != 64 {
		t.Errorf("registration %+v", m)
	}
	err := agent.Run(t.Context(), agent.Config{
		URL: c.server.ClientURL(), ID: "w.1", Threads: 1, Version: "v", Kernel: "k", RingListen: m.RingAddress,
	}, train(block))
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("the second worker at %s: error %v", m.RingAddress, err)
	}
	c.push = wire.PushSubject(m.Worker, m.Session)
	c.answer(msg, wire.Registered{Interval: 50 * time.Millisecond, Timeout: 300 * time.Millisecond})
	c.send(c.push, wire.Abort{Reason: "it is ending"})
	<-ended
}
