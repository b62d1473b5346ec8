package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Command is something that has happened or was decided: Submit, Resume, Join, Lost, Draining, Leave, Preparing, Prepared, Planned,
// Began, Measured, Noticed, Committed, Checkpointed, YieldRequested, Ended, StopRequested, Suspended, Concluded, Restarted,
// TookOver, TokenAdded, TokenRemoved or Forgotten.
type Command interface {
	kind() string
	// apply checks everything before it changes anything.
	apply(s *State, at time.Time) error
}

// Why a command was refused. Test with errors.Is; the error's text says more.
var (
	ErrStale   = errors.New("stale")   // it speaks of a generation or a session that is over
	ErrUnknown = errors.New("unknown") // of a run or a worker that is not there
	ErrRefused = errors.New("refused") // it cannot be done now
)

// refusal is an error that reads as its text alone.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

func refuse(kind error, format string, args ...any) error {
	return &refusal{kind: kind, text: fmt.Sprintf(format, args...)}
}

// Apply applies a command that was proposed at the given time. With an error the state is as before.
func (s *State) Apply(at time.Time, c Command) error {
	at = at.UTC().Round(0)
	var before string
	if r := s.Active(); r != nil {
		before = r.Run
	}
	events := len(s.Events)
	s.Sequence++ // first: events carry it
	if err := c.apply(s, at); err != nil {
		s.Sequence--
		s.Events = s.Events[:events]
		return err
	}
	if r := s.Active(); r != nil && r.Run != before {
		s.ActiveSince = at
	}
	if n := len(s.Events) - MaxEvents; n > 0 {
		s.Events = append([]Event(nil), s.Events[n:]...)
	}
	return nil
}

// event records something for the operator.
func (s *State) event(at time.Time, run, worker, format string, args ...any) {
	const limit = 1024
	text := fmt.Sprintf(format, args...)
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "..."
	}
	s.Events = append(s.Events, Event{Sequence: s.Sequence, Time: at, Run: run, Worker: worker, Text: text})
}

// The version of encoded commands and snapshots. Fields may be added within it, since a build that does not know them leaves
// them out; their zero value must mean what was before.
const version = 1

type envelope struct {
	Version int             `json:"version"`
	At      time.Time       `json:"at"`
	Kind    string          `json:"kind"`
	Body    json.RawMessage `json:"body"`
}

// EncodeCommand encodes a command and the time of its proposal for the log.
func EncodeCommand(at time.Time, c Command) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode command %s: %w", c.kind(), err)
	}
	return json.Marshal(envelope{Version: version, At: at.UTC().Round(0), Kind: c.kind(), Body: body})
}

// DecodeCommand decodes what EncodeCommand has encoded.
func DecodeCommand(data []byte) (at time.Time, c Command, err error) {
	var e envelope
	if err := whole(data, &e); err != nil {
		return at, nil, fmt.Errorf("decode command: %w", err)
	}
	if e.Version != version {
		return at, nil, fmt.Errorf("decode command: it has version %d; this build reads %d", e.Version, version)
	}
	if c, err = decodeBody(e); err != nil {
		return at, nil, fmt.Errorf("decode command %.40q: %w", e.Kind, err)
	}
	return e.At, c, nil
}

func decodeBody(e envelope) (Command, error) {
	switch e.Kind {
	case Submit{}.kind():
		return body[Submit](e)
	case Resume{}.kind():
		return body[Resume](e)
	case Join{}.kind():
		return body[Join](e)
	case Lost{}.kind():
		return body[Lost](e)
	case Leave{}.kind():
		return body[Leave](e)
	case Draining{}.kind():
		return body[Draining](e)
	case Planned{}.kind():
		return body[Planned](e)
	case Measured{}.kind():
		return body[Measured](e)
	case Began{}.kind():
		return body[Began](e)
	case Noticed{}.kind():
		return body[Noticed](e)
	case YieldRequested{}.kind():
		return body[YieldRequested](e)
	case Suspended{}.kind():
		return body[Suspended](e)
	case Committed{}.kind():
		return body[Committed](e)
	case Checkpointed{}.kind():
		return body[Checkpointed](e)
	case Ended{}.kind():
		return body[Ended](e)
	case StopRequested{}.kind():
		return body[StopRequested](e)
	case Concluded{}.kind():
		return body[Concluded](e)
	case Restarted{}.kind():
		return body[Restarted](e)
	case TookOver{}.kind():
		return body[TookOver](e)
	case Preparing{}.kind():
		return body[Preparing](e)
	case Prepared{}.kind():
		return body[Prepared](e)
	case Forgotten{}.kind():
		return body[Forgotten](e)
	case TokenAdded{}.kind():
		return body[TokenAdded](e)
	case TokenRemoved{}.kind():
		return body[TokenRemoved](e)
	}
	return nil, errors.New("unknown kind; it was written by a newer version")
}

func body[C Command](e envelope) (Command, error) {
	var c C
	err := whole(e.Body, &c)
	return c, err
}

// whole decodes exactly one JSON value. Fields that this build does not know are those of a newer one.
func whole(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("bytes follow the value")
	}
	return nil
}
