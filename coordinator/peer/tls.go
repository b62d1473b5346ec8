package peer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// LoadTLS reads a coordinator's certificate and key and the authority that has signed those of all coordinators, all in
// PEM. Both sides of a connection show their certificate. Without any file it returns nil.
func LoadTLS(certificate, key, authority string) (*tls.Config, error) {
	if certificate == "" && key == "" && authority == "" {
		return nil, nil
	}
	if certificate == "" || key == "" || authority == "" {
		return nil, errors.New("TLS needs three files: a certificate, its key and the authority's certificate")
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", certificate, key, err)
	}
	pool, err := LoadAuthority(authority)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// LoadAuthority reads the certificates of authorities from a PEM file.
func LoadAuthority(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return pool, nil
}
