package serve_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pupil/coordinator/api"
)

// The page needs no token, and what it reads does.
func TestPage(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.until("a leader", func(s *api.Status) bool { return s.Leader != "" })
	if _, err := c.client.Submit(t.Context(), c.submission("a")); err != nil {
		t.Fatal(err)
	}
	base := "http://" + c.nodes[0].config.Listen
	for _, path := range []string{"/", "/dash/app.js", "/dash/uplot/LICENSE"} {
		answer, text := fetch(t, base+path, "")
		if answer.StatusCode != http.StatusOK || text == "" || answer.Header.Get("X-Content-Type-Options") != "nosniff" ||
			!strings.Contains(answer.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; style-src 'self'") {
			t.Errorf("%s: %s, %v", path, answer.Status, answer.Header)
		}
		again, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		again.Header.Set("If-None-Match", answer.Header.Get("ETag"))
		if answer, err = http.DefaultClient.Do(again); err != nil || answer.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %v, %v", path, answer, err)
		}
		answer.Body.Close()
	}
	for path, want := range map[string]string{
		"/v1/stream":               "",
		"/v1/runs/a/series":        `"steps":[]`,
		"/v1/runs/a/checkpoints":   "[]",
		"/v1/runs/a/audit":         "this coordinator cannot audit the run",
		"/v1/runs/a/views.png":     "coordinator views",
		"/v1/runs/none/series":     "there is no run none",
		"/dash/nothing":            "",
		"/dash/../../secret":       "",
		"/dash/%2e%2e/page.go":     "",
		"/v1/runs/none/checkpoint": "there is no GET",
	} {
		answer, text := fetch(t, base+path, "")
		if strings.HasPrefix(path, "/v1/") && answer.StatusCode != http.StatusUnauthorized || answer.StatusCode == http.StatusOK {
			t.Errorf("%s without a token: %s", path, answer.Status)
		}
		if strings.Contains(text, "package dash") {
			t.Errorf("%s gives %s", path, text)
		}
		if want == "" {
			continue
		}
		if _, text = fetch(t, base+path, token); !strings.Contains(text, want) {
			t.Errorf("%s: %s; want %s", path, text, want)
		}
	}
}

func fetch(t *testing.T, url, token string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

// page is what the web page knows: it follows the stream as that does.
type page struct {
	t      *testing.T
	last   string // id
	leader string
	events map[string]int
	steps  []int
	phase  string
}

// follow reads the streams of a cluster's coordinators, one after the other, until ok.
func (p *page) follow(c *cluster3, ok func() bool) {
	p.t.Helper()
	for turn := 0; !ok(); turn++ {
		n := c.nodes[turn%len(c.nodes)]
		ctx, cancel := context.WithCancel(p.t.Context())
		p.stream(ctx, "http://"+n.config.Listen+"/v1/stream?run=a", ok)
		cancel()
		select {
		case <-p.t.Context().Done():
			p.t.Fatalf("the page knows %+v", p)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *page) stream(ctx context.Context, url string, ok func() bool) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Last-Event-ID", p.last)
	answer, err := http.DefaultClient.Do(r)
	if err != nil || answer.StatusCode != http.StatusOK {
		return
	}
	defer answer.Body.Close()
	kind := ""
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			kind = value
		case "id":
			p.last = value
		case "data":
			if p.take(kind, value); ok() {
				return
			}
		}
	}
}

func (p *page) take(kind, data string) {
	var err error
	switch kind {
	case "status":
		var s api.Status
		err = json.Unmarshal([]byte(data), &s)
		p.leader, p.phase = s.Leader, string(s.Runs[0].Phase)
	case "events":
		var events []api.Event
		err = json.Unmarshal([]byte(data), &events)
		for _, e := range events {
			p.events[fmt.Sprint(e)]++
		}
	case "series":
		var u struct {
			After  int
			Series struct{ Steps []int }
		}
		err = json.Unmarshal([]byte(data), &u)
		n, _ := slices.BinarySearch(p.steps, u.After+1)
		p.steps = append(p.steps[:n], u.Series.Steps...)
	}
	if err != nil {
		p.t.Errorf("%s: %v", kind, err)
	}
}

// A page that follows a run has its whole curve and each event once, although the leader ends in mid-run.
func TestStream(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	if _, err := c.client.Submit(t.Context(), c.submission("a")); err != nil {
		t.Fatal(err)
	}
	reached, goOn := make(chan struct{}), make(chan struct{})
	c.work("w0", trainer{steps: 12, hold: func(_, step int) {
		if step == 6 {
			close(reached)
			<-goOn
		}
	}})
	<-reached
	p := &page{t: t, events: map[string]int{}}
	p.follow(c, func() bool { return len(p.steps) == 6 })
	before := p.leader
	for _, n := range c.nodes {
		if n.config.ID == before {
			n.end()
		}
	}
	p.follow(c, func() bool { return p.leader != before })
	close(goOn)
	p.follow(c, func() bool { return p.phase == "finished" && len(p.steps) == 12 })
	for i, step := range p.steps {
		if step != i+1 {
			t.Fatalf("steps %v", p.steps)
		}
	}
	for e, times := range p.events {
		if times != 1 {
			t.Errorf("%d times: %s", times, e)
		}
	}
}
