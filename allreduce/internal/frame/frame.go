// Package frame is the binary form of the ring's messages: a header of 64 bytes and a payload.
//
// All numbers are little-endian.
//
//	offset  size  field
//	     0     4  magic "PUPR"
//	     4     1  version, 3
//	     5     1  kind: 1 data, 2 need, 3 done, 4 query, 5 abort, 6 part, 7 alive
//	     6     1  dtype: 1 int32, 2 int64, 3 int16, 4 byte, 5 int24, 0 for what carries no elements; in done: 5 or 0, whether
//	              the sender takes data of int24
//	     7     1  attempt: 0, or that of the need that asked for the message, at most 255
//	     8     8  generation
//	    16     8  step
//	    24     4  bucket
//	    28     4  chunk
//	    32     8  contributors: the Trail of the ranks whose inputs are in the payload
//	    40     4  total, the elements of the vector or the bytes of the state
//	    44     4  count, what the payload holds: elements (data), entries (need), bytes (done, abort, part)
//	    48     2  N, the ranks of the generation, 1 to 1024
//	    50     2  sender, the rank that sent this message
//	    52     4  job: CRC-32C of the job's name
//	    56     4  CRC-32C of the payload
//	    60     4  CRC-32C of bytes 0 to 59
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Sizes of a message.
const (
	HeaderSize = 64
	MaxRanks   = 1024
)

const (
	magic   = 0x52505550 // "PUPR"
	version = 3
)

// Kind says what a message is for.
type Kind uint8

// The kinds of messages.
const (
	Data  Kind = iota + 1 // a chunk: the sum over Contributors
	Need                  // entries of 4 bytes: chunks that the sender lacks
	Done                  // the digest of a step that the sender has reduced
	Query                 // asks for Done
	Abort                 // the sender has failed; the payload says why, in UTF-8
	Part                  // a piece of a state, behind the state's SHA-256
	Alive                 // the answer to a Query of who still receives a state: how many pieces it has
)

// DType is the type of a vector's elements.
type DType uint8

// The element types.
const (
	Int32 DType = iota + 1
	Int64
	Int16
	Byte  // of a state, which is not summed
	Int24 // of messages alone: sums of Int32 that all have 24 bits, in 3 bytes each
)

// Size is the number of bytes of an element; 0 for an unknown type.
func (t DType) Size() int {
	switch t {
	case Int32:
		return 4
	case Int64:
		return 8
	case Int16:
		return 2
	case Byte:
		return 1
	case Int24:
		return 3
	}
	return 0
}

func (t DType) String() string {
	switch t {
	case Int32:
		return "int32"
	case Int64:
		return "int64"
	case Int16:
		return "int16"
	case Byte:
		return "byte"
	case Int24:
		return "int24"
	}
	return fmt.Sprintf("dtype %d", uint8(t))
}

// Header is the fixed part of a message. The package comment says what each field holds.
type Header struct {
	Kind         Kind
	DType        DType
	Attempt      uint8
	Size         uint16 // N
	Sender       uint16
	Job          uint32
	Bucket       uint32
	Chunk        uint32
	Total        uint32
	Count        uint32
	PayloadCRC   uint32
	Generation   uint64
	Step         uint64
	Contributors Trail
}

// Frame is a message. Buffer holds HeaderSize bytes for the header, written by Encode, and the payload.
//
// Frames of a Pool, and those that Adopt has made, count who holds their memory: who has one may use it until its
// Release. Other frames need no Release.
type Frame struct {
	Header
	Buffer []byte
	memory *Buffer
}

// Adopt returns f with memory of p that goes to home after the last Release; see Pool.Adopt.
func (f Frame) Adopt(p *Pool, home func([]byte)) Frame {
	f.memory = p.Adopt(f.Buffer, home)
	return f
}

// Keep adds a holder and returns f.
func (f Frame) Keep() Frame {
	f.memory.Keep()
	return f
}

// Release takes a holder away.
func (f Frame) Release() { f.memory.Release() }

// New returns a frame with room for a payload of n bytes.
func New(h Header, n int) Frame { return Frame{Header: h, Buffer: make([]byte, HeaderSize+n)} }

// Payload is the part of the buffer behind the header.
func (f Frame) Payload() []byte { return f.Buffer[HeaderSize:] }

var table = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C (Castagnoli, RFC 3720) of data.
func Checksum(data []byte) uint32 { return crc32.Checksum(data, table) }

// Seal sets the payload's checksum. Call it whenever the payload has changed.
func (f *Frame) Seal() { f.PayloadCRC = Checksum(f.Payload()) }

