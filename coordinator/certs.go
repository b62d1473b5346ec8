package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"pupil/internal/certificate"
	"pupil/internal/config"
)

// The authority's files in a folder.
const (
	authorityFile = "ca.pem"
	authorityKey  = "ca.key"
)

func certsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "certs",
		Short: "Make and look at the certificates of a cluster",
		Long: "Certs makes an authority of the cluster's own, and certificates for its hosts, workers and users. All processes read\n" +
			"their files again when these change, so that a certificate is renewed by replacing its files.\n\n" +
			"Keep ca.key off the hosts: who has it can make certificates. The others need ca.pem, and each its own pair.",
		Example: "  coordinator certs init --host a.example,10.0.0.1 --host b.example,10.0.0.2 --client worker\n" +
			"  coordinator certs issue --host c.example,10.0.0.3\n" +
			"  coordinator certs issue --host a.example,10.0.0.1 --replace       # before it expires\n" +
			"  coordinator certs revoke worker                                   # then copy ca.pem to all\n" +
			"  coordinator certs show",
	}
	cmd.AddCommand(certsInitCommand(), certsIssueCommand(), certsRevokeCommand(), certsShowCommand())
	return cmd
}

// certsFlags say which certificates to make.
type certsFlags struct {
	folder         string
	hosts, clients []string
	days           int
	replace        bool
}

func (f *certsFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.folder, "folder", "certs", "folder of the files")
	flags.StringArrayVar(&f.hosts, "host", nil, "a host: the names and IP addresses by which others reach it, separated by commas; its files have the\nfirst one's name (again for each host)")
	flags.StringArrayVar(&f.clients, "client", nil, "a worker or a user, who only connects to others: a name (again for each)")
	flags.IntVar(&f.days, "days", int(certificate.HostLife/(24*time.Hour)), "days for which the certificates of hosts and clients hold")
}

