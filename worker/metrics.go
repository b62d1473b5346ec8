package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"pupil/internal/metrics"
)

// metricsFlags say where a worker's metrics can be read.
type metricsFlags struct {
	endpoint         metrics.Endpoint
	certificate, key string
}

func (f *metricsFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.endpoint.Listen, "metrics-listen", "", "HOST:PORT to serve /metrics, /healthz and /readyz on, such as 127.0.0.1:9090 (default: none)")
	flags.StringVar(&f.endpoint.TokenFile, "metrics-token-file", "",
		"file with the bearer token that /metrics asks for; needed beyond this machine")
	flags.StringVar(&f.certificate, "metrics-tls-cert", "", "certificate for --metrics-listen, PEM; then it speaks HTTPS")
	flags.StringVar(&f.key, "metrics-tls-key", "", "its key, PEM")
	flags.BoolVar(&f.endpoint.Insecure, "metrics-insecure", false,
		"let anybody read /metrics without a token, on a network that you trust")
}

// start serves until close is called; without --metrics-listen it does nothing.
func (f *metricsFlags) start(m *metrics.Worker, logger *slog.Logger) (closeAll func(), err error) {
	e := f.endpoint
	if e.Listen == "" {
		return func() {}, nil
	}
	e.Ready, e.Logger = m.Ready, logger
	if f.certificate != "" || f.key != "" {
		if _, err := tls.LoadX509KeyPair(f.certificate, f.key); err != nil {
			return nil, fmt.Errorf("--metrics-tls-cert and --metrics-tls-key: %w", err)
		}
		m.Registry.MustRegister(metrics.Certificates(map[string]string{"metrics-tls-cert": f.certificate}))
		e.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(f.certificate, f.key) // anew, since certificates are renewed
			return &pair, err
		}}
	}
	_, closeAll, err = e.Start(m.Registry)
	return closeAll, err
}
