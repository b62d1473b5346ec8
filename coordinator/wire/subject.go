package wire

import (
	"fmt"
	"strings"
)

// The patterns of what a worker publishes and subscribes to. A worker may use only those subjects that have its own name and
// session in them, and those of the rings that it is in.
const (
	WorkerSubjects = "pupil.from.>"  // a worker publishes: all that it has to say
	PushSubjects   = "pupil.to.>"    // a worker subscribes: orders
	InboxSubjects  = "pupil.inbox.>" // a worker subscribes: answers
	RingSubjects   = "pupil.ring.>"  // workers publish and subscribe: the all-reduce
)

// WorkerSubject is where a worker publishes its messages.
func WorkerSubject(worker, session string) string {
	return "pupil.from." + token(worker) + "." + token(session)
}

// Sender is the worker and the session whose WorkerSubject a subject is; false for one that is none.
func Sender(subject string) (worker, session string, ok bool) {
	rest, ok := strings.CutPrefix(subject, strings.TrimSuffix(WorkerSubjects, ">"))
	if !ok {
		return "", "", false
	}
	worker, session, ok = strings.Cut(rest, ".")
	return name(worker), name(session), ok && !strings.Contains(session, ".")
}

// InboxPrefix begins the subjects on which a worker receives answers to its requests.
func InboxPrefix(worker, session string) string {
	return "pupil.inbox." + token(worker) + "." + token(session)
}

// PushSubject is where the coordinator publishes a worker's orders.
func PushSubject(worker, session string) string {
	return "pupil.to." + token(worker) + "." + token(session)
}

// RingPrefix begins the subjects of a run's all-reduce; the ring adds generation and rank.
func RingPrefix(run string) string { return "pupil.ring." + token(run) }

// token makes a name one token of a subject: names may contain dots, which separate tokens, and never contain '~'.
func token(name string) string { return strings.ReplaceAll(name, ".", "~") }

// name is the name of a token.
func name(token string) string { return strings.ReplaceAll(token, "~", ".") }

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
