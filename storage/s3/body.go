package s3

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// lending is a transport that gives the body of a request back when RoundTrip returns. net/http may still be reading it then, when
// the store has answered before it had all of it, or the connection has broken; but minio-go seeks in it at once, to send it again.
type lending struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (l lending) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return l.RoundTripper.RoundTrip(r)
	}
	body := &lent{body: r.Body}
	defer body.giveBack()
	out := r.WithContext(r.Context()) // a copy: a transport does not change the request
	out.Body = body
	out.GetBody = nil // it would be another body, which nobody gives back
	return l.RoundTripper.RoundTrip(out)
}

var errGivenBack = errors.New("the request is over")

// lent is a body that nobody reads after giveBack.
type lent struct {
	mu   sync.Mutex
	body io.ReadCloser // nil: given back
}

func (l *lent) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.body == nil {
		return 0, errGivenBack
	}
	return l.body.Read(p)
}

func (l *lent) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.body == nil {
		return nil
	}
	return l.body.Close()
}

// giveBack waits for a Read that is under way.
func (l *lent) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.body = nil
}
