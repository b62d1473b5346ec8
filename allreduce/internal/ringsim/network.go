package ringsim

import (
	"container/heap"
	"time"
)

// Plane is the way of the messages.
type Plane int

// The data planes, see the package comment.
const (
	Mesh Plane = iota
	Broker
)

func (p Plane) String() string {
	if p == Broker {
		return "broker"
	}
	return "mesh"
}

// card is one direction of a network card.
type card struct {
	rate  float64       // bytes a second
	free  time.Duration // when it has passed on all that came to it
	bytes int64         // that went through it
}

func (c *card) duration(bytes int) time.Duration {
	return time.Duration(float64(float64(bytes)/c.rate)*1e9 + 0.5)
}

// send takes a message that is there as a whole, and returns when its last byte has left.
func (c *card) send(now time.Duration, bytes int) time.Duration {
	c.bytes += int64(bytes)
	c.free = max(now, c.free) + c.duration(bytes)
	return c.free
}

// receive takes a message whose last byte arrives now, unless others hold it up, and returns when it is there. While it is on
// its way to a card, which takes as long as to send it, that card already receives it.
func (c *card) receive(now time.Duration, bytes int) time.Duration {
	c.bytes += int64(bytes)
	c.free = max(now, c.free+c.duration(bytes))
	return c.free
}

// event is what happens at a time: f.
type event struct {
	at    time.Duration
	order uint64 // of its making, for events at the same time
	f     func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	old[len(old)-1] = event{}
	*e = old[:len(old)-1]
	return x
}

// clock is the virtual time, and what is to come.
type clock struct {
	now   time.Duration
	order uint64
	queue events
}

// at lets f happen at a time that is not past.
func (c *clock) at(t time.Duration, f func()) {
	c.order++
	heap.Push(&c.queue, event{t, c.order, f})
}

// next lets the next event happen. ok is false when there is none.
func (c *clock) next() (ok bool) {
	if len(c.queue) == 0 {
		return false
	}
	e := heap.Pop(&c.queue).(event)
	c.now = e.at
	e.f()
	return true
}

// network carries messages between hosts.
type network struct {
	*clock
	latency time.Duration
	out, in []card // by rank
	broker  *broker
}

// broker is the card of the broker's host; nil for a mesh.
type broker struct{ in, out card }

func newNetwork(c Config, clock *clock) *network {
	n := &network{clock: clock, latency: c.Latency}
	for rank := range c.Ranks {
		rate := c.Rate
		if f, ok := c.SlowLink[rank]; ok {
			rate /= f
		}
		n.out, n.in = append(n.out, card{rate: rate}), append(n.in, card{rate: rate})
	}
	if c.Plane == Broker {
		n.broker = &broker{card{rate: c.Rate}, card{rate: c.Rate}}
	}
	return n
}

// send lets arrive happen when a message has come to a rank.
func (n *network) send(from, to, bytes int, arrive func()) {
	last := func() { n.at(n.in[to].receive(n.now, bytes), arrive) }
	left := n.out[from].send(n.now, bytes)
	if n.broker == nil {
		n.at(left+n.latency, last)
		return
	}
	n.at(left+n.latency, func() {
		n.at(n.broker.in.receive(n.now, bytes), func() {
			n.at(n.broker.out.send(n.now, bytes)+n.latency, last)
		})
	})
}
