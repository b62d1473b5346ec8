package wire

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"pupil/coordinator/job"
)

// Limits of a plan.
const (
	MaxMembers = 1024 // of a ring, see package allreduce
	MaxLanes   = 1 << 16
)

// Member is a worker's place in a generation. Its index in Plan.Members is its rank.
type Member struct {
	ID    string `json:"id"`
	Lanes []int  `json:"lanes"` // ascending; may be empty
}

// Plan is a worker's part of a generation of a run.
type Plan struct {
	Generation  uint64        `json:"generation"`
	Run         string        `json:"run"`
	Spec        *job.Spec     `json:"spec"`
	Digest      string        `json:"digest"`  // of the job
	Storage     string        `json:"storage"` // URL of the run's storage
	Rank        int           `json:"rank"`    // of the worker that the plan is for
	Members     []Member      `json:"members"` // by rank
	LaneCount   int           `json:"lane_count"`
	RestoreStep int           `json:"restore_step"` // the newest checkpoint, for when no worker has a newer state; -1: none
	RingPrefix  string        `json:"ring_prefix"`  // of the all-reduce's subjects
	Deadline    time.Duration `json:"deadline_ns"`  // an all-reduce without progress for so long is an error
	Mesh        *Mesh         `json:"mesh"`         // nil: the ring's data goes through the broker
	Ring        *Access       `json:"ring"`         // for the ring's subjects of the broker; nil: the worker's own user has them
}

func (Plan) kind() string { return "plan" }

func (m Plan) validate() error {
	if m.Spec == nil {
		return errors.New("spec is missing")
	}
	if m.Generation == 0 {
		return errors.New("generation is 0")
	}
	if m.RestoreStep != -1 {
		if err := checkStep("restore_step", m.RestoreStep); err != nil {
			return err
		}
	}
	if m.Deadline <= 0 {
		return fmt.Errorf("deadline is %s; it must be positive", m.Deadline)
	}
	if n := len(m.Members); n == 0 || n > MaxMembers {
		return fmt.Errorf("%d members; there must be 1 to %d", n, MaxMembers)
	}
	return errors.Join(
		CheckName("run", m.Run),
		checkRange("rank", m.Rank, 0, len(m.Members)-1),
		checkRange("lane_count", m.LaneCount, 1, MaxLanes),
		checkText("digest", m.Digest, 128), checkText("storage", m.Storage, 4096),
		checkText("ring_prefix", m.RingPrefix, 256),
		CheckLanes(m.LaneCount, m.Members), m.Mesh.validate(len(m.Members)), m.Ring.validate(),
	)
}

// CheckLanes says whether the members have different ids and carry each of the lanes 0..lanes-1 exactly once.
func CheckLanes(lanes int, members []Member) error {
	if lanes < 1 || lanes > MaxLanes {
		return fmt.Errorf("%d lanes; there must be 1 to %d", lanes, MaxLanes)
	}
	carrier := make([]string, lanes)
	seen := make(map[string]bool, len(members))
	for _, m := range members {
		if err := CheckName("member", m.ID); err != nil {
			return err
		}
		if seen[m.ID] {
			return fmt.Errorf("member %s is there twice", m.ID)
		}
		seen[m.ID] = true
		for _, l := range m.Lanes {
			if l < 0 || l >= lanes {
				return fmt.Errorf("member %s carries lane %d of %d", m.ID, l, lanes)
			}
			if carrier[l] != "" {
				return fmt.Errorf("lane %d is carried by %s and by %s", l, carrier[l], m.ID)
			}
			carrier[l] = m.ID
		}
	}
	if l := slices.Index(carrier, ""); l >= 0 {
		return fmt.Errorf("nobody carries lane %d", l)
	}
	return nil
}

// Pause asks a worker to end its part after a step: another generation follows.
type Pause struct {
	Generation uint64 `json:"generation"`
	Reason     string `json:"reason"`
}

func (Pause) kind() string { return "pause" }

func (m Pause) validate() error { return checkReason(m.Reason) }

