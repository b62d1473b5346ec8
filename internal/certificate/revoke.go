package certificate

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// listBlock is a list of revoked certificates in PEM, RFC 5280, section 5.
const listBlock = "X509 CRL"

// ErrRevoked says that a certificate is not taken any more, although it has not expired.
var ErrRevoked = errors.New("the certificate is revoked")

// revoked are certificates that nobody takes any more, by issuer and serial.
type revoked map[string]bool

func revokedKey(issuer []byte, serial *big.Int) string {
	return string(issuer) + "\x00" + serial.Text(16)
}

// Lists reads all lists of revoked certificates of a PEM file, each of which one of the authorities must have signed.
func Lists(data []byte, authorities []*x509.Certificate) (all []*x509.RevocationList, err error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return all, nil
		}
		if block.Type != listBlock {
			continue
		}
		l, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("list of revoked certificates %d: %w", len(all)+1, err)
		}
		signed := false
		for _, a := range authorities {
			signed = signed || l.CheckSignatureFrom(a) == nil
		}
		if !signed {
			return nil, fmt.Errorf("list of revoked certificates %d: none of the authorities in the file has signed it", len(all)+1)
		}
		all = append(all, l)
	}
}

// readRevoked gathers what the lists of a PEM file say. A list holds for as long as it is there.
func readRevoked(data []byte, authorities []*x509.Certificate) (revoked, error) {
	lists, err := Lists(data, authorities)
	if err != nil {
		return nil, err
	}
	all := revoked{}
	for _, l := range lists {
		for _, e := range l.RevokedCertificateEntries {
			all[revokedKey(l.RawIssuer, e.SerialNumber)] = true
		}
	}
	return all, nil
}

// verify has the form that tls.Config asks for. It looks at all certificates that the other side has shown.
func (r revoked) verify(state tls.ConnectionState) error {
	for _, c := range state.PeerCertificates {
		if r[revokedKey(c.RawIssuer, c.SerialNumber)] {
			return fmt.Errorf("%w: %s, serial %x", ErrRevoked, c.Subject.CommonName, c.SerialNumber)
		}
	}
	return nil
}

// Issued says whether a certificate is of this authority, which cannot revoke those of others.
func (a *Authority) Issued(c *x509.Certificate) bool {
	return c.CheckSignatureFrom(a.certificate) == nil
}

// Revoke returns the authority's bundle with more certificates revoked, by their serials. What else is in the bundle stays:
// certificates of authorities, lists of others, and what was revoked before.
func (a *Authority) Revoke(bundle []byte, serials []*big.Int, now time.Time) ([]byte, error) {
	authorities, err := Parse(bundle)
	if err != nil {
		return nil, err
	}
	lists, err := Lists(bundle, authorities)
	if err != nil {
		return nil, err
	}
	next := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now.Add(-margin), NextUpdate: a.certificate.NotAfter,
	}
	var out []byte
	for _, c := range authorities {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	for _, l := range lists {
		if l.CheckSignatureFrom(a.certificate) != nil {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: listBlock, Bytes: l.Raw})...)
			continue
		}
		next.RevokedCertificateEntries = append(next.RevokedCertificateEntries, l.RevokedCertificateEntries...)
		if l.Number != nil && l.Number.Cmp(next.Number) >= 0 {
			next.Number.Add(l.Number, big.NewInt(1))
		}
	}
	for _, serial := range serials {
		if serial.Cmp(a.certificate.SerialNumber) == 0 {
			return nil, errors.New("this is the authority's own certificate; change the authority in its place")
		}
		known := false
		for _, e := range next.RevokedCertificateEntries {
			known = known || e.SerialNumber.Cmp(serial) == 0
		}
		if !known {
			next.RevokedCertificateEntries = append(next.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: now})
		}
	}
	der, err := x509.CreateRevocationList(rand.Reader, next, a.certificate, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the list of revoked certificates: %w", err)
	}
	return append(out, pem.EncodeToMemory(&pem.Block{Type: listBlock, Bytes: der})...), nil
}
