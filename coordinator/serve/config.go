package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"pupil/coordinator/control"
	"pupil/coordinator/raftlog"
	"pupil/coordinator/wire"
	"pupil/internal/certificate"
	"pupil/internal/metrics"
	"pupil/internal/tracing"
	"pupil/storage/location"
)

// Config says how a coordinator stands in its cluster. Begin with DefaultConfig.
type Config struct {
	ID          string              // unique among the coordinators; required
	Folder      string              // of its durable state; required
	Listen      string              // host:port of the HTTP API
	Raft        string              // host:port for other coordinators
	Advertise   string              // host:port that others reach Raft by; "": Raft, when it names a host
	Peers       []raftlog.Peer      // coordinators that a new cluster begins with; none: a cluster of this one
	Join        bool                // begin as one that a member of an existing cluster will add
	Token       string              // of the cluster; required
	TLS         *certificate.Source // of both ports; nil: plain
	Insecure    bool                // let a plain port listen beyond this machine
	WorkerToken string              // with the role worker, beside those of the state; "": none
	Public      bool                // let anybody look who shows no token, as a viewer
	Broker      control.Link        // required
	Storage     string              // URL below which runs have their folders, unless they say where
	Allow       []string            // URLs at or below which jobs may read and write, beside Storage; none: anywhere
	Version     string              // of this build; required
	Timeout     time.Duration       // a worker that is silent for so long is lost
	KeepRuns    int                 // so many runs that are over are kept, the newest; 0: all
	KeepFor     time.Duration       // and for so long; 0: for ever
	Election    time.Duration       // see raftlog.Group.Timeout; 0: its default
	DataPlane   wire.DataPlane      // which way the workers' sums go
	Worker      string              // the worker's executable, which draws views for the page; "": there is none
	Tracing     *tracing.Tracer     // of steps that are heard of; nil: none
	Logger      *slog.Logger        // nil: no logs

	Metrics      metrics.Endpoint  // a port for metrics alone; without Listen: none. The API has them too
	Certificates map[string]string // files of certificates whose ends the metrics tell, by what they are for

	started func(Addresses) // for tests and the log; may be nil
}

// DefaultConfig listens on this machine only.
func DefaultConfig() Config {
	c := control.DefaultConfig()
	return Config{
		Listen: "127.0.0.1:7070", Raft: "127.0.0.1:7071", Timeout: c.Timeout, DataPlane: wire.AutoPlane, KeepRuns: c.Decide.KeepRuns,
	}
}

// Validate lists all that is wrong.
func (c Config) Validate() error {
	var errs []error
	if c.Token == "" {
		errs = append(errs, errors.New("token is missing"))
	}
	if c.Broker == nil {
		errs = append(errs, errors.New("broker is missing"))
	}
	return errors.Join(append(errs, c.Check())...)
}

// Check lists all that is wrong, but for Token and Broker: these may be drawn and begun when the rest is right, and a start
// that is refused then leaves nothing behind.
func (c Config) Check() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, x := range []struct{ name, value string }{
		{"id", c.ID}, {"folder", c.Folder}, {"version", c.Version}, {"storage", c.Storage},
	} {
		if x.value == "" {
			refuse("%s is missing", x.name)
		}
	}
	for _, x := range []struct{ name, value string }{{"API", c.Listen}, {"port for coordinators", c.Raft}} {
		host, _, err := net.SplitHostPort(x.value)
		switch {
		case err != nil:
			refuse("the %s listens on %q; write it as host:port", x.name, x.value)
		case c.TLS == nil && !c.Insecure && !loopback(host):
			refuse("the %s would listen on %s without TLS, which other machines could read along; give certificates, or say "+
				"--insecure on a network that you trust", x.name, x.value)
		}
	}
	for _, a := range c.Allow {
		if _, err := location.Within(a, a); err != nil || !strings.Contains(a, "://") {
			refuse("jobs cannot be allowed to use %q; write a URL, s3://bucket/prefix or file:///folder", location.Redact(a))
		}
	}
	if c.Join && len(c.Peers) > 0 {
		refuse("a coordinator either begins with its peers or joins those that are there")
	}
	if len(c.Peers) > 0 {
		errs = append(errs, raftlog.CheckPeers(c.Peers))
	}
	if c.KeepRuns < 0 || c.KeepFor < 0 {
		refuse("of runs that are over %d are kept for %s; neither may be negative (0: all, for ever)", c.KeepRuns, c.KeepFor)
	}
	errs = append(errs, c.DataPlane.Validate())
	if c.DataPlane == wire.LocalPlane {
		refuse("data plane is local, that of workers on one machine, which coordinator run starts; a cluster has auto, mesh or broker")
	}
	if c.Metrics.Listen != "" {
		errs = append(errs, c.Metrics.Validate())
	}
	return errors.Join(errs...)
}

// loopback says whether a host is this machine alone.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
