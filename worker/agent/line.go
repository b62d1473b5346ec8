package agent

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// line is what lies under a connection to one of several brokers. It knows when something came last, and can be cut: the
// connection then goes to another broker. So a host that has gone without a word, or stands still, is left before the worker is
// given up for that; TCP alone would wait for minutes. While there is one broker alone it is waited for.
type line struct {
	dialer net.Dialer
	heard  atomic.Int64 // when something came, Unix nanoseconds
	others atomic.Bool  // there is more than one broker

	mu   sync.Mutex
	conn net.Conn
}

const (
	dialTime = 2 * time.Second
	pingTime = 250 * time.Millisecond // the broker answers so often, if it can
	stale    = 4 * time.Minute        // without any answer; then a single broker is dialled anew
	// leastQuiet is the shortest time without a word from a broker after which another one is tried.
	leastQuiet = 3 * pingTime
	// joinQuiet is that time before the worker knows its timeout.
	joinQuiet = 1500 * time.Millisecond
)

func newLine() *line { return &line{dialer: net.Dialer{Timeout: dialTime, Control: boundBacklog}} }

// options are those of a connection over the line.
func (l *line) options() nats.Option {
	return func(o *nats.Options) error {
		o.CustomDialer, o.PingInterval, o.MaxPingsOut = l, pingTime, int(stale/pingTime)
		o.DiscoveredServersCB = l.count
		return nil
	}
}

// count sees how many brokers a connection knows.
func (l *line) count(nc *nats.Conn) {
	if len(nc.Servers()) > 1 {
		l.others.Store(true)
	}
}

// Dial implements nats.CustomDialer.
func (l *line) Dial(network, address string) (net.Conn, error) {
	c, err := l.dialer.Dial(network, address)
	if err != nil {
		return nil, err
	}
	l.hear()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = c
	return &listened{c, l}, nil
}

func (l *line) hear() { l.heard.Store(time.Now().UnixNano()) }

// cut closes what is open. Whoever writes to it or waits for it gets an error, and the connection is made anew.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close() // it may be closed
	}
}

// watch cuts the line whenever nothing has come for as long as quiet says, or inVain says so,
// until ctx ends.
func (l *line) watch(ctx context.Context, quiet func() time.Duration, inVain func(now time.Time) bool, told func(why string)) {
	ticker := time.NewTicker(pingTime)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, most := time.Now(), quiet()
		held := now.Sub(last) > most/2 // this process stood still; what has come may still wait to be read
		last = now
		switch {
		case held:
			l.hear()
		case !l.others.Load():
		case now.Sub(time.Unix(0, l.heard.Load())) > most:
			told("the broker does not answer; trying another one")
			l.hear()
			l.cut()
		case inVain(now):
			told("no coordinator answers over this broker; trying another one")
			l.cut()
		}
	}
}

// listened is a connection of a line.
type listened struct {
	net.Conn
	line *line
}

func (c *listened) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.line.hear()
	}
	return n, err
}
