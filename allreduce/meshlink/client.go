package meshlink

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// client is a connection to a NATS server. It speaks as much of the client's protocol as the ring's data needs
// (https://docs.nats.io/reference/reference-protocols/nats-protocol): it publishes, takes the messages of one subscription
// into memory of the caller, and answers pings. Over nats.go it saves a copy of each message that leaves, and two copies,
// fresh memory and two goroutines for each that comes.
type client struct {
	conn       net.Conn
	in         *bufio.Reader
	timeout    time.Duration // of a write; 0: none
	maxPayload int
	encrypted  bool
	pong       chan struct{} // of one element: next has met an answer to a PING; nil: nobody asks

	mu   sync.Mutex // of writes
	line []byte
}

// readBuffer holds the line before a message, and no more than that of the message which is worth a copy.
const readBuffer = 4 << 10

var (
	errRefused  = errors.New("the NATS server refuses")
	errTooLarge = errors.New("the message is larger than the NATS server takes")
)

// connect is what a client says first.
type connect struct {
	User     string `json:"user"`
	Password string `json:"pass"`
	Name     string `json:"name"`
	Verbose  bool   `json:"verbose"`
	Pedantic bool   `json:"pedantic"`
	Language string `json:"lang"`
	Version  string `json:"version"`
	Protocol int    `json:"protocol"`
}

// greet introduces a client to the server at the other end, and waits until it is let in. The caller bounds the time.
func greet(conn net.Conn, user, password, name string) (*client, error) {
	c := &client{conn: conn, in: bufio.NewReaderSize(conn, readBuffer)}
	line, err := c.read()
	if err != nil {
		return nil, err
	}
	var info struct {
		MaxPayload int `json:"max_payload"`
	}
	text, ok := bytes.CutPrefix(line, []byte("INFO "))
	if !ok {
		return nil, fmt.Errorf("%.40q is not what a NATS server says first", line)
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return nil, fmt.Errorf("what the NATS server says of itself: %w", err)
	}
	c.maxPayload = info.MaxPayload
	hello, err := json.Marshal(connect{User: user, Password: password, Name: name, Language: "go", Version: "1", Protocol: 1})
	if err != nil {
		return nil, err
	}
	return c, c.ask("CONNECT " + string(hello) + "\r\n")
}

// ask writes commands, and returns when the server has followed them. No message may come meanwhile.
func (c *client) ask(commands string) error {
	if err := c.write(commands + "PING\r\n"); err != nil {
		return err
	}
	for {
		line, err := c.read()
		if err != nil {
			return err
		}
		if string(line) == "PONG" {
			return nil
		}
		if _, err := c.handle(line, nil); err != nil {
			return err
		}
	}
}

// next waits for a message. memory is asked for its room.
func (c *client) next(memory func(n int) []byte) ([]byte, error) {
	for {
		line, err := c.read()
		if err != nil {
			return nil, err
		}
		message, err := c.handle(line, memory)
		if message != nil || err != nil {
			return message, err
		}
	}
}

// read returns the next line, without its end; it holds until the next read.
func (c *client) read() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// handle follows a line of the server, which is all that it says or comes before a message.
func (c *client) handle(line []byte, memory func(n int) []byte) (message []byte, err error) {
	verb, rest, _ := bytes.Cut(line, []byte(" "))
	switch string(verb) {
	case "MSG":
		return c.message(rest, memory)
	case "PING":
		return nil, c.write("PONG\r\n")
	case "PONG":
		select {
		case c.pong <- struct{}{}:
		default:
		}
		return nil, nil
	case "INFO", "+OK":
		return nil, nil
	case "-ERR":
		return nil, fmt.Errorf("%w: %s", errRefused, rest)
	}
	return nil, fmt.Errorf("%.40q is not of NATS's protocol", line)
}

// message reads what follows `MSG <subject> <sid> [reply] <bytes>`.
func (c *client) message(fields []byte, memory func(n int) []byte) ([]byte, error) {
	n, err := strconv.Atoi(string(fields[bytes.LastIndexByte(fields, ' ')+1:]))
	if err != nil || n < 0 || n > c.maxPayload || memory == nil {
		return nil, fmt.Errorf("%.80q announces no message that can be", fields)
	}
	m := memory(n)[:n]
	if _, err := io.ReadFull(c.in, m); err != nil {
		return nil, err
	}
	end, err := c.read()
	if err != nil {
		return nil, err
	}
	if len(end) > 0 {
		return nil, fmt.Errorf("a message of more than the %d bytes that were announced", n)
	}
	return m, nil
}

func (c *client) write(text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line = append(c.line[:0], text...)
	return c.flush(c.line)
}

// publish writes a message, which is the caller's again when it returns.
func (c *client) publish(subject string, message []byte) error {
	if len(message) > c.maxPayload {
		return fmt.Errorf("%w: %d bytes of at most %d", errTooLarge, len(message), c.maxPayload)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line = append(append(c.line[:0], "PUB "...), subject...)
	c.line = strconv.AppendInt(append(c.line, ' '), int64(len(message)), 10)
	c.line = append(c.line, "\r\n"...)
	if c.encrypted { // each write is a record at least
		c.line = append(append(c.line, message...), "\r\n"...)
		return c.flush(c.line)
	}
	return c.flush(c.line, message, []byte("\r\n"))
}

// flush writes pieces together, without a copy where the connection can.
func (c *client) flush(pieces ...[]byte) error {
	if c.timeout > 0 {
		if err := c.conn.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return err
		}
	}
	buffers := net.Buffers(pieces)
	_, err := buffers.WriteTo(c.conn)
	return err
}