// Stop asks a worker to finish the step, to save a checkpoint and to end its part.
type Stop struct {
	Generation uint64 `json:"generation"`
	Reason     string `json:"reason"`
}

func (Stop) kind() string { return "stop" }

func (m Stop) validate() error { return checkReason(m.Reason) }

// Abort ends a worker's part at once: the generation is over, or goes on without it. A part that has ended already is
// let go of. Generation 0 ends the worker, whatever it does: the coordinator is ending.
type Abort struct {
	Generation uint64 `json:"generation"`
	Reason     string `json:"reason"`
}

func (Abort) kind() string { return "abort" }

func (m Abort) validate() error { return checkReason(m.Reason) }

// Began tells that the workers of a generation have found their common step. Rank 0 tells it, and each worker that has
// taken its state from elsewhere.
type Began struct {
	Worker     string `json:"worker"`
	Run        string `json:"run"`
	Generation uint64 `json:"generation"`
	Step       int    `json:"step"` // committed
	From       string `json:"from"` // where the state is from; "": the worker had it
}

func (Began) kind() string { return "began" }

func (m Began) validate() error {
	return errors.Join(CheckName("worker", m.Worker), CheckName("run", m.Run), checkStep("step", m.Step),
		checkText("from", m.From, 128))
}

// Noticed tells operators of something that a worker has met and goes on from, such as a storage that fails.
type Noticed struct {
	Worker     string `json:"worker"`
	Run        string `json:"run"`
	Generation uint64 `json:"generation"`
	Text       string `json:"text"` // see Clip
}

func (Noticed) kind() string { return "noticed" }

func (m Noticed) validate() error {
	return errors.Join(CheckName("worker", m.Worker), CheckName("run", m.Run), checkReason(m.Text))
}

// Report describes a committed step. Rank 0 sends it.
type Report struct {
	Worker            string             `json:"worker"`
	Run               string             `json:"run"`
	Generation        uint64             `json:"generation"`
	Step              int                `json:"step"`  // committed steps, this one included
	Total             int                `json:"total"` // steps of the whole job
	Epoch             int                `json:"epoch"`
	Loss              float64            `json:"loss"`
	MutualInformation float64            `json:"mutual_information"` // nats
	Images            int                `json:"images"`             // of the global batch
	LearningRate      float64            `json:"learning_rate"`
	Health            map[string]float64 `json:"health"`
	Seconds           float64            `json:"seconds"`    // that the step took
	NonFinite         []string           `json:"non_finite"` // see Finite
}

func (Report) kind() string { return "report" }

// maxHealth bounds the number of health values in a report.
const maxHealth = 1024

func (m Report) validate() error {
	if n := len(m.Health) + len(m.NonFinite); n > maxHealth {
		return fmt.Errorf("%d health values; at most %d can be sent", n, maxHealth)
	}
	for name, v := range m.Health {
		if err := errors.Join(checkText("name of a health value", name, 128), checkFinite(name, v)); err != nil {
			return err
		}
	}
	for _, name := range m.NonFinite {
		if err := checkText("name of a value that is not finite", name, 128); err != nil {
			return err
		}
	}
	return errors.Join(
		CheckName("worker", m.Worker), CheckName("run", m.Run),
		checkStep("step", m.Step), checkStep("total", m.Total), checkStep("epoch", m.Epoch), checkStep("images", m.Images),
		checkFinite("loss", m.Loss), checkFinite("mutual_information", m.MutualInformation),
		checkFinite("learning_rate", m.LearningRate), checkFinite("seconds", m.Seconds),
	)
}

