package wire

import (
	"errors"
	"fmt"

	"pupil/internal/hostport"
)

// DataPlane says which way the ring's data goes.
type DataPlane string

// The data planes.
const (
	BrokerPlane DataPlane = "broker" // through the coordinator's NATS server
	MeshPlane   DataPlane = "mesh"   // straight to a NATS server in each worker, with TLS
	LocalPlane  DataPlane = "local"  // the same without TLS, between workers of one machine, over loopback
	AutoPlane   DataPlane = "auto"   // a mesh, if all workers of a generation listen for it; else broker
)

// Validate says whether there is such a data plane.
func (d DataPlane) Validate() error {
	switch d {
	case BrokerPlane, MeshPlane, LocalPlane, AutoPlane:
		return nil
	}
	return fmt.Errorf("data plane is %.20q; it must be %s, %s, %s or %s", string(d), AutoPlane, LocalPlane, MeshPlane, BrokerPlane)
}

// Listens says whether a worker should listen for the others, without being told where.
func (d DataPlane) Listens() bool { return d == MeshPlane || d == AutoPlane }

// Fits says whether a worker with a server at an address, and its key, can take part. The error says how to start it.
func (d DataPlane) Fits(address, key string) error {
	switch {
	case d == BrokerPlane || d == AutoPlane:
		return nil
	case address == "" && d == MeshPlane:
		return errors.New("the ring's data goes between the workers (data plane mesh), and this one does not say where it listens " +
			"for it; start it with --ring-listen HOST:PORT")
	case key == "" && d == MeshPlane:
		return errors.New("the ring's data goes between the workers with TLS (data plane mesh), and this one's server has none; " +
			"start it without --ring-plain")
	case d == LocalPlane && (address == "" || key != ""):
		return errors.New("the ring's data goes between the workers of this machine without TLS (data plane local); start this one " +
			"with --ring-listen 127.0.0.1:0 --ring-plain")
	}
	return nil
}

// Mesh is what a worker needs to speak to the servers of the others. All of it is of one generation.
type Mesh struct {
	Peers       []MeshPeer `json:"peers"`       // by rank
	Authority   []byte     `json:"authority"`   // certificate of who has issued the others, DER; in a local one nil
	Certificate []byte     `json:"certificate"` // of the worker, for its name and the key that it has registered; DER; in a local one nil
	Password    string     `json:"password"`    // which a worker asks of the others
}

// MeshPeer is the server of a rank.
type MeshPeer struct {
	Address string `json:"address"` // host:port
	Name    string `json:"name"`    // in its certificate
}

// Plane is the one that a mesh is of; nil stands for the broker.
func (m *Mesh) Plane() DataPlane {
	switch {
	case m == nil:
		return BrokerPlane
	case len(m.Authority)+len(m.Certificate) == 0:
		return LocalPlane
	}
	return MeshPlane
}

// maxCertificate is the largest certificate, in bytes.
const maxCertificate = 8 << 10

// validate checks a mesh of so many members; nil is right.
func (m *Mesh) validate(members int) error {
	if m == nil {
		return nil
	}
	if n := len(m.Peers); n != members {
		return fmt.Errorf("mesh: %d addresses of %d members", n, members)
	}
	var errs []error
	for rank, p := range m.Peers {
		if err := hostport.Check(p.Address); err != nil {
			errs = append(errs, fmt.Errorf("rank %d: %w", rank, err))
		} else if m.Plane() == LocalPlane && !hostport.Loopback(p.Address) {
			errs = append(errs, fmt.Errorf("rank %d at %s: without certificates it must be a loopback address", rank, p.Address))
		}
		if p.Name == "" {
			errs = append(errs, fmt.Errorf("rank %d has no name", rank))
		}
		errs = append(errs, checkText(fmt.Sprintf("name of rank %d", rank), p.Name, 253))
	}
	for _, x := range []struct {
		what   string
		length int
		most   int
	}{
		{"authority", len(m.Authority), maxCertificate},
		{"certificate", len(m.Certificate), maxCertificate},
		{"password", len(m.Password), 128},
	} {
		if m.Plane() == LocalPlane && x.what != "password" {
			continue
		}
		if x.length == 0 {
			errs = append(errs, fmt.Errorf("%s is missing", x.what))
		} else if x.length > x.most {
			errs = append(errs, fmt.Errorf("%s has %d bytes; at most %d can be sent", x.what, x.length, x.most))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("mesh: %w", err)
	}
	return nil
}
