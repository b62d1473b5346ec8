package teststore

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	client "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// The keys of every store that this package starts. No real one has them.
const (
	AccessKey = "pupil-test-access"
	SecretKey = "pupil-test-secret-that-must-never-be-shown"
)

// Server is a running store.
type Server struct {
	Endpoint string // http://127.0.0.1:PORT

	client  *client.Client
	buckets atomic.Int64
}

// Versity starts versitygw over an empty folder. It ends with the test.
func Versity(t testing.TB) *Server {
	t.Helper()
	binary, err := versity.install()
	if err != nil {
		t.Fatal(err)
	}
	address := free(t)
	return start(t, address, "/", nil, binary, "--quiet", "--port", address, "--access", AccessKey, "--secret", SecretKey,
		"posix", t.TempDir())
}

// MinIO starts a MinIO server over an empty folder. It ends with the test. Its first use on a machine builds it, which takes
// some minutes.
func MinIO(t testing.TB) *Server {
	t.Helper()
	binary, err := minio.install()
	if err != nil {
		t.Fatal(err)
	}
	address := free(t)
	env := []string{"MINIO_ROOT_USER=" + AccessKey, "MINIO_ROOT_PASSWORD=" + SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off"}
	return start(t, address, "/minio/health/live", env, binary, "server", "--quiet", "--address", address, t.TempDir())
}

// free returns an address on loopback that nobody listens at.
func free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// lead starts a program in the background, and kills it when standard input ends: also when the test's process dies.
const lead = `"$@" </dev/null & p=$!; cat >/dev/null; kill -9 $p; wait $p 2>/dev/null`

func start(t testing.TB, address, health string, env []string, command ...string) *Server {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", lead, "sh"}, command...)...)
	cmd.Env = append(cmd.Environ(), env...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	life, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() {
		life.Close()
		_ = cmd.Wait() // it was killed
	}
	s := &Server{Endpoint: "http://" + address}
	if err := s.await(t.Context(), health); err != nil {
		end()
		t.Fatalf("%s: %v\n%s", command[0], err, output.String())
	}
	t.Cleanup(end)
	s.client, err = client.New(address, &client.Options{Creds: credentials.NewStaticV4(AccessKey, SecretKey, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// await returns when the server answers.
func (s *Server) await(ctx context.Context, health string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	const pause = 10 * time.Millisecond
	for tick := time.NewTicker(pause); ; {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+health, nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
			if response.StatusCode < http.StatusInternalServerError {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// Bucket makes an empty bucket and returns its name.
func (s *Server) Bucket(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("bucket-%d", s.buckets.Add(1))
	if err := s.client.MakeBucket(t.Context(), name, client.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return name
}

// URL makes an empty bucket and returns the s3:// URL of a prefix in it, with the store's endpoint.
func (s *Server) URL(t testing.TB, prefix string) string {
	t.Helper()
	u := url.URL{
		Scheme: "s3", Host: s.Bucket(t), Path: "/" + prefix, RawQuery: url.Values{"endpoint": {s.Endpoint}}.Encode(),
	}
	return u.String()
}

// Upload copies all files below a folder to an empty bucket, and returns their place there: the URL of the prefix to.
func (s *Server) Upload(t testing.TB, folder, to string) string {
	t.Helper()
	address := s.URL(t, to)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	files := os.DirFS(folder)
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		_, err = s.client.PutObject(t.Context(), u.Host, path.Join(to, name), bytes.NewReader(data), int64(len(data)), client.PutObjectOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// SetEnvironment gives this process, and so those that it starts, the keys of the stores, and a cache of
// their own. It ends with the test.
func SetEnvironment(t testing.TB) {
	t.Helper()
	for _, v := range Environment() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	t.Setenv("PUPIL_CACHE_DIR", t.TempDir())
}

// Environment are the variables that give a program the keys.
func Environment() []string {
	return []string{"PUPIL_S3_ACCESS_KEY=" + AccessKey, "PUPIL_S3_SECRET_KEY=" + SecretKey}
}
