// Package certificate makes a cluster's certificates, and uses them from files that may be exchanged while it runs.
//
//	a, err := certificate.NewAuthority("cluster", time.Now(), certificate.AuthorityLife)
//	pair, err := a.Issue(certificate.Request{Hosts: []string{"10.0.0.1"}}, time.Now())
//
//	s, err := certificate.Open(certificate.Files{Certificate: "a.pem", Key: "a.key", Authority: "ca.pem"}, logger)
//	server := s.Server(tls.RequireAndVerifyClientCert)   // for as long as the process lives
//	client := s.Client()                                 // for the next connection; ask anew for each
//
// A Source looks at its files at each handshake, and reads them again when they have changed. What cannot be used, such as
// a key that has not followed its certificate yet, is told once in the log, and the pair before stays in use. So a renewed
// certificate, and a bundle of an old and a new authority, take effect without a restart.
package certificate
