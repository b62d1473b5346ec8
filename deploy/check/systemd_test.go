package check_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// services are the units and the commands that they run.
var services = []struct{ name, program, command string }{
	{"broker", "coordinator", "broker"}, {"coordinator", "coordinator", "serve"}, {"worker", "worker", "join"},
}

// TestUnits wants systemd to have nothing to say about the units, and their examples to name flags of the programs.
func TestUnits(t *testing.T) {
	for _, s := range services {
		unit := string(read(t, "../systemd/pupil-"+s.name+".service"))
		start := "/usr/local/bin/" + s.program
		if !strings.Contains(unit, "\nExecStart="+start+" "+s.command+"\n") {
			t.Errorf("%s starts something else", s.name)
		}
		file := filepath.Join(t.TempDir(), "pupil-"+s.name+".service")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(unit, start, program(t, s.program))), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"verify", "--man=no", file},
			{"security", "--offline=true", "--no-pager", "--threshold=20", file}, // of 100; without hardening it is 96
		} {
			out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
			if err != nil || args[0] == "verify" && len(bytes.TrimSpace(out)) > 0 {
				t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args[:len(args)-1], " "), err, out)
			}
		}
		example := variables(t, "../systemd/"+s.name+".env")
		if len(example) == 0 {
			t.Errorf("the example of %s is empty", s.name)
		}
		for variable := range example {
			checkVariable(t, s.name+".env", s.program, s.command, variable)
		}
		if grace, ok := example["PUPIL_GRACE"]; ok {
			d, err := time.ParseDuration(grace)
			if err != nil {
				t.Error(err)
			}
			_, rest, _ := strings.Cut(unit, "\nTimeoutStopSec=")
			stop, _, _ := strings.Cut(rest, "\n")
			if limit, err := time.ParseDuration(stop); err != nil || limit <= d {
				t.Errorf("%s: it is ended after %q, before its grace of %s is over", s.name, stop, d)
			}
		}
	}
}

// variables reads a file of NAME=value lines.
func variables(t *testing.T, file string) map[string]string {
	t.Helper()
	all := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(read(t, file)))
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "#") {
			name, value, ok := strings.Cut(line, "=")
			if !ok {
				t.Errorf("%s: %q is no variable", file, line)
			}
			all[name] = value
		}
	}
	return all
}
