package wire

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"pupil/coordinator/job"
	"pupil/internal/hostport"
)

// Register asks the coordinator to take a worker process in.
type Register struct {
	Worker  string `json:"worker"`  // id, unique among the live workers
	Session string `json:"session"` // random name of this process
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Threads int    `json:"threads"`
	Build   string `json:"build"`  // version of the worker's build, for people
	Kernel  string `json:"kernel"` // name of the kernels that compute; all members of a plan have the same
	// version.Numerics of the worker's build; all members of a plan have the same
	Numerics int `json:"numerics"`
	// Where others reach the worker's own server for the ring's data, host:port, and its Ed25519 public key in hex. Both are
	// empty for a worker without one; one without TLS has no key, and is reached on this machine only.
	RingAddress string `json:"ring_address"`
	RingKey     string `json:"ring_key"`
}

func (Register) kind() string { return "register" }

func (m Register) validate() error {
	return errors.Join(
		checkWorker(m.Worker, m.Session),
		checkText("host", m.Host, 256),
		checkText("build", m.Build, 256),
		checkText("kernel", m.Kernel, 64),
		checkRange("numerics", m.Numerics, 0, 1<<20),
		checkRange("threads", m.Threads, 1, 1<<16),
		checkRange("pid", m.PID, 0, math.MaxInt32),
		m.checkRing(),
	)
}

func (m Register) checkRing() error {
	if m.RingAddress == "" && m.RingKey == "" {
		return nil
	}
	if err := hostport.Check(m.RingAddress); err != nil {
		return fmt.Errorf("ring_address: %w", err)
	}
	if m.RingKey == "" && hostport.Loopback(m.RingAddress) {
		return nil
	}
	if key, err := hex.DecodeString(m.RingKey); err != nil || len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("ring_key %.80q is not an Ed25519 public key of %d bytes in hex", m.RingKey, ed25519.PublicKeySize)
	}
	return nil
}

// Registered takes a worker in. The worker sends a heartbeat every Interval; each side gives the other up when it has
// heard nothing for Timeout.
type Registered struct {
	Interval time.Duration `json:"interval_ns"`
	Timeout  time.Duration `json:"timeout_ns"`
}

func (Registered) kind() string { return "registered" }

func (m Registered) validate() error {
	if m.Interval < time.Millisecond || m.Timeout < m.Interval || m.Timeout > time.Hour {
		return fmt.Errorf("heartbeat interval %s and timeout %s: it must be 1ms <= interval <= timeout <= 1h",
			m.Interval, m.Timeout)
	}
	return nil
}

// Refused answers a request that the coordinator does not grant. As returns it as an error.
type Refused struct {
	Reason string `json:"reason"`
	Retry  bool   `json:"retry"` // the same request may be granted later
}

func (Refused) kind() string { return "refused" }

func (m Refused) validate() error { return checkReason(m.Reason) }

// Error is the reason.
func (m *Refused) Error() string { return "the coordinator refused: " + m.Reason }

// Ack answers a request that needs no other answer.
type Ack struct{}

func (Ack) kind() string    { return "ack" }
func (Ack) validate() error { return nil }

// Activity is what a worker does.
type Activity string

// The activities.
const (
	Idle     Activity = "idle"     // waits for a plan
	Training Activity = "training" // carries a plan
	Stopping Activity = "stopping" // carries a plan and has heard a Pause or a Stop
	Done     Activity = "done"     // its part of the plan has ended
)

// Heartbeat tells that a worker lives and how its last step went.
type Heartbeat struct {
	Worker     string   `json:"worker"`
	Session    string   `json:"session"`
	Generation uint64   `json:"generation"` // of the newest plan that the worker has; 0: none
	Activity   Activity `json:"activity"`
	Step       int      `json:"step"`  // steps that the worker knows to be committed
	Times      Times    `json:"times"` // of its last step
	Timed      int      `json:"timed"` // steps that it has timed
	Total      Times    `json:"total"` // of these together

	// Connection is that by which the heartbeat goes, see ConnectionName. "": of a worker that does not tell.
	Connection string `json:"connection,omitempty"`
	// Gone are other members of the generation that were connected with the worker for the ring's data, and at whose address nobody
	// listens any more.
	Gone []string `json:"gone,omitempty"`
}

// ConnectionName names a connection to a broker, by the broker's id and the number that this has given it.
func ConnectionName(broker string, client uint64) string {
	return broker + "/" + strconv.FormatUint(client, 10)
}

func (Heartbeat) kind() string { return "heartbeat" }

