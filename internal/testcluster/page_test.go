package testcluster_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"pupil/internal/testcluster"
)

// TestPageOfALocalRun reads what the page of coordinator run reads: with the token that is printed, and not without. The
// curves are there again after a stop and --resume.
func TestPageOfALocalRun(t *testing.T) {
	settings := short(t, 100_000, "--page", "127.0.0.1:0")
	j := testcluster.Start(t, demo, settings...)
	base, token := pageOf(t, j)
	if status, text := read(t, base+"/", ""); status != http.StatusOK || !strings.Contains(text, "/dash/app.js") {
		t.Errorf("the page: status %d, %s", status, text)
	}
	for _, path := range []string{"/v1/status", "/v1/stream", "/v1/runs/fashion/series", "/anything"} {
		for _, wrong := range []string{"", token + "x"} {
			if status, text := read(t, base+path, wrong); status != http.StatusUnauthorized || !strings.Contains(text, "token of this run") {
				t.Errorf("%s with the token %q: status %d, %s", path, wrong, status, text)
			}
		}
	}
	first := followSeries(t, base, token, 3)
	if status, text := read(t, base+"/v1/status", token); status != http.StatusOK || !strings.Contains(text, `"fashion"`) {
		t.Errorf("status %d, %s", status, text)
	}
	if err := j.Cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	s, messages, code := j.Wait(t)
	if code != 1 || s.Outcome != "stopped" {
		t.Fatalf("exit code %d, %+v\n%s", code, s, messages)
	}

	j = testcluster.Start(t, demo, append(settings, "--resume")...)
	base, token = pageOf(t, j)
	again := followSeries(t, base, token, s.Steps+1)
	for i, step := range again {
		if i < len(first) && step != i+1 {
			t.Fatalf("after a resume the curve's steps are %v", again)
		}
	}
	if err := j.Cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, messages, code := j.Wait(t); code != 1 {
		t.Errorf("exit code %d\n%s", code, messages)
	}

	_, messages, code = testcluster.Start(t, demo, short(t, 1, "--page", "0.0.0.0:0")...).Wait(t)
	if code != 2 || !strings.Contains(messages, "ssh -L") {
		t.Errorf("beyond this machine: exit code %d\n%s", code, messages)
	}
}

// pageOf is the address that coordinator run prints.
func pageOf(t *testing.T, j *testcluster.Job) (base, token string) {
	t.Helper()
	line, err := j.WaitFor(t.Context(), "page: ")
	if err != nil {
		t.Fatal(err)
	}
	base, token, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "page: "), "/#token=")
	if !ok || len(token) < 32 {
		t.Fatalf("the page's address is %q", line)
	}
	return base, token
}

func ask(ctx context.Context, t *testing.T, url, token string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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
	return answer
}

func read(t *testing.T, url, token string) (status int, text string) {
	t.Helper()
	answer := ask(t.Context(), t, url, token)
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(data)
}

// followSeries reads the stream until the curve has a step, and returns its steps.
func followSeries(t *testing.T, base, token string, until int) []int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answer := ask(ctx, t, base+"/v1/stream?run=fashion", token)
	defer answer.Body.Close()
	var steps []int
	kind, lines := "", bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		if name == "event" {
			kind = value
		}
		if name != "data" || kind != "series" {
			continue
		}
		var u struct {
			After  int
			Series struct{ Steps []int }
		}
		if err := json.Unmarshal([]byte(value), &u); err != nil {
			t.Fatal(err)
		}
		for len(steps) > 0 && steps[len(steps)-1] > u.After {
			steps = steps[:len(steps)-1]
		}
		if steps = append(steps, u.Series.Steps...); len(steps) > 0 && steps[len(steps)-1] >= until {
			return steps
		}
	}
	t.Fatalf("the stream has ended (%v); the steps are %v", lines.Err(), steps)
	return nil
}
