package testcluster_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"pupil/internal/certificate"
	"pupil/internal/testcluster"
)

// coordinator runs a command in a folder.
func coordinator(t *testing.T, folder string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testcluster.Build(t).Coordinator, args...)
	cmd.Dir = folder
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), messages.String(), cmd.ProcessState.ExitCode()
}

func TestCerts(t *testing.T) {
	folder := t.TempDir()
	for _, x := range []struct {
		code    int
		message string
		args    []string
	}{
		{2, "coordinator certs init makes one", []string{"issue", "--host", "a"}},
		{2, "coordinator certs init makes them", []string{"show"}},
		{2, "without a port", []string{"init", "--host", "a:7070"}},
		{2, "name of a file", []string{"init", "--host", "../a"}},
		{0, "", []string{"init", "--host", "a.example,127.0.0.1", "--host", "::1", "--client", "worker"}},
		{2, "is there already; make the new authority in another folder", []string{"init"}},
		{2, "is there already; --replace", []string{"issue", "--host", "a.example"}},
		{2, "two certificates", []string{"issue", "--host", "b", "--client", "b"}},
		{2, "name of two certificates, or of the authority", []string{"issue", "--client", "ca"}},
		{2, "say for whom", []string{"issue"}},
		{0, "", []string{"issue", "--host", "a.example,10.0.0.1", "--replace", "--days", "3"}},
		{0, "", []string{"show", "certs/ca.pem"}},
		{2, "say which", []string{"revoke"}},
		{2, "neither a certificate", []string{"revoke", "nobody"}},
		{2, "nor a whole serial", []string{"revoke", "dead"}}, // a name written wrong, though hex
		{0, "", []string{"init", "--folder", "other", "--client", "stranger"}},
		{2, "issued by another authority", []string{"revoke", "other/stranger.pem"}},
		{2, "the authority's own", []string{"revoke", "ca"}},
		{2, "coordinator certs init makes one", []string{"revoke", "worker", "--folder", "elsewhere"}},
		{0, "", []string{"revoke", "worker", "01:ab:cd:ef:01:23:45:67:89"}},
		{0, "", []string{"revoke", "certs/a.example.pem", "1ABCDEF0123456789"}},
	} {
		_, messages, code := coordinator(t, folder, append([]string{"certs"}, x.args...)...)
		if code != x.code {
			t.Errorf("certs %q: exit code %d, want %d\n%s", x.args, code, x.code, messages)
		}
		expect(t, messages, x.message)
	}
	files, err := filepath.Glob(filepath.Join(folder, "certs", "*"))
	if err != nil || len(files) != 8 {
		t.Errorf("files %q, error %v", files, err)
	}
	for _, f := range files {
		if i, err := os.Stat(f); err != nil || i.Mode() != 0o600 {
			t.Errorf("%s: mode %v, error %v", f, i.Mode(), err)
		}
	}
	out, _, _ := coordinator(t, folder, "certs", "inspect", "--json")
	var shown []struct {
		Name, Kind string
		Hosts      []string
		Days       int
		Serial     string
		Revoked    bool
		NotAfter   time.Time `json:"not_after"`
	}
	if err := json.Unmarshal([]byte(out), &shown); err != nil || len(shown) != 4 {
		t.Fatalf("%s: %v", out, err)
	}
	for i, want := range []string{"host ::1", "host a.example", "authority Pupil cluster", "client worker"} {
		if got := shown[i].Kind + " " + shown[i].Name; got != want {
			t.Errorf("certificate %d is %q, want %q", i, got, want)
		}
	}
	for i, want := range []bool{false, true, false, true} {
		if shown[i].Revoked != want || shown[i].Serial == "" {
			t.Errorf("%+v; want it revoked: %v", shown[i], want)
		}
	}
	bundle, err := os.ReadFile(filepath.Join(folder, "certs", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	authorities, err := certificate.Parse(bundle)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := certificate.Lists(bundle, authorities)
	if err != nil || len(lists) != 1 || len(lists[0].RevokedCertificateEntries) != 3 || lists[0].Number.Int64() != 2 {
		t.Errorf("lists %+v, error %v", lists, err)
	}
	if a := shown[1]; len(a.Hosts) != 2 || a.Hosts[1] != "10.0.0.1" || a.Days != 3 {
		t.Errorf("after --replace: %+v", a)
	}
}
