package s3

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
)

// keeping is a transport that answers before it has the body, and goes on with that later.
type keeping struct{ body io.ReadCloser }

func (k *keeping) RoundTrip(r *http.Request) (*http.Response, error) {
	k.body = r.Body
	if _, err := io.ReadFull(k.body, make([]byte, 3)); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody, Request: r}, nil
}

// TestBodyIsGivenBack looks at a body after its request: it stands where the transport had come to, and goes no further.
func TestBodyIsGivenBack(t *testing.T) {
	data := bytes.NewReader([]byte("weights"))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://store.example/k", data)
	if err != nil {
		t.Fatal(err)
	}
	late := &keeping{}
	answer, err := lending{late}.RoundTrip(r)
	if err != nil || answer.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("%v, %v", answer, err)
	}
	defer answer.Body.Close()
	if n, err := late.body.Read(make([]byte, 3)); n != 0 || !errors.Is(err, errGivenBack) {
		t.Errorf("a Read after the request: %d, %v", n, err)
	}
	if err := late.body.Close(); err != nil {
		t.Error(err)
	}
	if data.Len() != 4 {
		t.Errorf("%d bytes are left of the body, want 4", data.Len())
	}
}
