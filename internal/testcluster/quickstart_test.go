//go:build e2e

package testcluster_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"pupil/internal/freeport"
	"pupil/internal/testcluster"
)

// TestQuickstart runs the commands of docs/quickstart.md as a reader would, and looks at the last thing that they print: two
// equal hashes. Only the build is that of the tests, and the ports are free ones.
func TestQuickstart(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testcluster.Root(), "docs", "quickstart.md"))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("set -eu\n")
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllSubmatch(page, -1) {
		script.Write(block[1])
	}
	commands := strings.Replace(script.String(), "make build\n", "", 1)
	listen := freeport.Loopback(t)
	commands = strings.ReplaceAll(commands, "127.0.0.1:7070", listen)

	folder := t.TempDir()
	for name, target := range map[string]string{
		"deploy": filepath.Join(testcluster.Root(), "deploy"), "bin": filepath.Dir(testcluster.Build(t).Worker),
	} {
		if err := os.Symlink(target, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", commands)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "PUPIL_LISTEN="+listen, "PUPIL_NATS_LISTEN="+freeport.Loopback(t), "PUPIL_RAFT="+freeport.Loopback(t),
		"PUPIL_COORDINATOR=http://"+listen)
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	// One group, so that what the script has started ends with it when it fails.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Minute
	err = cmd.Start()
	if err == nil {
		defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out.String(), messages.String())
	}
	hashes := regexp.MustCompile(`(?m)^weights_sha256 +([0-9a-f]{64})$`).FindAllStringSubmatch(out.String(), -1)
	if len(hashes) != 2 || hashes[0][1] != hashes[1][1] {
		t.Errorf("the hashes of the local run and of the cluster's are %v; want two equal ones\n%s", hashes, out.String())
	}
	for _, file := range []string{"sheet.png", "views.png", "report.html", "bags.npy", "runs/first/student/head.safetensors"} {
		if _, err := os.Stat(filepath.Join(folder, "quick", file)); err != nil {
			t.Error(err)
		}
	}
}
