package s3_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"pupil/internal/teststore"
	"pupil/storage"
	"pupil/storage/s3"
)

func TestMain(m *testing.M) {
	minio.DefaultRetryUnit, minio.DefaultRetryCap = time.Millisecond, 5*time.Millisecond
	os.Exit(m.Run())
}

// network stands between a client and a store and does to each request what the test says.
type network struct {
	*httptest.Server
	mu   sync.Mutex
	does func(r *http.Request) string // "", "503", "429", "early" (503 at once), "cut" (the answer's body), "lost" (the answer), "dropped" (the request)
	log  []string
}

func between(t *testing.T, server *teststore.Server, tls bool) *network {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{does: func(*http.Request) string { return "" }}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
		r.Out.Host = r.In.Host // it is signed
	}, ErrorLog: discard}
	n.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		what := n.does(r)
		n.log = append(n.log, r.Method+" "+what)
		n.mu.Unlock()
		switch what {
		case "503", "429":
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(map[string]int{"503": http.StatusServiceUnavailable, "429": http.StatusTooManyRequests}[what])
		case "early": // before the body has come
			w.WriteHeader(http.StatusServiceUnavailable)
		case "dropped":
			panic(http.ErrAbortHandler)
		case "lost":
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		case "cut":
			answer := httptest.NewRecorder()
			proxy.ServeHTTP(answer, r)
			for k, v := range answer.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(answer.Code)
			_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	n.Config.ErrorLog = discard
	if tls {
		n.StartTLS()
	} else {
		n.Start()
	}
	t.Cleanup(n.Close)
	return n
}

func (n *network) set(does func(r *http.Request) string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.does, n.log = does, nil
}

