package serve_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/cluster"
	"pupil/coordinator/job"
	"pupil/coordinator/serve"
)

// TestRoles asks each endpoint with each kind of token.
func TestRoles(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.nodes[0].end()
	c.nodes[0].config.WorkerToken = "a token that is the same for all workers"
	c.up(c.nodes[0])
	secrets := map[string]string{"none": "", "unknown": "pupil_0123456789abcdef0123456789abcdef", "cluster": token, "workers": "a token that is the same for all workers"}
	add := func(name string, in api.Token) {
		t.Helper()
		in.Name = name
		out, err := c.client.AddToken(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		secrets[name] = out.Secret
	}
	for _, r := range cluster.Roles() {
		add(string(r), api.Token{Role: r})
	}
	add("expired", api.Token{Role: cluster.Admin, Expires: time.Now().Add(-time.Second)})
	add("removed", api.Token{Role: cluster.Admin})
	if left, err := c.client.RemoveToken(t.Context(), "removed"); err != nil || len(left) != 5 {
		t.Fatalf("tokens %+v, error %v", left, err)
	}
	c.restart() // the log has them

	may := map[cluster.Role][]string{
		"":                {"none", "unknown", "cluster", "viewer", "submitter", "admin", "worker", "workers", "expired", "removed"},
		cluster.Viewer:    {"cluster", "viewer", "submitter", "admin"},
		cluster.Submitter: {"cluster", "submitter", "admin"},
		cluster.Admin:     {"cluster", "admin"},
		cluster.Joiner:    {"cluster", "admin", "worker", "workers"},
	}
	open := 0
	for pattern, role := range serve.Routes() {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			method, path = http.MethodGet, pattern+"nothing"
		}
		if role == "" {
			open++
		} else if want := map[string][]cluster.Role{
			http.MethodGet: {cluster.Viewer, cluster.Admin, cluster.Joiner}, http.MethodPost: {cluster.Submitter, cluster.Admin},
			http.MethodDelete: {cluster.Admin},
		}[method]; !slices.Contains(want, role) {
			t.Errorf("%s is for the role %s", pattern, role)
		}
		path = strings.TrimSuffix(path, "{$}")
		path = regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "gone")
		for name, secret := range secrets {
			status, said := request(t, method, "http://"+c.nodes[0].config.Listen+path, secret)
			refused := status == http.StatusUnauthorized || status == http.StatusForbidden
			if refused == slices.Contains(may[role], name) {
				t.Errorf("%s with the token %s: status %d, %+v", pattern, name, status, said)
			}
			want := api.Forbidden
			if slices.Contains([]string{"none", "unknown", "expired", "removed"}, name) {
				want = api.Unauthorized
			}
			if refused && (said.Code != want || said.Text == "") {
				t.Errorf("%s with the token %s: status %d, %+v; want the code %s", pattern, name, status, said, want)
			}
		}
	}
	if open != 4 {
		t.Errorf("%d endpoints are open to anybody; /healthz, /readyz and the files of the page should be", open)
	}
	c.secretsInNoFile(secrets)
	for want, in := range map[string]api.Token{
		"is no role": {Name: "x", Role: "king"}, "contains": {Name: "a b", Role: cluster.Viewer}, "already": {Name: "viewer", Role: cluster.Viewer},
	} {
		if _, err := c.client.AddToken(t.Context(), in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("token %+v: error %v; want one with %q", in, err, want)
		}
	}
	if _, err := c.client.RemoveToken(t.Context(), "gone"); err == nil || !strings.Contains(err.Error(), "no token gone") {
		t.Errorf("error %v", err)
	}
}

// request makes one and returns its status, and what an error says.
func request(t *testing.T, method, url, secret string) (status int, said api.Error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context()) // ends a stream
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 400 {
		if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
			t.Errorf("%s %s: an error that is no JSON: %v", method, url, err)
		}
	}
	return answer.StatusCode, said
}

// restart ends all coordinators and lets them begin again, until one leads.
func (c *cluster3) restart() {
	c.t.Helper()
	for _, n := range c.nodes {
		n.end()
	}
	for _, n := range c.nodes {
		c.up(n)
	}
	c.until("a leader", func(s *api.Status) bool { return s.Leader != "" })
}

// secretsInNoFile looks through all that the coordinators keep.
func (c *cluster3) secretsInNoFile(secrets map[string]string) {
	c.t.Helper()
	files := 0
	for _, n := range c.nodes {
		err := filepath.WalkDir(n.config.Folder, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files++
			data, err := os.ReadFile(path)
			for name, s := range secrets {
				if s != "" && strings.Contains(string(data), s) {
					c.t.Errorf("%s has the token %s", path, name)
				}
			}
			return err
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	if files == 0 {
		c.t.Error("the coordinators keep no files")
	}
}

// TestAnonymousViewer: with it who shows no token may look, and nothing else.
func TestAnonymousViewer(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.nodes[0].end()
	c.nodes[0].config.Public = true
	c.up(c.nodes[0])
	c.until("a leader", func(s *api.Status) bool { return s.Leader != "" })
	url := "http://" + c.nodes[0].config.Listen
	for path, want := range map[string]int{
		"GET /v1/status": 200, "GET /metrics": 200, "GET /v1/tokens": 401, "GET /v1/broker": 401, "POST /v1/runs": 401, "DELETE /v1/members/c0": 401,
	} {
		method, path, _ := strings.Cut(path, " ")
		if status, said := request(t, method, url+path, ""); status != want {
			t.Errorf("%s %s: status %d, %+v", method, path, status, said)
		}
	}
	if status, _ := request(t, http.MethodGet, url+"/v1/status", "wrong"); status != http.StatusUnauthorized {
		t.Errorf("with a wrong token: status %d", status)
	}
}

// TestAllowStorage: a job that names a place of others is refused, with what it may.
func TestAllowStorage(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.nodes[0].end()
	c.nodes[0].config.Allow = []string{"file:///data", "s3://ours/team"}
	c.up(c.nodes[0])
	for name, change := range map[string]func(*api.Submission){
		"storage":       func(in *api.Submission) { in.Storage = "s3://ours/team-b/run" },
		"dataset.train": func(in *api.Submission) { in.Spec.Dataset.Train = "file:///data/../etc" },
		"dataset.test":  func(in *api.Submission) { in.Spec.Dataset.Test = "s3://theirs/test" },
		"student.init":  func(in *api.Submission) { in.Spec.Student.Init = "file:///elsewhere" },
		"teacher.model": func(in *api.Submission) {
			in.Spec.Teacher = &job.Teacher{Model: "s3://ours/team?endpoint=http://elsewhere"}
		},
	} {
		in := c.submission("a")
		change(&in)
		_, err := c.client.Submit(t.Context(), in)
		var said *api.Error
		if !errors.As(err, &said) || said.Code != api.Invalid || !strings.Contains(said.Text, name+" is ") ||
			!strings.Contains(said.Text, "s3://ours/team") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := c.client.Submit(t.Context(), c.submission("a")); err != nil {
		t.Error(err)
	}
}
