package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// selfSigned writes a certificate of 127.0.0.1 and its key, and returns who trusts it.
func selfSigned(t *testing.T, folder string) *x509.CertPool {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	shape := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Unix(0, 0),
		NotAfter: time.Unix(1<<32, 0), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(nil, shape, shape, key.Public(), key) // this kind of key signs without randomness
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trusted, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(trusted)
	return pool
}

// serving starts worker serve as a user does. end stops it, and returns what it has ended with.
func serving(t *testing.T, args ...string) (url string, end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	cmd := serveCommand()
	cmd.Flags().String("log-level", "info", "")
	cmd.Flags().String("log-format", "text", "")
	out, in := io.Pipe()
	cmd.SetOut(in)
	cmd.SetErr(io.Discard)
	cmd.SetArgs(append(args, "--listen", "127.0.0.1:0"))
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	ended := make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(ctx)
		in.CloseWithError(io.EOF)
		ended <- err
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%q, %v, %v", line, err, <-ended)
	}
	_, url, _ = strings.Cut(strings.TrimSpace(line), " on ")
	return url, func() error {
		cancel()
		return <-ended
	}
}

// A server with TLS, tokens, a head and a gallery, as a user starts it and ends it.
func TestServe(t *testing.T) {
	const token = "a token of some length"
	model, folder, pictures := copied(t), t.TempDir(), corners(t)
	pool := selfSigned(t, folder)
	tokens, people := filepath.Join(folder, "tokens"), filepath.Join(folder, "people.gallery")
	if err := os.WriteFile(tokens, []byte(strings.ReplaceAll(token, " ", "-")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := perform(fitHeadCommand(), nil, model, pictures); err != nil {
		t.Fatal(err)
	}
	if _, _, err := perform(enrollCommand(), nil, model, pictures, "--gallery", people); err != nil {
		t.Fatal(err)
	}
	url, end := serving(t, model, "--tls-cert", filepath.Join(folder, "cert.pem"), "--tls-key", filepath.Join(folder, "key.pem"),
		"--tokens-file", tokens, "--gallery", people, "--threads", "2")
	if !strings.HasPrefix(url, "https://127.0.0.1:") {
		t.Fatalf("it serves on %q", url)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	for path, want := range map[string]string{"/v1/classify": "near", "/v1/identify": "near"} {
		request, err := http.NewRequest(http.MethodPost, url+path, bytes.NewReader(square(t, 2)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.ReplaceAll(token, " ", "-"))
		request.Header.Set("Content-Type", "image/png")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != 200 || !json.Valid(body) || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %s, %v", path, response.StatusCode, body, err)
		}
	}
	client.CloseIdleConnections()
	if err := end(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestServeRefuses(t *testing.T) {
	folder := t.TempDir()
	empty := filepath.Join(folder, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"a student's folder":     {},
		"no usable model":        {folder},
		"--tls-cert and":         {teacher, "--tls-cert", empty},
		"has no token":           {teacher, "--tokens-file", empty},
		"no such file":           {teacher, "--tokens-file", empty + "x"},
		"worker enroll makes":    {teacher, "--gallery", folder + "/none"},
		"threads is 0":           {teacher, "--threads", "0"},
		"missing port":           {teacher, "--listen", "127.0.0.1"},
		"not found":              {teacher, "--head", folder + "/none.safetensors"},
		"max body is 5 bytes":    {teacher, "--max-bytes", "5"},
		"timeout is 0s; it must": {teacher, "--timeout", "0s"},
	} {
		cmd := serveCommand()
		cmd.Flags().String("log-level", "info", "")
		cmd.Flags().String("log-format", "text", "")
		if err := fails(cmd, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", args, err, want)
		}
	}
}
