package train

import "time"

// Trace takes what a step's time went to. Span may be called from several goroutines; End is the last call.
type Trace interface {
	Span(s Span)
	End()
}

// Span is a part of a step's time.
type Span struct {
	Name         string
	Lane, Bucket int // -1: the worker's own; no bucket
	Bytes        int // that were summed or copied; 0: none
	Begun, Ended time.Time
}

// The spans' names.
const (
	spanInput    = "input"      // a lane waits for its batch
	spanTeacher  = "teacher"    // forward
	spanForward  = "forward"    // of the student
	spanLoss     = "loss"       // with its sums over all lanes, and the waiting for them
	spanBackward = "backward"   // of the student
	spanReduce   = "all-reduce" // of a bucket
	spanSum      = "sum"        // of the loss's vectors
	spanCommit   = "commit"
	spanUpdate   = "update"
	spanCopy     = "checkpoint copy"
)

// tracing begins the trace of a step, if it has one.
func (t *Trainer) tracing(step int) {
	t.trace = nil
	if t.config.Trace != nil {
		t.trace = t.config.Trace(step)
	}
	t.exchange.trace = t.trace
}

// traced ends the trace of a step, after its update and the copy for a checkpoint.
func (t *Trainer) traced() {
	if t.trace != nil {
		t.trace.End()
	}
	t.trace, t.exchange.trace = nil, nil
}

// span tells of something of the worker's that has ended now.
func (t *Trainer) span(name string, bytes int, begun time.Time) {
	if t.trace != nil {
		t.trace.Span(Span{Name: name, Lane: -1, Bucket: -1, Bytes: bytes, Begun: begun, Ended: time.Now()})
	}
}

// mark begins the next part of the lane's time.
func (l *lane) mark() {
	if l.trainer.trace != nil {
		l.marked = time.Now()
	}
}

// span ends the part of the lane's time that has begun at the last mark or span, and begins the next one.
func (l *lane) span(name string) {
	if t := l.trainer.trace; t != nil {
		now := time.Now()
		t.Span(Span{Name: name, Lane: l.number, Bucket: -1, Begun: l.marked, Ended: now})
		l.marked = now
	}
}

// nothing is the end of what is not traced.
func nothing() {}

// span says that a sum over the workers begins; the function that it returns, that it has ended.
func (e *exchange) span(name string, bucket, bytes int) (end func()) {
	t := e.trace
	if t == nil {
		return nothing
	}
	begun := time.Now()
	return func() {
		t.Span(Span{Name: name, Lane: -1, Bucket: bucket, Bytes: bytes, Begun: begun, Ended: time.Now()})
	}
}