func (m Heartbeat) validate() error {
	var err error
	switch m.Activity {
	case Idle, Training, Stopping, Done:
	default:
		err = fmt.Errorf("unknown activity %.20q", m.Activity)
	}
	if n := len(m.Gone); n > MaxMembers {
		err = errors.Join(err, fmt.Errorf("%d members are gone; there are at most %d", n, MaxMembers))
	}
	for _, id := range m.Gone {
		err = errors.Join(err, CheckName("gone", id))
	}
	return errors.Join(err, checkWorker(m.Worker, m.Session), checkStep("step", m.Step), m.Times.validate(), m.Total.validate(), checkStep("timed", m.Timed),
		checkText("connection", m.Connection, 128))
}

// Times says where a worker's time in steps went, in seconds. The parts overlap: sums go on while lanes compute.
type Times struct {
	Compute float64 `json:"compute"` // of its lanes together
	Wait    float64 `json:"wait"`    // for images, and when its lanes had ended, for sums
	Send    float64 `json:"send"`    // messages to the other workers

	Exchange float64 `json:"exchange"` // gradients were under way between the workers
	Exposed  float64 `json:"exposed"`  // the part of it when its lanes had ended
	Left     float64 `json:"left"`     // it waited for the worker before it in the ring
	Behind   float64 `json:"behind"`   // the worker before it waited for it
	Add      float64 `json:"add"`      // it checked and added messages
}

// Hidden is the share of the gradients' way that went on while lanes computed; 0 if nothing was on its way.
func (t Times) Hidden() float64 {
	if t.Exchange <= 0 {
		return 0
	}
	return 1 - min(t.Exposed/t.Exchange, 1)
}

// Plus is the sum of both.
func (t Times) Plus(u Times) Times {
	a := t.parts()
	for i, v := range u.parts() {
		*a[i] += *v
	}
	return t
}

// Mean is what a step of n took.
func (t Times) Mean(n int) Times {
	for _, v := range t.parts() {
		*v /= float64(max(n, 1))
	}
	return t
}

func (t *Times) parts() []*float64 {
	return []*float64{&t.Compute, &t.Wait, &t.Send, &t.Exchange, &t.Exposed, &t.Left, &t.Behind, &t.Add}
}

func (t Times) validate() error {
	for _, v := range t.parts() {
		if !(*v >= 0 && *v < 1e9) {
			return fmt.Errorf("a time of %v seconds", *v)
		}
	}
	return nil
}

// Draining tells that a worker wants to leave. It goes on until a new generation carries its lanes.
type Draining struct {
	Worker  string `json:"worker"`
	Session string `json:"session"`
	Reason  string `json:"reason"`
}

func (Draining) kind() string { return "draining" }

func (m Draining) validate() error {
	return errors.Join(checkWorker(m.Worker, m.Session), checkReason(m.Reason))
}

// Prepare asks a worker that carries nothing to get ready for a run that others carry: to open what it names. It answers with
// Prepared, and again when it is asked again.
type Prepare struct {
	Run     string    `json:"run"`
	Spec    *job.Spec `json:"spec"`
	Digest  string    `json:"digest"`          // of the job
	Storage string    `json:"storage"`         // URL of the run's storage
	Lanes   int       `json:"lanes,omitempty"` // that the worker is likely to carry; 0: not known
}

func (Prepare) kind() string { return "prepare" }

func (m Prepare) validate() error {
	if m.Spec == nil {
		return errors.New("spec is missing")
	}
	if m.Lanes < 0 || m.Lanes > m.Spec.Lanes {
		return fmt.Errorf("lanes is %d; the job has %d", m.Lanes, m.Spec.Lanes)
	}
	return errors.Join(CheckName("run", m.Run), checkText("digest", m.Digest, 128), checkText("storage", m.Storage, 4096))
}

// Prepared answers Prepare.
type Prepared struct {
	Worker  string `json:"worker"`
	Session string `json:"session"`
	Run     string `json:"run"`
	Error   string `json:"error"` // why the worker cannot carry the run; "": it is ready
}

func (Prepared) kind() string { return "prepared" }

func (m Prepared) validate() error {
	return errors.Join(checkWorker(m.Worker, m.Session), CheckName("run", m.Run), checkText("error", m.Error, maxReason))
}

// Leave tells that a worker goes of its own will.
type Leave struct {
	Worker  string `json:"worker"`
	Session string `json:"session"`
}

func (Leave) kind() string      { return "leave" }
func (m Leave) validate() error { return checkWorker(m.Worker, m.Session) }

func checkWorker(worker, session string) error {
	return errors.Join(CheckName("worker", worker), CheckName("session", session))
}
