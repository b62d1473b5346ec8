package api

import (
	"encoding/json"
	"net/http"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/job"
	"pupil/coordinator/wire"
)

// Status is where a cluster stands.
type Status struct {
	Leader  string    `json:"leader"`  // id of the coordinator that leads
	Time    time.Time `json:"time"`    // of the leader's clock
	Runs    []Run     `json:"runs"`    // in the order of their submission
	Workers []Worker  `json:"workers"` // that live, by id
}

// Run is a submitted job.
type Run struct {
	Run        string        `json:"run"`
	Job        string        `json:"job"` // name in the job file
	Phase      cluster.Phase `json:"phase"`
	Reason     string        `json:"reason"` // of the phase; "" where it speaks for itself
	Digest     string        `json:"digest"` // of the job
	Storage    string        `json:"storage"`
	MinWorkers int           `json:"min_workers"`
	MaxWorkers int           `json:"max_workers"` // 0: as many as it has lanes
	Submitted  time.Time     `json:"submitted"`
	Since      time.Time     `json:"since"`      // of the phase
	Generation uint64        `json:"generation"` // of the newest plan; 0: none

	Committed   int    `json:"committed"`      // the most steps that were ever committed
	Step        int    `json:"step"`           // committed steps of the newest generation
	Total       int    `json:"total"`          // steps of the whole job; 0 while no worker has told
	Checkpoints []int  `json:"checkpoints"`    // steps, ascending
	Weights     string `json:"weights_sha256"` // of the final weights; "" until the end

	// From the newest report; 0 without one.
	Loss              float64 `json:"loss"`
	MutualInformation float64 `json:"mutual_information"` // nats
	StepSeconds       float64 `json:"step_seconds"`       // that the step took
	ImagesPerSecond   float64 `json:"images_per_second"`
	ETASeconds        float64 `json:"eta_seconds"` // until the last step, at that rate

	Workers []Worker `json:"workers"` // of the newest plan, by rank, as far as they live
	Slow    *Slow    `json:"slow"`    // nil: no worker holds up the others
}

// Slow names the worker that the others wait for.
type Slow struct {
	Worker string `json:"worker"`
	Rank   int    `json:"rank"`
	Cause  string `json:"cause"` // compute, send or receive
}

// Worker is a live worker process.
type Worker struct {
	ID      string `json:"id"`
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Threads int    `json:"threads"`
	Kernel  string `json:"kernel"`

	Build    string `json:"build"`    // version of its build
	Numerics int    `json:"numerics"` // workers of a run have the same

	Run      string `json:"run"`   // that it carries; "": none
	Rank     int    `json:"rank"`  // in the run's plan; -1: none
	Lanes    []int  `json:"lanes"` // that it carries
	Activity string `json:"activity"`
	Step     int    `json:"step"` // that it knows to be committed

	// Of its newest step, in seconds.
	Compute float64 `json:"compute_seconds"`
	Wait    float64 `json:"wait_seconds"`
	Send    float64 `json:"send_seconds"`
	Left    float64 `json:"left_seconds"`     // it waited for the worker before it in the ring
	Behind  float64 `json:"behind_seconds"`   // the worker before it waited for it
	Add     float64 `json:"add_seconds"`      // it checked and added messages
	Under   float64 `json:"exchange_seconds"` // gradients were under way between the workers
	Exposed float64 `json:"exposed_seconds"`  // the part of it when its lanes had ended: the rest was hidden
	Hidden  float64 `json:"hidden"`           // share of it that was hidden; 0 if nothing was under way

	Joined time.Time `json:"joined"`
	Heard  time.Time `json:"heard"` // its newest heartbeat
}

// Detail is a run with its job and its ledger.
type Detail struct {
	Run
	Spec  *job.Spec `json:"spec"`
	Spans []Span    `json:"spans"` // the ledger; joined when there are many
}

// Span says that a generation has committed the steps From+1 to To.
type Span struct {
	Generation uint64 `json:"generation"`
	From       int    `json:"from"`
	To         int    `json:"to"`
}

// Event is something worth telling an operator.
type Event = cluster.Event

// Submission asks for a run. To send the same one again changes nothing.
type Submission struct {
	Run        string    `json:"run"` // name, unique in the cluster
	Spec       *job.Spec `json:"spec"`
	Storage    string    `json:"storage"`     // URL of the run's checkpoints and results; "": below the coordinators' own
	MinWorkers int       `json:"min_workers"` // with fewer the run waits; 0: 1
	Workers    int       `json:"workers"`     // that it waits for at its beginning, for a while; 0: MinWorkers
	MaxWorkers int       `json:"max_workers"` // that it takes, the others are for later runs; 0: as many as it has lanes
	Resume     bool      `json:"resume"`      // go on with what is in the storage, or with a run that has ended
}

// Reason says why something is asked for.
type Reason struct {
	Reason string `json:"reason"`
}

// Member is a coordinator.
type Member struct {
	ID      string `json:"id"`
	Address string `json:"address"` // host:port for other coordinators
	Leader  bool   `json:"leader"`
}

// Token is a token of the API, with what it may do.
type Token struct {
	Name    string       `json:"name"`
	Role    cluster.Role `json:"role"`
	Created time.Time    `json:"created"`
	Expires time.Time    `json:"expires,omitzero"` // zero: never
	Secret  string       `json:"secret,omitempty"` // the token itself, in the answer to its making alone
}

// Broker is where workers connect to.
type Broker = wire.Broker

// Code is a kind of error.
type Code string

// The codes.
const (
	Invalid      Code = "invalid"      // the request is wrong: 400
	Unauthorized Code = "unauthorized" // no token, or another one: 401
	Forbidden    Code = "forbidden"    // the token's role does not suffice: 403
	NotFound     Code = "not_found"    // 404
	Refused      Code = "refused"      // it cannot be done now: 409
	NoLeader     Code = "no_leader"    // try again: 503
	Internal     Code = "internal"     // 500
)

// Error is what the coordinator answers when something is not well.
type Error struct {
	Text   string `json:"error"`
	Code   Code   `json:"code"`
	Status int    `json:"-"` // of HTTP
}

func (e *Error) Error() string { return e.Text }

// Write answers a request with the error.
func (e *Error) Write(w http.ResponseWriter) {
	status := map[Code]int{
		Invalid: http.StatusBadRequest, Unauthorized: http.StatusUnauthorized, Forbidden: http.StatusForbidden, NotFound: http.StatusNotFound,
		Refused: http.StatusConflict, NoLeader: http.StatusServiceUnavailable, Internal: http.StatusInternalServerError,
	}[e.Code]
	w.Header().Set("Content-Type", "application/json")
	if e.Code == Unauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(e) // else the other side has gone
}

// MaxBody is the largest request, in bytes.
const MaxBody = 16 << 20
