package contest_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pupil/internal/contest"
)

// A process answers what it is asked, and what it says is wrong, or how it ended, is an error.
func TestProcess(t *testing.T) {
	script := `while read line; do case "$line" in
		*add*) echo '{"sum": 5}' ;;
		*fault*) echo '{"error": "no such thing"}' ;;
		*torch*) echo '{"error": "no torch", "missing": "torch"}' ;;
		*mumble*) echo mumble ;;
		*variable*) echo "{\"text\": \"$CONTEST\"}" ;;
		*) echo one >&2; echo killed by the test >&2; exit 3 ;;
	esac; done`
	p, err := contest.Start(t.Context(), []string{"/bin/sh", "-c", script}, "CONTEST=here")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Sum  int
		Text string
	}
	type command struct{ Do string }
	for _, do := range []string{"add", "variable"} {
		if err := p.Ask(do, command{do}, &answer); err != nil {
			t.Fatal(err)
		}
	}
	if answer.Sum != 5 || answer.Text != "here" {
		t.Errorf("answers %+v", answer)
	}
	for _, test := range []struct{ do, want string }{
		{"fault", "at fault: no such thing"}, {"torch", "no torch"}, {"mumble", `answers "mumble"`}, {"die", "exit status 3: one; killed by the test"},
	} {
		err := p.Ask(test.do, command{test.do}, &answer)
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, contest.ErrMissing) != (test.do == "torch") {
			t.Errorf("%s: error %v, want %q", test.do, err, test.want)
		}
	}
	p.Close()
	if _, err := contest.Start(t.Context(), []string{filepath.Join(t.TempDir(), "none")}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestFigures(t *testing.T) {
	v := []float64{5, 1, 4, 2, 3}
	if contest.Percentile(v, 0.99) != 5 || contest.Percentile(v, 0.5) != 3 || contest.Percentile(v, 0.2) != 1 {
		t.Error("percentiles are wrong")
	}
	if contest.Median(v) != 3 || contest.Median(v[:2]) != 3 || !math.IsNaN(contest.Median(nil)) || !math.IsNaN(contest.Percentile(nil, 1)) {
		t.Error("medians are wrong")
	}
	before, err := contest.CPUSeconds()
	if err != nil || before <= 0 || contest.CPUModel() == "" {
		t.Errorf("CPU time %v of %q, error %v", before, contest.CPUModel(), err)
	}
	file := filepath.Join(t.TempDir(), "report.json")
	if err := errors.Join(contest.Write("", v), contest.Write(file, v[:2])); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "[\n  5,\n  1\n]\n" {
		t.Errorf("%q, error %v", data, err)
	}
}