// Encode writes the header into the first HeaderSize bytes of the buffer and returns the buffer, the whole message.
// The payload is left alone: several frames may share one buffer as long as they are encoded and sent one after
// another.
func (f Frame) Encode() []byte {
	b := f.Buffer
	_ = b[HeaderSize-1]
	le := binary.LittleEndian
	le.PutUint32(b[0:], magic)
	b[4], b[5], b[6], b[7] = version, byte(f.Kind), byte(f.DType), f.Attempt
	le.PutUint64(b[8:], f.Generation)
	le.PutUint64(b[16:], f.Step)
	le.PutUint32(b[24:], f.Bucket)
	le.PutUint32(b[28:], f.Chunk)
	le.PutUint64(b[32:], uint64(f.Contributors))
	le.PutUint32(b[40:], f.Total)
	le.PutUint32(b[44:], f.Count)
	le.PutUint16(b[48:], f.Size)
	le.PutUint16(b[50:], f.Sender)
	le.PutUint32(b[52:], f.Job)
	le.PutUint32(b[56:], f.PayloadCRC)
	le.PutUint32(b[60:], Checksum(b[:60]))
	return b
}

// ErrCorrupt tells of a message that is damaged, cut short, or none of ours. It is to be dropped: what it held is asked
// for again.
var ErrCorrupt = errors.New("damaged message")

// ErrVersion tells of a whole message in another version's format.
var ErrVersion = errors.New("message of another version of the protocol")

// Decode checks a message and returns it as a frame whose buffer is msg itself. Errors are ErrCorrupt and ErrVersion.
func Decode(msg []byte) (Frame, error) {
	if len(msg) < HeaderSize {
		return Frame{}, fmt.Errorf("%w: %d bytes, fewer than a header's %d", ErrCorrupt, len(msg), HeaderSize)
	}
	le := binary.LittleEndian
	if got := le.Uint32(msg); got != magic {
		return Frame{}, fmt.Errorf("%w: it begins with %#08x, not %#08x", ErrCorrupt, got, magic)
	}
	if got, want := le.Uint32(msg[60:]), Checksum(msg[:60]); got != want {
		return Frame{}, fmt.Errorf("%w: the header's checksum is %08x, not %08x", ErrCorrupt, got, want)
	}
	if msg[4] != version {
		return Frame{}, fmt.Errorf("%w: %d, here %d; run the same build on every worker", ErrVersion, msg[4], version)
	}
	f := Frame{Buffer: msg, Header: Header{
		Kind: Kind(msg[5]), DType: DType(msg[6]), Attempt: msg[7],
		Generation: le.Uint64(msg[8:]), Step: le.Uint64(msg[16:]),
		Bucket: le.Uint32(msg[24:]), Chunk: le.Uint32(msg[28:]), Contributors: Trail(le.Uint64(msg[32:])),
		Total: le.Uint32(msg[40:]), Count: le.Uint32(msg[44:]), Size: le.Uint16(msg[48:]), Sender: le.Uint16(msg[50:]),
		Job: le.Uint32(msg[52:]), PayloadCRC: le.Uint32(msg[56:]),
	}}
	if err := f.check(); err != nil {
		return Frame{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if got := Checksum(f.Payload()); got != f.PayloadCRC {
		return Frame{}, fmt.Errorf("%w: the payload's checksum is %08x, not %08x", ErrCorrupt, got, f.PayloadCRC)
	}
	return f, nil
}

// check tells whether the fields agree with each other and with the payload's length.
func (f Frame) check() error {
	unit := 1
	switch f.Kind {
	case Data:
		if unit = f.DType.Size(); unit == 0 || f.DType == Byte {
			return fmt.Errorf("unknown or not to be summed: %s", f.DType)
		}
	case Need:
		unit = 4
	case Part:
		if f.DType != Byte {
			return fmt.Errorf("a piece of a state in %s", f.DType)
		}
	case Done, Query, Abort, Alive:
	default:
		return fmt.Errorf("unknown kind %d", f.Kind)
	}
	if n := uint64(f.Count) * uint64(unit); n != uint64(len(f.Payload())) {
		return fmt.Errorf("the payload has %d bytes, the header says %d", len(f.Payload()), n)
	}
	if f.Size < 1 || f.Size > MaxRanks {
		return fmt.Errorf("%d ranks; there may be 1 to %d", f.Size, MaxRanks)
	}
	if f.Sender >= f.Size {
		return fmt.Errorf("sender %d of %d ranks", f.Sender, f.Size)
	}
	return nil
}
