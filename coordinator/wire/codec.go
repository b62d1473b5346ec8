package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"pupil/internal/version"
)

// Version is the protocol's that this build speaks, and Oldest is the oldest that it understands. A field may be added within a
// version, since who does not know it leaves it out; its zero value must then mean what was before. What changes the meaning of
// anything raises Version, and Oldest stays one release behind, so that an upgrade can go host by host.
const (
	Version = 3
	Oldest  = 3
)

// MaxSize is the largest encoded message, in bytes.
const MaxSize = 4 << 20

// ErrVersion says that a message is of another version of the protocol.
var ErrVersion = errors.New("another version of the protocol")

// Message is one of this package's messages, as a value: Register, Registered, Refused, Heartbeat, Ack, Draining, Leave, Prepare,
// Prepared, Plan, Pause, Stop, Abort, Began, Noticed, Report, Distributions, CheckpointSaved, Ended, Inspect or Inspected.
type Message interface {
	kind() string
	validate() error
}

type envelope struct {
	Version int             `json:"version"`
	Kind    string          `json:"kind"`
	Body    json.RawMessage `json:"body"`
}

// Encode checks a message and encodes it.
func Encode(m Message) ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.kind(), err)
	}
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.kind(), err)
	}
	data, err := json.Marshal(envelope{Version: Version, Kind: m.kind(), Body: body})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.kind(), err)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("encode %s: %d bytes; at most %d can be sent", m.kind(), len(data), MaxSize)
	}
	return data, nil
}

// Decode decodes and checks a message.
func Decode(data []byte) (Message, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("decode message: %d bytes; at most %d are read", len(data), MaxSize)
	}
	// The version comes first: a message of another version may have fields that this one does not know.
	var v struct {
		Version int    `json:"version"`
		Kind    string `json:"kind"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("decode message: %w", err)
	}
	if (v.Version < Oldest || v.Version > Version) && v.Kind != (Refused{}).kind() { // a refusal is the same in all versions
		return nil, fmt.Errorf("decode message: %w: %d; this build (%s) speaks %s", ErrVersion, v.Version, version.String(), spoken())
	}
	var e envelope
	if err := whole(data, &e); err != nil {
		return nil, fmt.Errorf("decode message: %w", err)
	}
	m, err := decodeBody(e)
	if err != nil {
		return nil, fmt.Errorf("decode %.40s: %w", e.Kind, err)
	}
	return m, nil
}

// As decodes a message that must be of one type. A Refused in its place is returned as an error, see Refused.
func As[T Message](data []byte) (T, error) {
	var none T
	m, err := Decode(data)
	if err != nil {
		return none, err
	}
	if t, ok := m.(T); ok {
		return t, nil
	}
	if r, ok := m.(Refused); ok {
		return none, &r
	}
	return none, fmt.Errorf("a message of kind %s came where %s was due", m.kind(), none.kind())
}

func decodeBody(e envelope) (Message, error) {
	switch e.Kind {
	case Register{}.kind():
		return body[Register](e)
	case Registered{}.kind():
		return body[Registered](e)
	case Refused{}.kind():
		return body[Refused](e)
	case Heartbeat{}.kind():
		return body[Heartbeat](e)
	case Ack{}.kind():
		return body[Ack](e)
	case Leave{}.kind():
		return body[Leave](e)
	case Plan{}.kind():
		return body[Plan](e)
	case Stop{}.kind():
		return body[Stop](e)
	case Abort{}.kind():
		return body[Abort](e)
	case Prepare{}.kind():
		return body[Prepare](e)
	case Prepared{}.kind():
		return body[Prepared](e)
	case Draining{}.kind():
		return body[Draining](e)
	case Pause{}.kind():
		return body[Pause](e)
	case Began{}.kind():
		return body[Began](e)
	case Noticed{}.kind():
		return body[Noticed](e)
	case Report{}.kind():
		return body[Report](e)
	case Distributions{}.kind():
		return body[Distributions](e)
	case CheckpointSaved{}.kind():
		return body[CheckpointSaved](e)
	case Ended{}.kind():
		return body[Ended](e)
	case Inspect{}.kind():
		return body[Inspect](e)
	case Inspected{}.kind():
		return body[Inspected](e)
	}
	return nil, errors.New("unknown kind")
}

func body[T Message](e envelope) (Message, error) {
	var m T
	if err := whole(e.Body, &m); err != nil {
		return nil, err
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// spoken names the versions that this build understands.
func spoken() string {
	if Oldest == Version {
		return strconv.Itoa(Version)
	}
	return fmt.Sprintf("%d to %d", Oldest, Version)
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
