package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pupil/coordinator/wire"
	"pupil/internal/certificate"
	"pupil/internal/config"
)

// clusterFlags say where the coordinators are that know the broker.
type clusterFlags struct {
	addresses        []string
	token, tokenFile string
	files            certificate.Files
}

func (f *clusterFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.addresses, "coordinator", nil,
		"address of a coordinator, which knows the broker (without --nats-url), http(s)://host:port; several, separated by commas,\nare tried in turn")
	flags.StringVar(&f.token, "token", "", "the cluster's token, for --coordinator; better in PUPIL_TOKEN, since other users can see flags")
	flags.StringVar(&f.tokenFile, "token-file", defaultToken(), "file of the cluster's token, for --coordinator")
	flags.StringVar(&f.files.Certificate, "tls-cert", "", "certificate of this worker, which the broker asks for, PEM; read again when it changes, as are the other two")
	flags.StringVar(&f.files.Key, "tls-key", "", "its key, PEM")
	flags.StringVar(&f.files.Authority, "tls-ca", "", "certificate of the authority that has signed those of coordinators and broker, PEM (default: the system's)")
}

func defaultToken() string {
	folder, err := os.UserConfigDir()
	if err != nil {
		return filepath.Join(".pupil", "token")
	}
	return filepath.Join(folder, "pupil", "token")
}

// tls opens the files of certificates; nil without any.
func (f *clusterFlags) tls(logger *slog.Logger) (*certificate.Source, error) {
	s, err := certificate.Open(f.files, logger)
	if err != nil {
		return nil, config.Usagef("--tls-cert, --tls-key, --tls-ca: %w", err)
	}
	return s, nil
}

// patience is how long coordinators are asked that do not answer.
const patience = 30 * time.Second

// broker asks the coordinators for the broker until one answers.
func (f *clusterFlags) broker(ctx context.Context, files *certificate.Source, logger *slog.Logger, worker, session string) (*wire.Broker, error) {
	for _, a := range f.addresses {
		if u, err := url.Parse(a); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, config.Usagef("--coordinator: %q is no address of a coordinator; write it as http://host:port", a)
		}
	}
	token := f.token
	if token == "" {
		config.Await(ctx, f.tokenFile, logger)
		data, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return nil, config.Usagef("the cluster's token: %w; copy it from where a coordinator runs, or give it as PUPIL_TOKEN", err)
		}
		token = strings.TrimSpace(string(data))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	transport.Proxy = nil
	if files != nil {
		transport.DialTLSContext = files.DialTLS
	}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		var last error
		for _, a := range f.addresses {
			b, err := ask(ctx, client, a, token, url.Values{"worker": {worker}, "session": {session}})
			if err == nil {
				return b, nil
			}
			if errors.Is(err, errRefused) {
				return nil, err
			}
			last = fmt.Errorf("ask the coordinator at %s for the broker: %w", a, err)
		}
		select {
		case <-time.After(time.Second / 5):
		case <-ctx.Done():
			return nil, last
		}
	}
}

// errRefused says that a coordinator will not answer another time either.
var errRefused = errors.New("the coordinator refuses")

func ask(ctx context.Context, client *http.Client, address, token string, who url.Values) (*wire.Broker, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(address, "/")+"/v1/broker?"+who.Encode(), nil)
	if err != nil {
		return nil, config.Usagef("--coordinator: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	if err != nil {
		return nil, err
	}
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusServiceUnavailable:
		return nil, fmt.Errorf("%s: %s", answer.Status, data)
	default:
		return nil, fmt.Errorf("%w: %s: %s", errRefused, answer.Status, strings.TrimSpace(string(data)))
	}
	var b wire.Broker
	if err := json.Unmarshal(data, &b); err != nil || b.URL == "" {
		return nil, fmt.Errorf("%w: it answers %.200q", errRefused, data)
	}
	return &b, nil
}
