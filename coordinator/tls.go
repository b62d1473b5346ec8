package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"pupil/internal/certificate"
	"pupil/internal/config"
)

// tlsFlags name the files of certificates.
type tlsFlags struct{ files certificate.Files }

func (t *tlsFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.files.Certificate, "tls-cert", "", "certificate of this host or client, PEM; it is read again when it changes, as are the other two")
	f.StringVar(&t.files.Key, "tls-key", "", "its key, PEM")
	f.StringVar(&t.files.Authority, "tls-ca", "", "certificate of the authority that has signed the certificates of all, PEM; several during a change")
}

// load opens the files; nil without any. What listens needs a certificate of its own.
func (t *tlsFlags) load(logger *slog.Logger, listens bool) (*certificate.Source, error) {
	if t.files == (certificate.Files{}) {
		return nil, nil
	}
	if t.files.Authority == "" || listens && (t.files.Certificate == "" || t.files.Key == "") {
		return nil, config.Usagef("TLS needs three files: a certificate (--tls-cert), its key (--tls-key) and the authority's certificate " +
			"(--tls-ca); coordinator certs init makes them")
	}
	s, err := certificate.Open(t.files, logger)
	if err != nil {
		return nil, config.Usagef("--tls-cert, --tls-key, --tls-ca: %w", err)
	}
	return s, nil
}

// expiring are the files with certificates, by the flag that names them.
func (t *tlsFlags) expiring() map[string]string {
	all := map[string]string{}
	for name, file := range map[string]string{"tls-cert": t.files.Certificate, "tls-ca": t.files.Authority} {
		if file != "" {
			all[name] = file
		}
	}
	return all
}

// openBrokerFlag is the name of a flag.
const openBrokerFlag = "nats-clients-without-certificates"

func addOpenBroker(cmd *cobra.Command, open *bool) {
	cmd.Flags().BoolVar(open, openBrokerFlag, false,
		"with TLS: let workers and coordinators connect to this broker by their password alone, without a certificate of their own")
}
