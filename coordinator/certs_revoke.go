package main

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pupil/internal/certificate"
	"pupil/internal/config"
)

func certsRevokeCommand() *cobra.Command {
	f := certsFlags{replace: true}
	cmd := &cobra.Command{
		Use:   "revoke NAME|FILE|SERIAL...",
		Short: "Let nobody take certificates any more, although they have not expired",
		Long: "Revoke puts certificates on a list of the authority's, by the name of their files in --folder, by a file, or by the serial\n" +
			"that certs show tells. The list is a part of ca.pem: copy that to all hosts and workers, which read it again without a\n" +
			"restart, at the latest after a minute. From then on none of them makes a connection with who shows such a certificate.",
		Example: "  coordinator certs revoke worker\n" +
			"  coordinator certs revoke 5f0c9a1be2d34f6789aa00bb11cc22dd",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return config.Usagef("say which: the name of a certificate in %s, a file, or a serial", f.folder)
			}
			a, p, err := loadAuthority(f.folder)
			if err != nil {
				return err
			}
			var serials []*big.Int
			for _, arg := range args {
				serial, err := serialOf(a, f.folder, arg)
				if err != nil {
					return config.Usage(err)
				}
				serials = append(serials, serial)
			}
			bundle, err := a.Revoke(p.Certificate, serials, time.Now())
			if err != nil {
				return config.Usage(err)
			}
			if err := f.write("ca", certificate.Pair{Certificate: bundle}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d revoked; copy %s to all hosts and workers\n", len(serials), filepath.Join(f.folder, authorityFile))
			return err
		},
	}
	cmd.Flags().StringVar(&f.folder, "folder", "certs", "folder of the files")
	return cmd
}

// serialOf is the serial that an argument means: that of a file's certificate, or itself.
func serialOf(a *certificate.Authority, folder, arg string) (*big.Int, error) {
	for _, file := range []string{filepath.Join(folder, arg+".pem"), arg} {
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		all, err := certificate.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		own := all[0] // what follows are those between it and the authority
		if !a.Issued(own) {
			return nil, fmt.Errorf("%s: %s was issued by another authority than that of %s, which cannot revoke it", file, own.Subject.CommonName, folder)
		}
		return own.SerialNumber, nil
	}
	const (
		shortest = 16 // hex digits, for "dead" is rather a name that is written wrong; those of our authorities have 32
		longest  = 20 // bytes, RFC 5280
	)
	digits := strings.ReplaceAll(arg, ":", "")
	serial, ok := new(big.Int).SetString(digits, 16)
	if !ok || len(digits) < shortest || serial.Sign() <= 0 || serial.BitLen() > 8*longest {
		return nil, fmt.Errorf("%q is neither a certificate in %s, nor a file, nor a whole serial in hex; coordinator certs show lists them", arg, folder)
	}
	return serial, nil
}

// revokedIn are the lists of a folder's authority; none when there is no authority.
func revokedIn(folder string) ([]*x509.RevocationList, error) {
	data, err := os.ReadFile(filepath.Join(folder, authorityFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	authorities, err := certificate.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(folder, authorityFile), err)
	}
	lists, err := certificate.Lists(data, authorities)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(folder, authorityFile), err)
	}
	return lists, nil
}

// lists says whether a list has a certificate.
func lists(l *x509.RevocationList, c *x509.Certificate) bool {
	if !bytes.Equal(l.RawIssuer, c.RawIssuer) {
		return false
	}
	for _, e := range l.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(c.SerialNumber) == 0 {
			return true
		}
	}
	return false
}
