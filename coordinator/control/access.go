package control

import (
	"crypto/subtle"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"pupil/coordinator/cluster"
	"pupil/coordinator/wire"
)

// AccessLife is how long what a coordinator gives a worker for the broker holds. The worker asks for more in time.
const AccessLife = cluster.JoinLife

// A worker's user says what it may reach and until when: "worker ID SESSION UNTIL", with the mark of the token that it has joined with, or "ring RUN GENERATION RANK UNTIL". Its
// password is a code of that with the workers' secret, which broker and coordinators know: so coordinators can give access
// without asking the broker, and nobody can give himself more.
const (
	kindWorker = "worker"
	kindRing   = "ring"
	forever    = "0"
	anySession = "*"
)

// WorkerAccess is what a process of a worker needs: its own control subjects, and nothing else. With session "*" it holds for
// all of the worker's sessions. A zero until is forever. mark is that of the token that has opened this, see Mark; "": none.
func (c Credentials) WorkerAccess(worker, session string, until time.Time, mark string) wire.Access {
	if c.Shared {
		return wire.Access{User: userWorker, Password: c.Worker}
	}
	return c.access(until, mark, kindWorker, worker, session)
}

// RingAccess is what a rank of a generation needs: to publish to the others of its ring, and to hear what is for itself.
func (c Credentials) RingAccess(run string, generation uint64, rank int, until time.Time) wire.Access {
	return c.access(until, "", kindRing, run, strconv.FormatUint(generation, 10), strconv.Itoa(rank))
}

func (c Credentials) access(until time.Time, mark string, parts ...string) wire.Access {
	end := forever
	if !until.IsZero() {
		end = strconv.FormatInt(until.Unix(), 10)
	}
	user := strings.Join(append(parts, end), " ")
	if mark != "" {
		user += " " + mark
	}
	return wire.Access{User: user, Password: c.code(user)}
}

func (c Credentials) code(user string) string { return keyed(c.Worker, user) }

// guard lets the broker's users in, each to its subjects.
type guard struct {
	users  Credentials
	denies atomic.Pointer[func(mark string) bool] // nil: nobody is, as far as is known
	ready  chan struct{}                          // closed when server is set
	server *server.Server
}

var _ server.Authentication = (*guard)(nil)

// Check implements server.Authentication.
func (g *guard) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	u := &server.User{Username: o.Username}
	name, want := account, ""
	switch o.Username {
	case userCoordinator:
		want = g.users.Coordinator
	case userMonitor:
		name, want = systemAccount, g.users.Monitor
	case userWorker: // who has the workers' secret could give himself any of their users
		want, u.Permissions = g.users.Worker, &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{wire.WorkerSubjects}},
			Subscribe: &server.SubjectPermission{Allow: []string{wire.PushSubjects, wire.InboxSubjects}},
		}
	default:
		var ok bool
		if u.Permissions, u.ConnectionDeadline, ok = permissions(o.Username, time.Now()); !ok {
			return false
		}
		if g.denied(o.Username) {
			return false
		}
		if strings.HasPrefix(o.Username, kindRing) {
			name = ringAccount
		}
		want = g.users.code(o.Username)
	}
	if subtle.ConstantTimeCompare([]byte(o.Password), []byte(want)) != 1 {
		return false
	}
	var err error
	<-g.ready // it takes connections a moment before
	if g.server == nil {
		return false
	}
	if u.Account, err = g.server.LookupAccount(name); err != nil {
		return false
	}
	c.RegisterUser(u)
	return true
}

// permissions are what a worker's user says, and until when it holds.
func permissions(user string, now time.Time) (p *server.Permissions, until time.Time, ok bool) {
	parts := strings.Split(user, " ")
	if len(parts) < 2 {
		return nil, until, false
	}
	last := len(parts) - 1
	if mark := tokenMark(user); mark != "" {
		if len(mark) < markLength {
			return nil, until, false
		}
		last--
	}
	if parts[last] != forever {
		seconds, err := strconv.ParseInt(parts[last], 10, 64)
		if until = time.Unix(seconds, 0); err != nil || !now.Before(until) {
			return nil, until, false
		}
	}
	var publish, subscribe []string
	switch {
	case parts[0] == kindWorker && last == 3:
		worker, session := parts[1], parts[2]
		if wire.CheckName("worker", worker) != nil || session != anySession && wire.CheckName("session", session) != nil {
			return nil, until, false
		}
		publish = []string{wire.WorkerSubject(worker, session)}
		subscribe = []string{wire.PushSubject(worker, session), wire.InboxPrefix(worker, session) + ".>"}
	case parts[0] == kindRing && len(parts) == 5:
		generation, err1 := strconv.ParseUint(parts[2], 10, 64)
		rank, err2 := strconv.ParseUint(parts[3], 10, 31)
		if wire.CheckName("run", parts[1]) != nil || err1 != nil || err2 != nil {
			return nil, until, false
		}
		ring := wire.RingPrefix(parts[1]) + "." + strconv.FormatUint(generation, 10)
		publish = []string{ring + ".*"}
		subscribe = []string{ring + "." + strconv.FormatUint(rank, 10)}
	default:
		return nil, until, false
	}
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe},
	}, until, true
}

// workerOf tells whose connection a user and the name that it gave itself belong to.
func workerOf(user, name string) (worker, session string) {
	id, given, _ := strings.Cut(name, " ")
	parts := strings.Split(user, " ")
	switch {
	case user == userWorker: // of a broker whose workers share a user
		return id, given
	case len(parts) < 4 || parts[0] != kindWorker:
		return "", ""
	case parts[2] == anySession && parts[1] == id:
		return id, given
	}
	return parts[1], parts[2]
}
