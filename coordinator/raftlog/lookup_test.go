package raftlog_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"pupil/coordinator/raftlog"
)

const record = "_raft._tcp.coordinators.example."

// nameServer is a DNS server over UDP that knows one SRV record, which has one target more at each answer.
type nameServer struct {
	socket  net.PacketConn
	targets []dnsmessage.SRVResource
	told    int
}

func startNameServer(t *testing.T) *net.Resolver {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{socket: socket}
	for _, x := range []struct {
		host string
		port uint16
	}{{"c1", 7071}, {"c0", 7071}, {"c2", 7072}} {
		s.targets = append(s.targets, dnsmessage.SRVResource{Target: dnsmessage.MustNewName(x.host + ".coordinators.example."), Port: x.port})
	}
	ended := make(chan error)
	go func() { ended <- s.serve() }()
	t.Cleanup(func() {
		socket.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", socket.LocalAddr().String())
	}}
}

func (s *nameServer) serve() error {
	buffer := make([]byte, 4096)
	for {
		n, from, err := s.socket.ReadFrom(buffer)
		if err != nil {
			return err
		}
		var question dnsmessage.Message
		if err := question.Unpack(buffer[:n]); err != nil {
			return err
		}
		answer, err := s.answer(question)
		if err != nil {
			return err
		}
		if _, err := s.socket.WriteTo(answer, from); err != nil {
			return err
		}
	}
}

func (s *nameServer) answer(m dnsmessage.Message) ([]byte, error) {
	q := m.Questions[0]
	m = dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}, Questions: m.Questions}
	if q.Type != dnsmessage.TypeSRV || q.Name.String() != record {
		m.RCode = dnsmessage.RCodeNameError
		return m.Pack()
	}
	s.told = min(s.told+1, len(s.targets))
	for _, target := range s.targets[:s.told] {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &target,
		})
	}
	return m.Pack()
}

// TestLookUpPeers waits for all targets, as the pods of a StatefulSet come one by one.
func TestLookUpPeers(t *testing.T) {
	t.Parallel()
	r := startNameServer(t)
	peers, err := raftlog.LookUpPeers(t.Context(), r, record, 3)
	if err != nil || fmt.Sprint(peers) != "[{c0 c0.coordinators.example:7071} {c1 c1.coordinators.example:7071} {c2 c2.coordinators.example:7072}]" {
		t.Errorf("peers %v, error %v", peers, err)
	}
	if _, err := raftlog.LookUpPeers(t.Context(), r, record, 1); err == nil || !strings.Contains(err.Error(), "has 3 targets, 1 are expected") {
		t.Errorf("more than expected: error %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	if _, err := raftlog.LookUpPeers(ctx, r, record, 5); err == nil || !strings.Contains(err.Error(), "5 are expected") ||
		!strings.Contains(err.Error(), "interrupted") {
		t.Errorf("interrupted: error %v", err)
	}
}

// impatient ends the waiting after the second answer.
type impatient struct {
	*net.Resolver
	asked  int
	cancel context.CancelCauseFunc
}

func (r *impatient) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	host, records, err := r.Resolver.LookupSRV(ctx, service, proto, name)
	if r.asked++; r.asked == 2 {
		r.cancel(errors.New("interrupted"))
	}
	return host, records, err
}

// TestLookUpUnknown tells what the name server has said when nobody waits any longer.
func TestLookUpUnknown(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := raftlog.LookUpPeers(ctx, &impatient{Resolver: startNameServer(t), cancel: cancel}, "_raft._tcp.elsewhere.", 3)
	var unknown *net.DNSError
	if !errors.As(err, &unknown) || !unknown.IsNotFound || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("no record: error %v", err)
	}
}
