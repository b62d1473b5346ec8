package control

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/raftlog"
	"pupil/coordinator/wire"
)

// Config is what a Service is made of. Begin with DefaultConfig.
type Config struct {
	Broker         Link              // required; the caller closes a *Broker after Run
	Log            *raftlog.Log      // required; the caller closes it after Run
	Leader         string            // name of this coordinator, whose workers outlive the service; "": see Leadership above
	Version        string            // required: of this build, for people
	Timeout        time.Duration     // a worker that is silent for so long is lost; default 3s; see Leases above
	RingDeadline   time.Duration     // an all-reduce without progress for so long is an error; default 2m
	CommitInterval time.Duration     // how often at most progress is written to the log; default 250ms
	Decide         cluster.Config    // times of decisions
	DataPlane      wire.DataPlane    // which way the ring's data goes; default wire.BrokerPlane
	OnReport       func(wire.Report) // called for each report of the active run, in order; must return soon; may be nil
	// OnCommitted is called for each report once it is taken note of, with the time at which it came; must return soon; may be nil.
	OnCommitted func(r *cluster.Run, m wire.Report, came time.Time)
	OnCommand   func(kind string) // called for each command that has come into the log, see cluster.CommandKind; may be nil
	Logger      *slog.Logger      // nil: no logs

	comeback time.Duration // that a worker whose connection has closed has to connect again; 0: comeback
}

// DefaultConfig returns the defaults. Broker, Log and Version are still to be given.
func DefaultConfig() Config {
	return Config{
		Timeout: 3 * time.Second, RingDeadline: 2 * time.Minute, CommitInterval: 250 * time.Millisecond,
		DataPlane: wire.BrokerPlane,
		Decide:    cluster.DefaultConfig(),
	}
}

// Validate lists all that is wrong.
func (c Config) Validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Broker == nil {
		refuse("broker is missing")
	}
	if c.Log == nil {
		refuse("log is missing")
	}
	if c.Version == "" {
		refuse("version is missing")
	}
	if c.Timeout < 30*time.Millisecond || c.Timeout > time.Hour {
		refuse("timeout is %s; it must be 30ms to 1h", c.Timeout)
	}
	if c.RingDeadline < 10*time.Millisecond || c.RingDeadline > time.Hour {
		refuse("ring deadline is %s; it must be 10ms to 1h", c.RingDeadline)
	}
	if c.CommitInterval < 0 {
		refuse("commit interval is %s; it must not be negative", c.CommitInterval)
	}
	errs = append(errs, c.DataPlane.Validate(), c.Decide.Validate())
	return errors.Join(errs...)
}

// comeback is the time that a worker has to connect again: it tries that after 100 to 150 ms.
const comeback = 300 * time.Millisecond

// comesBack is how long a worker is waited for whose connection has closed.
func (c Config) comesBack() time.Duration {
	if c.comeback > 0 {
		return c.comeback
	}
	return min(c.interval(), comeback)
}

// interval is the time between a worker's heartbeats.
func (c Config) interval() time.Duration { return min(c.Timeout/6, time.Second/2) }