// bucket opens an empty bucket of the store through the network.
func (n *network) bucket(t *testing.T, server *teststore.Server, change func(*s3.Config)) *s3.Bucket {
	t.Helper()
	c := config(t, "s3://"+server.Bucket(t)+"/some/prefix?region=us-east-1&path_style=true&endpoint="+n.URL)
	if change != nil {
		change(&c)
	}
	b, err := s3.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// first gives what, for the first so many requests of a method.
func first(times int, method, what string) func(*http.Request) string {
	return func(r *http.Request) string {
		if r.Method != method || times == 0 {
			return ""
		}
		times--
		return what
	}
}

// pattern is data in which no two places look alike.
func pattern(n int) []byte {
	var out []byte
	for i := uint64(0); len(out) < n; i++ {
		sum := sha256.Sum256(fmt.Append(nil, i))
		out = append(out, bytes.Repeat(sum[:], 128)...)
	}
	return out[:n]
}

func TestRequestsAreRepeated(t *testing.T) {
	server := teststore.Versity(t)
	n := between(t, server, false)
	b := n.bucket(t, server, nil)
	data := pattern(300_000)
	for _, what := range []string{"503", "429", "early", "dropped", "lost"} {
		n.set(first(3, http.MethodPut, what))
		if err := storage.WriteAll(t.Context(), b, "k", data); err != nil {
			t.Errorf("Put, %s: %v", what, err)
		}
		n.set(first(3, http.MethodPut, what))
		if err := storage.Create(t.Context(), b, "new/"+what, data); err != nil {
			t.Errorf("Create, %s: %v", what, err)
		}
		n.set(first(3, http.MethodGet, what))
		if got, err := storage.ReadAll(t.Context(), b, "k", 1<<20); err != nil || !bytes.Equal(got, data) {
			t.Errorf("Get, %s: %d bytes, %v", what, len(got), err)
		}
		n.set(first(3, http.MethodGet, what))
		if got, err := b.List(t.Context(), "new/"+what); err != nil || len(got) != 1 {
			t.Errorf("List, %s: %v, %v", what, got, err)
		}
		n.set(first(3, http.MethodDelete, what))
		if err := b.Delete(t.Context(), "new/"+what); err != nil {
			t.Errorf("Delete, %s: %v", what, err)
		}
	}
}

// TestReaderResumes cuts every answer in the middle: the reader goes on where it was.
func TestReaderResumes(t *testing.T) {
	server := teststore.Versity(t)
	n := between(t, server, false)
	b := n.bucket(t, server, nil)
	data := pattern(1_000_000)
	if err := storage.WriteAll(t.Context(), b, "k", data); err != nil {
		t.Fatal(err)
	}
	n.set(first(12, http.MethodGet, "cut"))
	got, err := storage.ReadAll(t.Context(), b, "k", 1<<20)
	if err != nil || !bytes.Equal(got, data) || len(n.log) < 12 {
		t.Errorf("read %d bytes in %d requests, %v", len(got), len(n.log), err)
	}
	n.set(first(3, http.MethodGet, "cut"))
	r, err := b.Get(t.Context(), "k", 1000, 500_000)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data[1000:501_000]) {
		t.Errorf("range: %d bytes, %v", len(got), err)
	}

	n.set(first(1, http.MethodGet, "cut"))
	if r, err = b.Get(t.Context(), "k", 0, -1); err != nil {
		t.Fatal(err)
	}
	if err := storage.WriteAll(t.Context(), b, "k", pattern(900_000)[1:]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err == nil || !strings.Contains(err.Error(), "replaced while it was read") {
		t.Errorf("a reader of an object that was replaced, over a connection that broke: %v", err)
	}
}

func TestLargeObjects(t *testing.T) {
	server := teststore.Versity(t)
	n := between(t, server, false)
	b := n.bucket(t, server, func(c *s3.Config) { c.PartSize = 5 << 20 })
	data := pattern(17 << 20)
	for _, size := range []int{5 << 20, 5<<20 + 1, 10 << 20, len(data)} {
		for _, announced := range []int64{int64(size), -1} {
			n.set(first(2, http.MethodPut, "503"))
			if err := b.Put(t.Context(), "large", bytes.NewReader(data[:size]), announced); err != nil {
				t.Fatalf("Put of %d bytes: %v", size, err)
			}
			if parts := strings.Count(strings.Join(n.log, "\n"), "PUT"); parts < size/(5<<20) {
				t.Errorf("%d bytes were put with %d requests", size, parts)
			}
			got, err := storage.ReadAll(t.Context(), b, "large", 1<<30)
			if err != nil || !bytes.Equal(got, data[:size]) {
				t.Errorf("Put of %d bytes gives back %d, %v", size, len(got), err)
			}
		}
	}
	// What fails is taken back, and the object before it stays.
	broken := errors.New("the source is gone")
	for name, body := range map[string]struct {
		r    io.Reader
		size int64
	}{
		"failing body": {io.MultiReader(bytes.NewReader(data[:12<<20]), &failing{broken}), -1},
		"short body":   {bytes.NewReader(data[:12<<20]), 13 << 20},
		"long body":    {bytes.NewReader(data), 12 << 20},
	} {
		n.set(func(*http.Request) string { return "" })
		if err := b.Put(t.Context(), "large", body.r, body.size); err == nil {
			t.Errorf("%s: no error", name)
		} else if name == "failing body" && !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		if log := strings.Join(n.log, "\n"); !strings.Contains(log, "POST") || !strings.Contains(log, "DELETE") {
			t.Errorf("%s: no upload was begun and taken back: %q", name, n.log)
		}
		if got, err := storage.ReadAll(t.Context(), b, "large", 1<<30); err != nil || len(got) != len(data) {
			t.Errorf("%s: the object has %d bytes now, %v", name, len(got), err)
		}
	}
	n.set(func(r *http.Request) string {
		if r.Method == http.MethodPut && strings.Contains(r.URL.RawQuery, "partNumber=2") {
			return "dropped"
		}
		return ""
	})
	c := config(t, "s3://"+server.Bucket(t)+"?endpoint="+n.URL)
	c.PartSize, c.Retries = 5<<20, 3
	few, err := s3.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := few.Put(t.Context(), "x", bytes.NewReader(data), -1); err == nil || !strings.Contains(err.Error(), "part 2") {
		t.Errorf("a part that cannot be sent: %v", err)
	}
	if objects, err := few.List(t.Context(), ""); err != nil || len(objects) != 0 {
		t.Errorf("it left %v, %v", objects, err)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// TestStalledConnection has a store that accepts a request and never answers.
func TestStalledConnection(t *testing.T) {
	server := teststore.Versity(t)
	n := between(t, server, false)
	b := n.bucket(t, server, func(c *s3.Config) { c.Stall, c.Retries = 50*time.Millisecond, 3 })
	if err := storage.WriteAll(t.Context(), b, "k", []byte("x")); err != nil {
		t.Fatal(err)
	}
	stalled := 0
	n.set(func(r *http.Request) string {
		if stalled++; stalled <= 2 {
			<-r.Context().Done() // the client gives up
			return "dropped"
		}
		return ""
	})
	if got, err := storage.ReadAll(t.Context(), b, "k", 10); err != nil || string(got) != "x" || stalled < 3 {
		t.Errorf("Get = %q, %v after %d requests", got, err, stalled)
	}
}

func TestTLSWithOwnCA(t *testing.T) {
	server := teststore.Versity(t)
	n := between(t, server, true)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.Certificate().Raw})
	if err := os.WriteFile(ca, data, 0o644); err != nil {
		t.Fatal(err)
	}
	b := n.bucket(t, server, func(c *s3.Config) { c.CA = ca; c.PartSize = 5 << 20 })
	for _, size := range []int{10, 6 << 20} {
		if err := storage.WriteAll(t.Context(), b, "k", pattern(size)); err != nil {
			t.Fatal(err)
		}
		if got, err := storage.ReadAll(t.Context(), b, "k", 1<<30); err != nil || !bytes.Equal(got, pattern(size)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	c := config(t, "s3://"+server.Bucket(t)+"?endpoint="+n.URL)
	if _, err := s3.Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the CA: %v", err)
	}
	if err := os.WriteFile(ca, []byte("nothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.CA = ca
	if _, err := s3.Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "PEM") {
		t.Errorf("with a CA file that is none: %v", err)
	}
}

func TestOpenTellsWhatIsWrong(t *testing.T) {
	server := teststore.Versity(t)
	bucket := server.Bucket(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, c := range map[string]struct {
		change func(*s3.Config)
		want   string
	}{
		"no bucket":    {func(c *s3.Config) { c.Bucket = "other-bucket" }, "no bucket \"other-bucket\""},
		"no server":    {func(c *s3.Config) { c.Endpoint = "http://" + closed.Addr().String() }, "connection refused"},
		"wrong secret": {func(c *s3.Config) { c.SecretKey = "wrong-but-secret" }, "secret key"},
		"wrong key":    {func(c *s3.Config) { c.AccessKey = "nobody" }, "access key"},
		"no keys":      {func(c *s3.Config) { c.AccessKey, c.SecretKey, c.Credentials = "", "", s3.Environment }, "PUPIL_S3_ACCESS_KEY"},
	} {
		g := config(t, "s3://"+bucket+"?endpoint="+server.Endpoint)
		c.change(&g)
		_, err := s3.Open(t.Context(), g)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want an error with %q", name, err, c.want)
		}
		for _, secret := range []string{teststore.SecretKey, "wrong-but-secret"} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error shows the secret: %v", name, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s3.Open(ctx, config(t, "s3://"+bucket+"?endpoint="+server.Endpoint)); !errors.Is(err, context.Canceled) {
		t.Errorf("with a canceled context: %v", err)
	}
}
