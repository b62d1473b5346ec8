// Package natsserver starts a NATS server within this process: a coordinator's broker, or a worker's own server for the
// data of the ring.
package natsserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startTimeout bounds the wait until the server takes connections.
const startTimeout = 10 * time.Second

// Start starts a server and waits until it takes connections. Its warnings and errors go to log, which may be nil; those that have
// one of the expected texts are for debugging only. What it cannot start without, such as a port that is in use, is an error. The
// caller ends it with Stop.
func Start(o *server.Options, log *slog.Logger, expected ...string) (*server.Server, error) {
	s, err := server.NewServer(o)
	if err != nil {
		return nil, err
	}
	l := &serverLog{to: log, expected: expected}
	s.SetLogger(l, false, false)
	s.Start()
	for until := time.Now().Add(startTimeout); ; {
		ready := s.ReadyForConnections(startTimeout / 100)
		if fatal := l.fatal.Load(); fatal != nil {
			Stop(s)
			return nil, errors.New(*fatal)
		}
		if ready {
			l.started.Store(true)
			return s, nil
		}
		if time.Now().After(until) {
			Stop(s)
			return nil, fmt.Errorf("it takes no connections after %s", startTimeout)
		}
	}
}

// Stop ends a server and all its connections, and waits for that.
func Stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// serverLog passes the server's troubles on, and keeps what it cannot start without.
type serverLog struct {
	to       *slog.Logger // nil: nobody
	expected []string
	fatal    atomic.Pointer[string]

	started atomic.Bool // before, warnings are about the options, which are this program's own
}

var _ server.Logger = (*serverLog)(nil)

func (l *serverLog) warn(format string, args []any) {
	if strings.HasPrefix(format, "Plaintext passwords detected") { // they are random, and in no file of the server
		return
	}
	if l.to == nil {
		return
	}
	text, level := fmt.Sprintf(format, args...), slog.LevelWarn
	if slices.ContainsFunc(l.expected, func(e string) bool { return strings.Contains(text, e) }) {
		level = slog.LevelDebug
	}
	l.to.Log(context.Background(), level, "NATS server", "message", text)
}

func (l *serverLog) Errorf(format string, args ...any) { l.warn(format, args) }
func (l *serverLog) Warnf(format string, args ...any) {
	if l.started.Load() {
		l.warn(format, args)
	}
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

func (l *serverLog) Fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.fatal.CompareAndSwap(nil, &text)
}
