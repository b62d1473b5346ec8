package tracing

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Run is a run, the same on all its processes.
type Run struct{ Name, Digest, Storage string }

// Step is a committed step, as one worker has seen it.
type Step struct {
	Run         Run
	Number      int // committed steps, this one included
	Generation  uint64
	Rank, Lanes int // of the worker
	Begun       time.Time
	Ended       time.Time
	Spans       []Span
}

// Span is a part of a step.
type Span struct {
	Name         string
	Lane, Bucket int // -1: none
	Bytes        int // that were summed or copied; 0: none
	Begun, Ended time.Time
}

// Step sends a worker's part of a step.
func (t *Tracer) Step(s Step) {
	if t == nil {
		return
	}
	whole := t.rooted(s.Run, s.Number)
	about := []attribute.KeyValue{
		attribute.String("job", s.Run.Name), attribute.Int("step", s.Number),
		attribute.Int64("generation", int64(s.Generation)),
	}
	mine := append(about, attribute.Int("rank", s.Rank), attribute.Int("lanes", s.Lanes))
	if s.Rank == 0 {
		first := context.WithValue(context.Background(), rootKey{}, trace.SpanContextFromContext(whole))
		t.span(first, "step", s.Begun, s.Ended, about)
	}
	worker := t.span(whole, "worker", s.Begun, s.Ended, mine)
	lanes := map[int]context.Context{-1: worker}
	for lane, x := range extents(s.Spans) {
		lanes[lane] = t.span(worker, "lane", x.Begun, x.Ended, append(mine[:len(mine):len(mine)], attribute.Int("lane", lane)))
	}
	for _, x := range s.Spans {
		more := mine[:len(mine):len(mine)]
		if x.Lane >= 0 {
			more = append(more, attribute.Int("lane", x.Lane))
		}
		if x.Bucket >= 0 {
			more = append(more, attribute.Int("bucket", x.Bucket))
		}
		if x.Bytes > 0 {
			more = append(more, attribute.Int("bytes", x.Bytes))
		}
		t.span(lanes[x.Lane], x.Name, x.Begun, x.Ended, more)
	}
}

// Heard sends that a coordinator has taken note of a step.
func (t *Tracer) Heard(r Run, number int, generation uint64, begun, ended time.Time) {
	if t == nil {
		return
	}
	t.span(t.rooted(r, number), "coordinator", begun, ended, []attribute.KeyValue{
		attribute.String("job", r.Name), attribute.Int("step", number), attribute.Int64("generation", int64(generation)),
	})
}

// span sends a span below that of ctx, and returns the context of those below it.
func (t *Tracer) span(ctx context.Context, name string, begun, ended time.Time, about []attribute.KeyValue) context.Context {
	ctx, s := t.tracer.Start(ctx, name, trace.WithTimestamp(begun), trace.WithAttributes(about...))
	s.End(trace.WithTimestamp(ended))
	return ctx
}

// extents are the lanes' times from their first span to their last.
func extents(spans []Span) map[int]Span {
	all := map[int]Span{}
	for _, s := range spans {
		if s.Lane < 0 {
			continue
		}
		x, ok := all[s.Lane]
		if !ok || s.Begun.Before(x.Begun) {
			x.Begun = s.Begun
		}
		if !ok || s.Ended.After(x.Ended) {
			x.Ended = s.Ended
		}
		all[s.Lane] = x
	}
	return all
}

// rooted is the context of a step's first span, whoever sends it.
func (t *Tracer) rooted(r Run, number int) context.Context {
	h := sha256.New()
	for _, text := range []string{r.Name, r.Digest, r.Storage, strconv.Itoa(number)} {
		h.Write([]byte(text))
		h.Write([]byte{0}) // which no name has
	}
	sum := h.Sum(nil)
	return trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(sum[:16]), SpanID: trace.SpanID(sum[16:24]), TraceFlags: trace.FlagsSampled,
	}))
}

type rootKey struct{}

// identities give a step's first span the IDs that its context names, and the others some that follow from process, time of its
// start and a count.
type identities struct {
	process string
	count   atomic.Uint64
}

var _ sdk.IDGenerator = (*identities)(nil)

func newIdentities(process string) *identities {
	return &identities{process: process + " " + strconv.FormatInt(time.Now().UnixNano(), 10)}
}

// NewIDs implements sdk.IDGenerator.
func (g *identities) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if c, ok := ctx.Value(rootKey{}).(trace.SpanContext); ok {
		return c.TraceID(), c.SpanID()
	}
	sum := g.next()
	id := trace.TraceID(sum[16:])
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID implements sdk.IDGenerator.
func (g *identities) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	sum := g.next()
	return trace.SpanID(sum[:8])
}

func (g *identities) next() [sha256.Size]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte(g.process), g.count.Add(1)))
}