func certsInitCommand() *cobra.Command {
	var f certsFlags
	var name string
	var years int
	cmd := &cobra.Command{
		Use: "init", Short: "Make an authority, and certificates for hosts", Args: config.Args(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if years < 1 || years > 50 {
				return config.Usagef("--years is %d; it must be 1 to 50", years)
			}
			a, err := certificate.NewAuthority(name, time.Now(), time.Duration(years)*365*24*time.Hour)
			if err != nil {
				return err
			}
			requests, err := f.requests()
			if err != nil {
				return err
			}
			p, err := a.Pair()
			if err != nil {
				return err
			}
			if err := f.free(append([]string{"ca"}, names(requests)...)); err != nil {
				return err
			}
			return f.issue(cmd, a, &p, requests)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&name, "name", "Pupil cluster", "name of the authority")
	cmd.Flags().IntVar(&years, "years", 10, "years for which the authority holds")
	return cmd
}

func certsIssueCommand() *cobra.Command {
	var f certsFlags
	cmd := &cobra.Command{
		Use: "issue", Short: "Make certificates for more hosts, or new ones in place of old", Args: config.Args(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			requests, err := f.requests()
			if err != nil {
				return err
			}
			if len(requests) == 0 {
				return config.Usagef("say for whom: --host NAME, or --client NAME")
			}
			a, _, err := loadAuthority(f.folder)
			if err != nil {
				return err
			}
			if !f.replace {
				if err := f.free(names(requests)); err != nil {
					return err
				}
			}
			return f.issue(cmd, a, nil, requests)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.replace, "replace", false, "replace files that are there already")
	return cmd
}

// loadAuthority reads the authority of a folder, with the whole of its file.
func loadAuthority(folder string) (*certificate.Authority, certificate.Pair, error) {
	var p certificate.Pair
	var err error
	if p.Certificate, err = os.ReadFile(filepath.Join(folder, authorityFile)); err == nil {
		p.Key, err = os.ReadFile(filepath.Join(folder, authorityKey))
	}
	if err != nil {
		return nil, p, config.Usagef("the authority: %w; coordinator certs init makes one, --folder says where it is", err)
	}
	a, err := certificate.LoadAuthority(p)
	if err != nil {
		return nil, p, config.Usagef("%s: %w", folder, err)
	}
	return a, p, nil
}

// requests are what --host and --client ask for.
func (f *certsFlags) requests() ([]certificate.Request, error) {
	if f.days < 1 || f.days > 3650 {
		return nil, config.Usagef("--days is %d; it must be 1 to 3650", f.days)
	}
	life := time.Duration(f.days) * 24 * time.Hour
	var all []certificate.Request
	seen := map[string]bool{"ca": true}
	add := func(r certificate.Request) error {
		if r.Name == "" || strings.ContainsAny(r.Name, `/\`) || strings.HasPrefix(r.Name, ".") {
			return config.Usagef("%q cannot be the name of a file; write --host NAME[,NAME...] or --client NAME", r.Name)
		}
		if seen[r.Name] {
			return config.Usagef("%q is the name of two certificates, or of the authority's", r.Name)
		}
		seen[r.Name] = true
		all = append(all, r)
		return nil
	}
	for _, h := range f.hosts {
		var hosts []string
		for _, name := range strings.Split(h, ",") {
			hosts = append(hosts, strings.TrimSpace(name))
		}
		if err := add(certificate.Request{Name: hosts[0], Hosts: hosts, Life: life}); err != nil {
			return nil, err
		}
	}
	for _, c := range f.clients {
		if err := add(certificate.Request{Name: c, Life: life}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func names(requests []certificate.Request) []string {
	var all []string
	for _, r := range requests {
		all = append(all, r.Name)
	}
	return all
}

// free refuses names whose files are there.
func (f *certsFlags) free(names []string) error {
	var errs []error
	for _, n := range names {
		for _, end := range []string{".pem", ".key"} {
			file := filepath.Join(f.folder, n+end)
			if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
				hint := "--replace replaces it"
				if n == "ca" {
					hint = "make the new authority in another folder (--folder); docs/operations.md says how a cluster changes over"
				}
				errs = append(errs, fmt.Errorf("%s is there already; %s", file, hint))
			}
		}
	}
	return config.Usage(errors.Join(errs...))
}

// issue makes the certificates, all before the first is written. fresh is the authority, when it is new.
func (f *certsFlags) issue(cmd *cobra.Command, a *certificate.Authority, fresh *certificate.Pair, requests []certificate.Request) error {
	pairs := make([]certificate.Pair, len(requests))
	for i, r := range requests {
		var err error
		if pairs[i], err = a.Issue(r, time.Now()); err != nil {
			return config.Usage(err)
		}
	}
	if fresh != nil {
		if err := f.write("ca", *fresh); err != nil {
			return err
		}
	}
	for i, r := range requests {
		if err := f.write(r.Name, pairs[i]); err != nil {
			return err
		}
	}
	_, err := showCertificates(cmd, f.folder, nil, false)
	return err
}

// write puts a pair into the folder. Each file appears whole, the key first: a process that reads in between finds two that
// do not fit and waits for the second.
func (f *certsFlags) write(name string, p certificate.Pair) error {
	if err := os.MkdirAll(f.folder, 0o700); err != nil {
		return err
	}
	for _, x := range []struct {
		end  string
		data []byte
	}{{".key", p.Key}, {".pem", p.Certificate}} {
		if x.data == nil {
			continue
		}
		part, err := os.CreateTemp(f.folder, name+x.end+".*") // mode 0600
		if err != nil {
			return err
		}
		_, err = part.Write(x.data)
		if err = errors.Join(err, part.Sync(), part.Close()); err == nil {
			file := filepath.Join(f.folder, name+x.end)
			if f.replace {
				err = os.Rename(part.Name(), file)
			} else if err = os.Link(part.Name(), file); err == nil { // which overwrites nothing
				err = os.Remove(part.Name())
			}
		}
		if err != nil {
			_ = os.Remove(part.Name()) // the first error says more
			return err
		}
	}
	return nil
}

// shownCertificate is a line of certs show.
type shownCertificate struct {
	File     string    `json:"file"`
	Name     string    `json:"name"`
	Kind     string    `json:"kind"`  // authority, host or client
	Hosts    []string  `json:"hosts"` // names and addresses
	Issuer   string    `json:"issuer"`
	Serial   string    `json:"serial"`  // hex
	Revoked  bool      `json:"revoked"` // by the authority of --folder
	NotAfter time.Time `json:"not_after"`
	Days     int       `json:"days"` // until then; negative: it has expired
}

func certsShowCommand() *cobra.Command {
	var folder string
	var json bool
	cmd := &cobra.Command{
		Use: "show [FILE...]", Aliases: []string{"inspect"}, Short: "Show certificates, and how long they hold",
		Long: "Show lists the certificates of files, or of all .pem files of --folder. It ends with exit code 1 when one has expired.",
		RunE: func(cmd *cobra.Command, files []string) error {
			all, err := showCertificates(cmd, folder, files, json)
			if err != nil {
				return err
			}
			for _, s := range all {
				if time.Now().After(s.NotAfter) {
					return fmt.Errorf("%s (%s) has expired on %s; issue a new one with coordinator certs issue --replace", s.File, s.Name,
						s.NotAfter.Format(time.DateOnly))
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&folder, "folder", "certs", "folder of the files, if none are named")
	cmd.Flags().BoolVar(&json, "json", false, "print JSON on standard output")
	return cmd
}

// showCertificates prints those of files, or of a folder.
func showCertificates(cmd *cobra.Command, folder string, files []string, json bool) ([]shownCertificate, error) {
	if len(files) == 0 {
		files, _ = filepath.Glob(filepath.Join(folder, "*.pem"))
		if len(files) == 0 {
			return nil, config.Usagef("there is no certificate in %s; coordinator certs init makes them, --folder says where they are", folder)
		}
	}
	void, err := revokedIn(folder)
	if err != nil {
		return nil, config.Usage(err)
	}
	var all []shownCertificate
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, config.Usage(err)
		}
		parsed, err := certificate.Parse(data)
		if err != nil {
			return nil, config.Usagef("%s: %w", file, err)
		}
		for _, c := range parsed {
			s := shownCertificate{
				File: file, Name: c.Subject.CommonName, Kind: "client", Hosts: append([]string{}, c.DNSNames...), Issuer: c.Issuer.CommonName,
				Serial: c.SerialNumber.Text(16), Revoked: slices.ContainsFunc(void, func(l *x509.RevocationList) bool { return lists(l, c) }),
				NotAfter: c.NotAfter.UTC(), Days: int(time.Until(c.NotAfter).Round(24*time.Hour) / (24 * time.Hour)),
			}
			for _, ip := range c.IPAddresses {
				s.Hosts = append(s.Hosts, ip.String())
			}
			switch {
			case c.IsCA:
				s.Kind = "authority"
			case len(s.Hosts) > 0:
				s.Kind = "host"
			}
			all = append(all, s)
		}
	}
	if json {
		return all, printJSON(cmd.OutOrStdout(), all)
	}
	t := newTable(cmd.OutOrStdout(), "file", "name", "kind", "hosts", "until", "days", "serial")
	for _, s := range all {
		days := any(s.Days)
		if s.Revoked {
			days = "revoked"
		}
		t.AppendRow(table.Row{s.File, s.Name, s.Kind, strings.Join(s.Hosts, " "), s.NotAfter.Format(time.DateOnly), days, s.Serial})
	}
	t.Render()
	return all, nil
}
