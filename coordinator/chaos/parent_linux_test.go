package chaos

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// helperFolder says to a copy of this test that it is to be killed, and where it starts its processes.
const helperFolder = "PUPIL_CHAOS_TEST_FOLDER"

// TestKilled: processes end with a command that is killed by kill -9, those that stand still, too.
func TestKilled(t *testing.T) {
	if folder := os.Getenv(helperFolder); folder != "" {
		beKilled(t, folder)
	}
	folder := t.TempDir()
	var pipes []*os.File
	names := []string{"running", "stopped"}
	for _, name := range names {
		if err := syscall.Mkfifo(filepath.Join(folder, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	helper := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	helper.Env = append(os.Environ(), helperFolder+"="+folder)
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := os.Open(filepath.Join(folder, name)) // when the process has opened it, too
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if line, err := bufio.NewReader(f).ReadString('\n'); line != "here\n" {
			t.Fatalf("%s writes %q, %v", name, line, err)
		}
		pipes = append(pipes, f)
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait() // it was killed
	for _, f := range pipes {
		if _, err := io.ReadAll(f); err != nil { // until the process has ended
			t.Error(err)
		}
	}
}

// beKilled starts two processes, of which one stands still, and waits for its end.
func beKilled(t *testing.T, folder string) {
	from := newParent()
	for name, stop := range map[string]string{"running": "", "stopped": "kill -STOP $$;"} {
		p := &process{name: name, folder: folder, binary: "sh", parent: from}
		p.args = []string{"-c", "exec 3>" + filepath.Join(folder, name) + "; echo here >&3; " + stop + " exec sleep 1000"}
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
	}
	select {}
}
