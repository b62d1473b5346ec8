package chaos

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"pupil/internal/teststore"
	"pupil/storage"
	"pupil/storage/location"
)

// onStore opens a store's proxy, and the place of a run behind another front of it where there is one.
func onStore(t *testing.T) *store {
	t.Helper()
	teststore.SetEnvironment(t)
	s, err := openStore(teststore.Versity(t).URL(t, "chaos"), "struck", "127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func open(t *testing.T, address string) storage.Bucket {
	t.Helper()
	b, err := location.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkObject writes an object and reads it back, with arm before each.
func checkObject(t *testing.T, b storage.Bucket, key string, arm func()) {
	t.Helper()
	data := bytes.Repeat([]byte(key), 300_000)
	arm()
	if err := storage.WriteAll(t.Context(), b, key, data); err != nil {
		t.Fatal(err)
	}
	arm()
	if got, err := storage.ReadAll(t.Context(), b, key, 1<<30); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%s: %d bytes come back of %d, %v", key, len(got), len(data), err)
	}
}

// TestStoreFailures: the client mends each way of failing once, and what it has written is whole.
func TestStoreFailures(t *testing.T) {
	s := onStore(t)
	for how := range failures {
		var armed, struck atomic.Bool
		over := make(chan struct{})
		close(over)
		front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if armed.CompareAndSwap(true, false) {
				struck.Store(true)
				s.fail(w, r, how, over)
				return
			}
			s.ServeHTTP(w, r)
		}))
		front.Config.ErrorLog = s.server.ErrorLog
		front.Start()
		place, err := url.Parse(s.url("run"))
		if err != nil {
			t.Fatal(err)
		}
		place.RawQuery = url.Values{"endpoint": {front.URL}}.Encode()
		b := open(t, place.String())
		checkObject(t, b, strings.Repeat("k", 1+int(how)), func() { armed.Store(true) })
		if !struck.Load() || armed.Load() {
			t.Errorf("failure %d has not struck", how)
		}
		front.Close()
	}
}

// TestStore strikes a run's place as a schedule does, and damages a checkpoint there.
func TestStore(t *testing.T) {
	s := onStore(t)
	b, direct := open(t, s.url("run")), open(t, s.behind("run"))
	checkObject(t, b, "before", func() {})
	if err := s.strike(t.Context(), Full); err != nil {
		t.Fatal(err)
	}
	if err := s.strike(t.Context(), Fail); err == nil {
		t.Error("two faults at once")
	}
	if err := storage.WriteAll(t.Context(), b, "while", []byte("x")); err == nil || !strings.Contains(err.Error(), "XMinioStorageFull") {
		t.Errorf("a write to a full store: %v", err)
	}
	if data, err := storage.ReadAll(t.Context(), b, "before", 1<<30); err != nil || len(data) == 0 {
		t.Errorf("a full store gives %d bytes, %v", len(data), err)
	}
	if err := s.mend(Full); err != nil {
		t.Fatal(err)
	}
	if err := s.strike(t.Context(), Slow); err != nil {
		t.Fatal(err)
	}
	checkObject(t, b, "slow", func() {})
	if err := s.mend(Slow); err != nil {
		t.Fatal(err)
	}
	if err := s.strike(t.Context(), Fail); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		written <- storage.WriteAll(t.Context(), b, "checkpoints/00000020/a.safetensors", []byte("weights"))
	}()
	if err := storage.WriteAll(t.Context(), direct, "checkpoints/00000020/manifest.json", nil); err != nil {
		t.Errorf("behind the proxy: %v", err)
	}
	if err := s.mend(Fail); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Errorf("a write that began while the store failed: %v", err)
	}
	part, err := corrupt(t.Context(), s.behind("run"))
	if err != nil || part != "checkpoints/00000020/a.safetensors" {
		t.Fatalf("corrupt: %q, %v", part, err)
	}
	if data, err := storage.ReadAll(t.Context(), b, part, 100); err != nil || string(data) != "wei\x98hts" {
		t.Errorf("the part is %q now, %v", data, err)
	}
}

func TestParseStore(t *testing.T) {
	for _, name := range []string{"PUPIL_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"} {
		t.Setenv(name, "")
	}
	for address, want := range map[string]string{
		"s3://b/p?endpoint=http://127.0.0.1:9000": "",
		"s3://b/p":                            "endpoint",
		"s3://b/p?endpoint=http://h&secret=x": "unknown parameter",
		"/tmp/runs":                           "is no URL s3://",
		"file:///tmp/runs":                    "is no URL s3://",
		"s3://b/\x7f":                         "is no URL s3://",
	} {
		err := ParseStore(address)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}
