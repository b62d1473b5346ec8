package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"pupil/internal/random"
	"pupil/storage/location"
	"pupil/storage/s3"
)

// store is the bucket of a site on an S3-compatible store. The site's processes reach it through an HTTP proxy, which passes
// requests on as they are, with their signatures, or lets them fail.
type store struct {
	place  *url.URL // of all runs' prefix on the store itself, with all parameters
	target *url.URL // the store
	server http.Server
	listen net.Listener
	to     *http.Transport
	served chan struct{} // closed when the server has ended
	seed   uint64
	asked  atomic.Uint64 // requests

	mu     sync.Mutex
	now    Kind          // Full, Fail, Slow; "": none
	mended chan struct{} // closed when the fault is over
}

// ParseStore checks the URL of a prefix on a store for runs under faults. The signature of a request names the host that was
// asked, which is the proxy: a store must have an endpoint of its own, and take other names for it. AWS does not.
func ParseStore(address string) error {
	_, _, err := parseStore(address)
	return err
}

func parseStore(address string) (place, target *url.URL, err error) {
	if place, err = url.Parse(address); err != nil || place.Scheme != "s3" {
		return nil, nil, fmt.Errorf("%q is no URL s3://bucket/prefix; runs in folders need none", location.Redact(address))
	}
	c, err := s3.Parse(place, os.Getenv)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", location.Redact(address), err)
	}
	if c.Endpoint == "" {
		return nil, nil, errors.New("the store needs an endpoint of its own (?endpoint=http://host:port, or PUPIL_S3_ENDPOINT): AWS refuses " +
			"requests that go through a proxy")
	}
	if target, err = url.Parse(c.Endpoint); err != nil {
		return nil, nil, err
	}
	q := place.Query()
	q.Set("endpoint", c.Endpoint)
	place.RawQuery = q.Encode()
	return place, target, nil
}

// openStore listens on a host. The store must be closed.
func openStore(address, prefix, host string, seed uint64) (*store, error) {
	place, target, err := parseStore(address)
	if err != nil {
		return nil, err
	}
	s := &store{place: place.JoinPath(prefix), target: target, to: &http.Transport{DisableCompression: true}, served: make(chan struct{}), seed: seed}
	if s.listen, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
		return nil, fmt.Errorf("proxy of the store: %w", err)
	}
	s.server = http.Server{Handler: s, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)} // what breaks here is meant to
	go func() {
		defer close(s.served)
		_ = s.server.Serve(s.listen) // until close
	}()
	return s, nil
}

// close ends all connections.
func (s *store) close() error {
	err := s.server.Close()
	<-s.served
	s.to.CloseIdleConnections()
	return err
}

// behind implements bucket.
func (s *store) behind(name string) string { return s.place.JoinPath(name).String() }

// url implements bucket.
func (s *store) url(name string) string {
	u := s.place.JoinPath(name)
	q := u.Query()
	q.Set("endpoint", "http://"+s.listen.Addr().String())
	q.Set("path_style", "true")
	u.RawQuery = q.Encode()
	return u.String()
}

// strike implements bucket.
func (s *store) strike(_ context.Context, k Kind) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != "" {
		return errNobody
	}
	s.now, s.mended = k, make(chan struct{})
	return nil
}

// mend implements bucket.
func (s *store) mend(Kind) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = ""
	close(s.mended)
	return nil
}

// ServeHTTP implements http.Handler.
func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	now, mended := s.now, s.mended
	s.mu.Unlock()
	switch now {
	case Full:
		if r.Method == http.MethodPut || r.Method == http.MethodPost {
			refuse(w, http.StatusInsufficientStorage, "XMinioStorageFull", "no room is left")
			return
		}
		s.pass(w, r, passing{})
	case Fail:
		dice := random.New(purposeChaos, s.seed, 3, s.asked.Add(1))
		s.fail(w, r, failure(dice.IntN(int(failures))), mended)
	case Slow:
		s.pass(w, r, passing{slow: true})
	default:
		s.pass(w, r, passing{})
	}
}

// failure is a way in which a request fails.
type failure int

// The ways that networks and stores have.
const (
	broken  failure = iota // the store answers with an error of its own
	busy                   // it has too much to do
	reset                  // the connection breaks before the store has heard
	torn                   // it breaks in the middle of what is sent, either way
	unheard                // the store has done it, and the answer is lost
	silent                 // there is no answer
	failures
)

// fail lets a request fail. until is closed when a store that is silent breaks the connection.
func (s *store) fail(w http.ResponseWriter, r *http.Request, how failure, until <-chan struct{}) {
	switch how {
	case broken:
		refuse(w, http.StatusInternalServerError, "InternalError", "the store has a fault")
	case busy:
		refuse(w, http.StatusServiceUnavailable, "SlowDown", "the store has too much to do")
	case torn:
		s.pass(w, r, passing{torn: true})
	case unheard:
		s.pass(w, r, passing{unheard: true})
	case silent:
		select {
		case <-until:
		case <-r.Context().Done():
		}
		hangUp(w)
	default:
		hangUp(w)
	}
}

// hangUp breaks the connection that a request came on.
func hangUp(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // a connection that cannot be taken over
		refuse(w, http.StatusInternalServerError, "InternalError", "the store has a fault")
		return
	}
	_ = c.Close() // it is meant to be rude
}

// refuse answers as S3 does.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
}

// passing is what happens to a request that reaches the store. The zero value is nothing.
type passing struct {
	slow    bool // slowRate at most
	torn    bool // half of the body comes through, of the request's or, where it has none, of the answer's
	unheard bool // the answer is lost
}

var errTorn = errors.New("torn by a fault")

// pass hands a request on to the store, with the host that was asked, which its signature names.
func (s *store) pass(w http.ResponseWriter, r *http.Request, p passing) {
	upload := r.ContentLength > 0
	(&httputil.ReverseProxy{
		Transport: s.to, ErrorLog: s.server.ErrorLog,
		Rewrite: func(to *httputil.ProxyRequest) {
			to.SetURL(s.target)
			to.Out.Host = to.In.Host
			if upload {
				to.Out.Body = p.body(to.Out.Context(), to.Out.Body, to.Out.ContentLength)
			}
		},
		ModifyResponse: func(answer *http.Response) error {
			if p.unheard {
				return errTorn
			}
			if !upload {
				answer.Body = p.body(r.Context(), answer.Body, answer.ContentLength)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { hangUp(w) },
	}).ServeHTTP(w, r)
}

// body reads a body as it comes through.
func (p passing) body(ctx context.Context, body io.ReadCloser, size int64) io.ReadCloser {
	b := &struckBody{ReadCloser: body, ctx: ctx, slow: p.slow, left: -1}
	if p.torn {
		b.left = max(0, size/2)
	}
	return b
}

type struckBody struct {
	io.ReadCloser
	ctx  context.Context // of the request, which a Reader has no other way to hear of
	slow bool
	left int64 // bytes until it is torn; -1: it is not
}

func (b *struckBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errTorn
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	if b.slow && err == nil {
		err = pause(b.ctx, time.Duration(n)*time.Second/slowRate)
	}
	return n, err
}