// Finite returns the report without its infinite values and NaN, which JSON cannot hold: numbers become 0, health
// values are left out, and NonFinite names them all. m and its map stay as they are.
func (m Report) Finite() Report {
	var bad []string
	for _, x := range []struct {
		name  string
		value *float64
	}{
		{"loss", &m.Loss},
		{"mutual_information", &m.MutualInformation},
		{"learning_rate", &m.LearningRate},
		{"seconds", &m.Seconds},
	} {
		if checkFinite(x.name, *x.value) != nil {
			bad = append(bad, x.name)
			*x.value = 0
		}
	}
	health := make(map[string]float64, len(m.Health))
	for _, name := range slices.Sorted(maps.Keys(m.Health)) {
		if checkFinite(name, m.Health[name]) != nil {
			bad = append(bad, name)
			continue
		}
		health[name] = m.Health[name]
	}
	if len(bad) > 0 {
		m.Health = health
		m.NonFinite = slices.Concat(m.NonFinite, bad)
	}
	return m
}

// CheckpointSaved tells that a checkpoint is whole.
type CheckpointSaved struct {
	Worker     string `json:"worker"`
	Run        string `json:"run"`
	Generation uint64 `json:"generation"`
	Step       int    `json:"step"`
}

func (CheckpointSaved) kind() string { return "checkpoint_saved" }

func (m CheckpointSaved) validate() error {
	return errors.Join(CheckName("worker", m.Worker), CheckName("run", m.Run), checkStep("step", m.Step))
}

// Outcome says how a worker's part of a plan ended.
type Outcome string

// The outcomes.
const (
	Finished    Outcome = "finished"    // all steps of the job are done
	Stopped     Outcome = "stopped"     // after a Stop; a checkpoint is saved
	Yielded     Outcome = "yielded"     // after a Pause
	Failed      Outcome = "failed"      // the job cannot go on; Ended.Error says why
	Interrupted Outcome = "interrupted" // the ring broke; Ended.Error says why
)

// Ended tells how a worker's part of a plan ended.
type Ended struct {
	Worker        string  `json:"worker"`
	Run           string  `json:"run"`
	Generation    uint64  `json:"generation"`
	Outcome       Outcome `json:"outcome"`
	Step          int     `json:"step"`           // committed steps
	Error         string  `json:"error"`          // of a failure
	WeightsSHA256 string  `json:"weights_sha256"` // hex, of the weights after Step; "" after a failure
}

func (Ended) kind() string { return "ended" }

func (m Ended) validate() error {
	var err error
	switch m.Outcome {
	case Finished, Stopped, Yielded:
		if m.Error != "" {
			err = fmt.Errorf("outcome %s with an error", m.Outcome)
		}
	case Failed, Interrupted:
		if m.Error == "" {
			err = fmt.Errorf("outcome %s without an error", m.Outcome)
		}
	default:
		err = fmt.Errorf("unknown outcome %.20q", m.Outcome)
	}
	return errors.Join(
		err, CheckName("worker", m.Worker), CheckName("run", m.Run), checkStep("step", m.Step),
		checkText("error", m.Error, maxReason), checkText("weights_sha256", m.WeightsSHA256, 128),
	)
}

// maxReason is the longest reason or error, in bytes.
const maxReason = 1 << 14

// Clip makes a reason or an error fit to be sent: it shortens a long one, naming how much is left out, replaces bytes
// that are not UTF-8, and makes an empty one "no reason given".
func Clip(s string) string {
	const room = 64
	s = strings.ToValidUTF8(s, "?")
	switch {
	case s == "":
		return "no reason given"
	case len(s) <= maxReason:
		return s
	}
	head := strings.ToValidUTF8(s[:maxReason-room], "")
	return fmt.Sprintf("%s... (%d bytes more)", head, len(s)-len(head))
}

func checkReason(s string) error {
	if s == "" {
		return errors.New("reason is empty")
	}
	return checkText("reason", s, maxReason)
}

func checkText(what, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%s has %d bytes; at most %d can be sent", what, len(s), limit)
	}
	return nil
}

func checkRange(what string, v, low, high int) error {
	if v < low || v > high {
		return fmt.Errorf("%s is %d; it must be %d to %d", what, v, low, high)
	}
	return nil
}

// checkStep checks a count of steps, epochs or images.
func checkStep(what string, v int) error { return checkRange(what, v, 0, math.MaxInt32) }

func checkFinite(what string, v float64) error {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Errorf("%s is %v", what, v)
	}
	return nil
}
