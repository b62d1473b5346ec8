package s3_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pupil/internal/teststore"
	"pupil/storage"
	"pupil/storage/s3"
)

var discard = log.New(io.Discard, "", 0)

func TestParse(t *testing.T) {
	yes := true
	env := map[string]string{
		"AWS_REGION": "eu-9", "PUPIL_S3_ENDPOINT": "https://from-environment:9000", "AWS_ENDPOINT_URL": "https://aws-wide",
		"AWS_PROFILE": "work", "AWS_ACCESS_KEY_ID": "aws", "AWS_SECRET_ACCESS_KEY": "aws-secret", "AWS_SESSION_TOKEN": "aws-session",
	}
	for address, want := range map[string]s3.Config{
		"s3://b": {
			Bucket: "b", Endpoint: "https://from-environment:9000", Region: "eu-9", Profile: "work", Credentials: s3.Auto,
			AccessKey: "aws", SecretKey: "aws-secret", Session: "aws-session",
		},
		"s3://b/a/c/?endpoint=http://x:1&region=r&path_style=true&ca=/ca.pem&profile=p&credentials=file&credentials_file=/f&sts=https://s": {
			Bucket: "b", Prefix: "a/c", Endpoint: "http://x:1", Region: "r", PathStyle: &yes, CA: "/ca.pem", Profile: "p",
			Credentials: s3.File, File: "/f", STS: "https://s", AccessKey: "aws", SecretKey: "aws-secret", Session: "aws-session",
		},
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s3.Parse(u, func(name string) string { return env[name] })
		if err != nil {
			t.Fatal(err)
		}
		if (got.PathStyle == nil) != (want.PathStyle == nil) || got.PathStyle != nil && !*got.PathStyle {
			t.Errorf("%s: path style %v", address, got.PathStyle)
		}
		got.PathStyle, want.PathStyle = nil, nil
		if got != want {
			t.Errorf("%s: %+v, want %+v", address, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for address, want := range map[string]string{
		"s3:///prefix":                        "names no bucket",
		"s3://key:hunter2@b":                  "PUPIL_S3_ACCESS_KEY",
		"s3://b:9000/p":                       "endpoint=",
		"s3://b?secret_key=hunter2":           `unknown parameter "secret_key"`,
		"s3://b?endpoint=x:9000":              "must begin with http://",
		"s3://b?endpoint=ftp://x":             "must begin with http://",
		"s3://b?endpoint=https://x/path":      "behind the host",
		"s3://b?endpoint=https://u:hunter2@x": "without a user",
		"s3://b?region=a&region=b":            "2 times",
		"s3://b?path_style=maybe":             "true or false",
		"s3://b?credentials=hunter2":          "credentials must be",
		"s3://b?sts=nowhere":                  "sts is",
		"s3://b/a//c":                         "not allowed",
		"s3://b#x":                            "%23",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s3.Parse(u, environment(nil))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v; want an error with %q", address, err, want)
		}
	}
	u := &url.URL{Scheme: "s3", Host: "b"}
	half := func(name string) string {
		return map[string]string{"PUPIL_S3_ACCESS_KEY": "a", "AWS_SECRET_ACCESS_KEY": "b"}[name]
	}
	if _, err := s3.Parse(u, half); err == nil || !strings.Contains(err.Error(), "only one") {
		t.Errorf("half a pair of keys: %v", err)
	}
}

// TestConfigHidesSecrets prints a configuration in every way that a log may.
func TestConfigHidesSecrets(t *testing.T) {
	c := s3.Config{Bucket: "b", SecretKey: "hunter2", Session: "hunter3"}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "config", c)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "config", c, "key", c.SecretKey)
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		logged.String(), string(encoded), fmt.Sprint(c), fmt.Sprintf("%+v %#v %s %q", c, c, c.SecretKey, c.Session),
	} {
		if strings.Contains(text, "hunter") || !strings.Contains(text, "(secret)") {
			t.Errorf("secrets are not hidden in %q", text)
		}
	}
}

