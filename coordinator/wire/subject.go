package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// RegisterSubject is where a worker without a registration asks for one.
const RegisterSubject = "pupil.register"

// InboxPrefix begins the subjects on which workers receive answers to their requests.
const InboxPrefix = "pupil.inbox"

// The patterns of what a worker publishes and subscribes to, for the broker's permissions, and of what a coordinator
// listens to.
const (
	WorkerSubjects = "pupil.from.>"     // a worker publishes: heartbeats, its leave
	RunSubjects    = "pupil.run.>"      // a worker publishes: what concerns a run
	RingSubjects   = "pupil.ring.>"     // workers publish and subscribe: the all-reduce
	PushSubjects   = "pupil.to.>"       // a worker subscribes: orders
	InboxSubjects  = InboxPrefix + ".>" // a worker subscribes: answers
)

// WorkerSubject is where a registered worker publishes messages that concern no run.
func WorkerSubject(worker, session string) string {
	return "pupil.from." + token(worker) + "." + token(session)
}

// PushSubject is where the coordinator publishes a worker's orders.
func PushSubject(worker, session string) string {
	return "pupil.to." + token(worker) + "." + token(session)
}

// RunSubject is where a worker publishes messages that concern a generation of a run.
func RunSubject(run string, generation uint64) string {
	return "pupil.run." + token(run) + "." + strconv.FormatUint(generation, 10)
}

// RingPrefix begins the subjects of a run's all-reduce; the ring adds generation and rank.
func RingPrefix(run string) string { return "pupil.ring." + token(run) }

// token makes a name one token of a subject: names may contain dots, which separate tokens, and never contain '~'.
func token(name string) string { return strings.ReplaceAll(name, ".", "~") }

// maxName is the longest name of a run, worker or session, in bytes.
const maxName = 128

// CheckName says whether a run, worker or session can have this name: 1 to 128 letters, digits, '-', '_' and '.'.
// what begins the error: "worker", "run".
func CheckName(what, name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("%s name %.40q has %d bytes; it must have 1 to %d", what, name, len(name), maxName)
	}
	for _, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && !(r >= '0' && r <= '9') && !strings.ContainsRune("-_.", r) {
			return fmt.Errorf("%s name %q contains %q; use letters, digits, '-', '_' and '.'", what, name, r)
		}
	}
	return nil
}
