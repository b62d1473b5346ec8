package serve_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pupil/worker/student/serve"
)

// held is a request whose body has not ended; finish ends it and returns the answer.
func (r *running) held(path string) (finish func() (int, string)) {
	r.t.Helper()
	body, feed := io.Pipe()
	type result struct {
		code int
		body string
	}
	done := make(chan result, 1)
	go func() {
		response, err := http.Post(r.url+path, "image/png", body)
		if err != nil {
			done <- result{body: err.Error()}
			return
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		done <- result{response.StatusCode, string(text)}
	}()
	picture := square(r.t, 1)
	if _, err := feed.Write(picture[:20]); err != nil { // it returns when the client has taken it
		r.t.Fatal(err)
	}
	return func() (int, string) {
		_, err := feed.Write(picture[20:])
		if err := feed.CloseWithError(io.EOF); err != nil {
			r.t.Error(err)
		}
		a := <-done
		if err != nil {
			a.body += err.Error()
		}
		return a.code, a.body
	}
}

// occupied waits until the server says that n requests are being answered.
func (r *running) occupied(n int) {
	r.t.Helper()
	for {
		if _, body := r.do(r.request(http.MethodGet, "/metrics", "", nil)); strings.Contains(string(body), fmt.Sprintf("\npupil_serve_requests_active %d\n", n)) {
			return
		}
	}
}

func TestTooManyRequests(t *testing.T) {
	r := start(t, func(c *serve.Config) { c.Requests = 1 })
	finish := r.held("/v1/features")
	r.occupied(1)
	response, body := r.do(r.request(http.MethodPost, "/v1/features", "image/png", bytes.NewReader(square(t, 1))))
	if response.StatusCode != 429 || response.Header.Get("Retry-After") == "" || !strings.Contains(string(body), "busy") {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	if code, body := finish(); code != 200 {
		t.Errorf("the first request: %d %s", code, body)
	}
	r.occupied(0)
	if code, body := r.post("/v1/features", "image/png", square(t, 1)); code != 200 {
		t.Errorf("afterwards: %d %s", code, body)
	}
}

// A client that sends half of its request, and then nothing, is told so.
func TestSlowClient(t *testing.T) {
	r := start(t, func(c *serve.Config) { c.Timeout = 200 * time.Millisecond })
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "POST /v1/features HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nhalf"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 408 || !strings.Contains(string(body), "slow") {
		t.Errorf("%d %s, %v", response.StatusCode, body, err)
	}
}

// A path that is none, and a method that a path does not take, are told in JSON as every other refusal.
func TestNoSuchPath(t *testing.T) {
	r := start(t, nil)
	for _, c := range []struct {
		method, path string
		code         int
		word, allow  string
	}{
		{http.MethodGet, "/v1/nothing", 404, "no_path", ""},
		{http.MethodPost, "/v2/classify", 404, "no_path", ""},
		{http.MethodGet, "/v1/classify", 405, "wrong_method", "POST"},
		{http.MethodDelete, "/healthz", 405, "wrong_method", "GET"},
		{http.MethodPost, "/", 405, "wrong_method", "GET"},
	} {
		response, err := http.DefaultClient.Do(r.request(c.method, c.path, "", nil))
		if err != nil {
			t.Fatal(err)
		}
		var body struct {
			Error struct{ Code, Message string }
		}
		err = json.NewDecoder(response.Body).Decode(&body)
		response.Body.Close()
		if err != nil || response.StatusCode != c.code || body.Error.Code != c.word || body.Error.Message == "" ||
			response.Header.Get("Allow") != c.allow || response.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %+v %v, %v", c.method, c.path, response.StatusCode, body, response.Header, err)
		}
	}
}

// Without workers nobody answers: the request ends by its timeout.
func TestTimeout(t *testing.T) {
	m, err := model()
	if err != nil {
		t.Fatal(err)
	}
	c := serve.DefaultConfig()
	c.Timeout = 50 * time.Millisecond
	s, err := serve.New(m, nil, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: s.Handler()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = web.Serve(l)
	}()
	defer func() {
		web.Close()
		<-done
	}()
	response, err := http.Post("http://"+l.Addr().String()+"/v1/features", "image/png", bytes.NewReader(square(t, 1)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 504 {
		t.Errorf("status %d", response.StatusCode)
	}
	ready, err := http.Get("http://" + l.Addr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Body.Close()
	if ready.StatusCode != 503 {
		t.Errorf("it says that it is ready: %d", ready.StatusCode)
	}
}

// What has begun is answered, and then Run returns.
func TestShutdown(t *testing.T) {
	r := start(t, nil)
	finish := r.held("/v1/classify")
	r.occupied(1)
	r.end()
	for { // until the listener is closed
		c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			break
		}
		c.Close()
	}
	if code, body := finish(); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	err := <-r.ended
	r.ended <- err
	if err != nil {
		t.Error(err)
	}
}

// Many clients at the same time get what each would get alone.
func TestManyClients(t *testing.T) {
	r := start(t, func(c *serve.Config) { c.Threads, c.Batch = 2, 5 })
	alone := make([][]byte, 12)
	for i := range alone {
		_, alone[i] = r.post("/v1/features", "image/png", square(t, i))
	}
	var wg sync.WaitGroup
	for client := range 24 {
		wg.Go(func() {
			for i := range 5 {
				at := (client + i) % len(alone)
				response, err := http.Post(r.url+"/v1/features", "image/png", bytes.NewReader(square(t, at)))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != 200 || !bytes.Equal(got, alone[at]) {
					t.Errorf("client %d: %d, %v", client, response.StatusCode, err)
				}
			}
		})
	}
	wg.Wait()
}
