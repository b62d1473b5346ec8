package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"strconv"
	"strings"
	"time"

	"pupil/internal/certificate"
)

// Config says where the coordinators are.
type Config struct {
	Addresses []string            // http://host:port or https://host:port, of one or more coordinators of a cluster
	Token     string              // of the cluster
	TLS       *certificate.Source // for https; nil: the system's authorities
	Patience  time.Duration       // so long a request is tried while no coordinator or no leader answers; default 15s
}

// Client asks coordinators. It may be used from several goroutines.
type Client struct {
	config Config
	http   *http.Client
}

// NewClient returns a client.
func NewClient(c Config) (*Client, error) {
	if len(c.Addresses) == 0 {
		return nil, errors.New("there is no address of a coordinator")
	}
	for _, a := range c.Addresses {
		u, err := neturl.Parse(a)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/" {
			return nil, fmt.Errorf("%q is no address of a coordinator; write it as http://host:port", a)
		}
	}
	if c.Token == "" {
		return nil, errors.New("there is no token")
	}
	if c.Patience == 0 {
		c.Patience = 15 * time.Second
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if c.TLS != nil {
		transport.DialTLSContext = c.TLS.DialTLS
	}
	transport.Proxy = nil
	return &Client{config: c, http: &http.Client{Transport: transport}}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns where the cluster stands.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return call[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Runs returns the submitted jobs.
func (c *Client) Runs(ctx context.Context) ([]Run, error) {
	r, err := call[[]Run](ctx, c, http.MethodGet, "/v1/runs", nil)
	if err != nil {
		return nil, err
	}
	return *r, nil
}

// Run returns one of them.
func (c *Client) Run(ctx context.Context, run string) (*Detail, error) {
	return call[Detail](ctx, c, http.MethodGet, "/v1/runs/"+neturl.PathEscape(run), nil)
}

// Submit asks for a run.
func (c *Client) Submit(ctx context.Context, s Submission) (*Run, error) {
	return call[Run](ctx, c, http.MethodPost, "/v1/runs", s)
}

// Cancel asks a run to stop after a step and to save a checkpoint.
func (c *Client) Cancel(ctx context.Context, run, reason string) (*Run, error) {
	return call[Run](ctx, c, http.MethodPost, "/v1/runs/"+neturl.PathEscape(run)+"/cancel", Reason{reason})
}

// Members returns the coordinators.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	return c.members(ctx, http.MethodGet, "/v1/members", nil)
}

// AddMember takes a coordinator in.
func (c *Client) AddMember(ctx context.Context, m Member) ([]Member, error) {
	return c.members(ctx, http.MethodPost, "/v1/members", m)
}

// RemoveMember takes a coordinator out.
func (c *Client) RemoveMember(ctx context.Context, id string) ([]Member, error) {
	return c.members(ctx, http.MethodDelete, "/v1/members/"+neturl.PathEscape(id), nil)
}

func (c *Client) members(ctx context.Context, method, path string, body any) ([]Member, error) {
	m, err := call[[]Member](ctx, c, method, path, body)
	if err != nil {
		return nil, err
	}
	return *m, nil
}

// Tokens returns the tokens with roles.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	return c.tokens(ctx, http.MethodGet, "/v1/tokens")
}

// AddToken makes one. Only its answer has the secret.
func (c *Client) AddToken(ctx context.Context, t Token) (*Token, error) {
	return call[Token](ctx, c, http.MethodPost, "/v1/tokens", t)
}

// RemoveToken makes one void.
func (c *Client) RemoveToken(ctx context.Context, name string) ([]Token, error) {
	return c.tokens(ctx, http.MethodDelete, "/v1/tokens/"+neturl.PathEscape(name))
}

func (c *Client) tokens(ctx context.Context, method, path string) ([]Token, error) {
	t, err := call[[]Token](ctx, c, method, path, nil)
	if err != nil {
		return nil, err
	}
	return *t, nil
}

// Broker returns where a session of a worker connects to, and as whom.
func (c *Client) Broker(ctx context.Context, worker, session string) (*Broker, error) {
	q := neturl.Values{"worker": {worker}, "session": {session}}
	return call[Broker](ctx, c, http.MethodGet, "/v1/broker?"+q.Encode(), nil)
}

// Watch calls show with the cluster's status, now and after each change, until show returns an error, which it returns,
// or ctx ends. It goes on when the leader changes.
func (c *Client) Watch(ctx context.Context, show func(*Status) error) error {
	return lines(ctx, c, func() string { return "/v1/watch" }, show)
}

// Events calls show with each event of a sequence above after, and with follow also with those to come.
func (c *Client) Events(ctx context.Context, after uint64, follow bool, show func(*Event) error) error {
	path := func() string {
		return "/v1/events?after=" + strconv.FormatUint(after, 10) + "&follow=" + strconv.FormatBool(follow)
	}
	each := func(e *Event) error {
		after = max(after, e.Sequence)
		return show(e)
	}
	if follow {
		return lines(ctx, c, path, each)
	}
	r, err := c.ask(ctx, http.MethodGet, path(), nil)
	if err != nil {
		return err
	}
	_, err = read(r, each)
	return err
}

// call makes a request and reads the answer.
func call[T any](ctx context.Context, c *Client, method, path string, body any) (*T, error) {
	r, err := c.ask(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	var out T
	if err := json.NewDecoder(r.Body).Decode(&out); err != nil {
		return nil, fmt.Errorf("read the coordinator's answer: %w", err)
	}
	return &out, nil
}

// lines reads a stream of JSON values, and asks for it again when it breaks.
func lines[T any](ctx context.Context, c *Client, path func() string, show func(*T) error) error {
	for {
		r, err := c.ask(ctx, http.MethodGet, path(), nil)
		if err != nil {
			return err
		}
		if shown, err := read(r, show); shown {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// read shows the values of an answer. stopped says that show returned an error.
func read[T any](r *http.Response, show func(*T) error) (stopped bool, err error) {
	defer r.Body.Close()
	d := json.NewDecoder(bufio.NewReader(r.Body))
	for {
		v := new(T)
		if err := d.Decode(v); errors.Is(err, io.EOF) {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("read the coordinator's answer: %w", err)
		}
		if err := show(v); err != nil {
			return true, err
		}
	}
}

// ask tries the coordinators one after another until one answers.
func (c *Client) ask(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
	}
	until := time.Now().Add(c.config.Patience)
	for {
		var last error
		for _, address := range c.config.Addresses {
			r, err := c.try(ctx, method, address, path, data)
			if err == nil {
				return r, nil
			}
			var said *Error
			if errors.As(err, &said) && said.Code != NoLeader {
				return nil, err
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if last == nil || said != nil { // one that answers says more than those that do not
				last = err
			}
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("no coordinator of %v answers: %w", c.config.Addresses, last)
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// pause waits a little before the next try.
func pause(ctx context.Context) error {
	t := time.NewTimer(time.Second / 5)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Client) try(ctx context.Context, method, address, path string, data []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(address, "/")+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.config.Token)
	if data != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(r)
	if err != nil || answer.StatusCode == http.StatusOK {
		return answer, err
	}
	defer answer.Body.Close()
	e := &Error{Status: answer.StatusCode}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if json.Unmarshal(text, e) != nil || e.Text == "" {
		e.Text = fmt.Sprintf("the coordinator at %s answers %s: %.200s", address, answer.Status, text)
		e.Code = Internal
	}
	return nil, e
}
