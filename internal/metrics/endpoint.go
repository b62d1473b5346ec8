package metrics

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Endpoint is a port for /metrics, and for the probes /healthz (the process lives) and /readyz (it can work), which tell
// nothing that is secret and ask for no token.
type Endpoint struct {
	Listen    string       // host:port
	TokenFile string       // with the bearer token that /metrics asks for, read anew at each request; "": none
	TLS       *tls.Config  // with the certificate to show; nil: plain HTTP
	Insecure  bool         // let anybody read /metrics who reaches a port beyond this machine
	Ready     func() error // nil, or why not
	Logger    *slog.Logger // nil: no logs
}

// minToken is the shortest token that is taken.
const minToken = 16

// Validate says what is wrong.
func (e Endpoint) Validate() error {
	host, _, err := net.SplitHostPort(e.Listen)
	if err != nil {
		return fmt.Errorf("metrics are to be served on %q; write it as host:port", e.Listen)
	}
	if e.TokenFile != "" {
		_, err := e.token()
		return err
	}
	ip := net.ParseIP(host)
	if host != "localhost" && (ip == nil || !ip.IsLoopback()) && !e.Insecure {
		return fmt.Errorf("metrics would be served on %s to everybody who reaches it; give --metrics-token-file with a token of "+
			"their own, or say --metrics-insecure on a network that you trust", e.Listen)
	}
	return nil
}

func (e Endpoint) token() (string, error) {
	data, err := os.ReadFile(e.TokenFile)
	if err != nil {
		return "", fmt.Errorf("the token for metrics: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if len(token) < minToken {
		return "", fmt.Errorf("the token for metrics in %s has %d characters; openssl rand -hex 32 makes a good one", e.TokenFile, len(token))
	}
	return token, nil
}

// Start serves until close is called.
func (e Endpoint) Start(r *prometheus.Registry) (address string, closeAll func(), err error) {
	if err := e.Validate(); err != nil {
		return "", nil, err
	}
	if e.Logger == nil {
		e.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := net.Listen("tcp", e.Listen)
	if err != nil {
		return "", nil, fmt.Errorf("listen for metrics: %w", err)
	}
	scheme := "http"
	serving := l
	if e.TLS != nil {
		scheme, serving = "https", tls.NewListener(l, e.TLS)
	}
	h := &http.Server{
		Handler: e.handler(r), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 1 << 16, ErrorLog: slog.NewLogLogger(e.Logger.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.Serve(serving); !errors.Is(err, http.ErrServerClosed) {
			e.Logger.Error("metrics", "err", err)
		}
	}()
	address = scheme + "://" + l.Addr().String()
	e.Logger.Info("metrics", "url", address+"/metrics")
	return address, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if h.Shutdown(ctx) != nil {
			_ = h.Close() // what is left
		}
		<-done
	}, nil
}

func (e Endpoint) handler(r *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", e.authorized(Handler(r)))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if e.Ready != nil {
			if err := e.Ready(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	return mux
}

func (e Endpoint) authorized(next http.Handler) http.Handler {
	if e.TokenFile == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := e.token()
		if err != nil {
			e.Logger.Error("metrics", "err", err)
			http.Error(w, "the token cannot be read", http.StatusServiceUnavailable)
			return
		}
		got, want := sha256.Sum256([]byte(r.Header.Get("Authorization"))), sha256.Sum256([]byte("Bearer "+token))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a token is needed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
