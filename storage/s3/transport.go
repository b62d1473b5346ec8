package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// transport returns the way to the store: HTTP/1.1 with a connection for each request under way.
func (c Config) transport() (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool() // a system without certificates of its own
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificates: %s holds none in PEM format", c.CA)
		}
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &lively{conn, c.Stall}, nil
		},
		TLSClientConfig: config, TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 64, IdleConnTimeout: c.Stall / 2,
		ResponseHeaderTimeout: c.Stall, ExpectContinueTimeout: time.Second,
		DisableCompression: true, // objects are stored as they are
	}, nil
}

// lively is a connection on which a Read or Write that makes no progress for stall fails.
type lively struct {
	net.Conn
	stall time.Duration
}

func (l *lively) Read(p []byte) (int, error) {
	if err := l.SetReadDeadline(time.Now().Add(l.stall)); err != nil {
		return 0, err
	}
	return l.Conn.Read(p)
}

func (l *lively) Write(p []byte) (int, error) {
	if err := l.SetWriteDeadline(time.Now().Add(l.stall)); err != nil {
		return 0, err
	}
	return l.Conn.Write(p)
}