func TestCredentialsFile(t *testing.T) {
	server := teststore.Versity(t)
	file := filepath.Join(t.TempDir(), "credentials")
	text := fmt.Sprintf("[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n[pupil]\naws_access_key_id = %s\n"+
		"aws_secret_access_key = %s\n", teststore.AccessKey, teststore.SecretKey)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse("s3://" + server.Bucket(t) + "?endpoint=" + server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	for profile, good := range map[string]bool{"pupil": true, "": false, "missing": false} {
		c, err := s3.Parse(u, func(name string) string {
			return map[string]string{"AWS_SHARED_CREDENTIALS_FILE": file, "PUPIL_S3_PROFILE": profile, "PUPIL_S3_CREDENTIALS": s3.File}[name]
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := works(t, c); got != good {
			t.Errorf("profile %q works: %t", profile, got)
		}
	}
}

// works tells whether a bucket can be opened and written.
func works(t *testing.T, c s3.Config) bool {
	t.Helper()
	b, err := s3.Open(t.Context(), c)
	return err == nil && storage.WriteAll(t.Context(), b, "k", []byte("x")) == nil
}

// TestWebIdentity exchanges a token, as Kubernetes gives one to a pod, for keys at a token service.
func TestWebIdentity(t *testing.T) {
	server := teststore.Versity(t)
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Form.Get("WebIdentityToken") != "the token" || r.Form.Get("RoleArn") != "arn:aws:iam::1:role/x" {
			http.Error(w, "denied", http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>%s</AccessKeyId>`+
			`<SecretAccessKey>%s</SecretAccessKey><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>`+
			`</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, teststore.AccessKey, teststore.SecretKey)
	}))
	defer sts.Close()
	token := filepath.Join(t.TempDir(), "token")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/x")
	for text, good := range map[string]bool{"the token": true, "another": false} {
		if err := os.WriteFile(token, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := config(t, "s3://"+server.Bucket(t)+"?credentials=iam&sts="+sts.URL+"&endpoint="+server.Endpoint)
		if got := works(t, c); got != good {
			t.Errorf("%s works: %t", text, got)
		}
	}
}

// roleKeys is what a metadata service answers: the store's keys, as those of a role.
func roleKeys(w http.ResponseWriter) {
	fmt.Fprintf(w, `{"Code": "Success", "AccessKeyId": %q, "SecretAccessKey": %q, "Expiration": "2100-01-01T00:00:00Z"}`,
		teststore.AccessKey, teststore.SecretKey)
}

// TestMachineRole gets keys from a machine's metadata service, which wants a session's token (IMDSv2).
func TestMachineRole(t *testing.T) {
	server := teststore.Versity(t)
	const path = "/latest/meta-data/iam/security-credentials/"
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := r.Method + " " + r.URL.Path
		if asked == "PUT /latest/api/token" && r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") != "" {
			fmt.Fprint(w, "session")
			return
		}
		if r.Header.Get("X-aws-ec2-metadata-token") != "session" {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		switch asked {
		case "GET " + path:
			fmt.Fprint(w, "trainer")
		case "GET " + path + "trainer":
			roleKeys(w)
		default:
			http.NotFound(w, r)
		}
	}))
	defer metadata.Close()
	c := config(t, "s3://"+server.Bucket(t)+"?credentials=iam&sts="+metadata.URL+"&endpoint="+server.Endpoint)
	if !works(t, c) {
		t.Error("the machine's role does not open the store")
	}
}

// TestContainerRole gets keys from the service that a container's environment names.
func TestContainerRole(t *testing.T) {
	server := teststore.Versity(t)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/keys" || r.Header.Get("Authorization") != "the token" {
			http.Error(w, "denied", http.StatusForbidden)
			return
		}
		roleKeys(w)
	}))
	defer service.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", service.URL+"/keys")
	for token, good := range map[string]bool{"the token": true, "another": false} {
		t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", token)
		c := config(t, "s3://"+server.Bucket(t)+"?credentials=iam&endpoint="+server.Endpoint)
		if got := works(t, c); got != good {
			t.Errorf("%s works: %t", token, got)
		}
	}
}
