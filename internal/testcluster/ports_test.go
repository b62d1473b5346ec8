package testcluster_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pupil/coordinator/control"
	"pupil/internal/testcluster"
	"pupil/internal/teststore"
)

// TestPorts finds every TCP port on which a process of a running cluster listens, and asks each, as a stranger does, what there
// is: in HTTP, as a NATS client and as a coordinator. None answers more than that it does not know him. So it is with a broker
// by itself, and with one in each coordinator.
func TestPorts(t *testing.T) {
	for _, x := range []struct {
		name  string
		start func(testing.TB, int, ...string) *testcluster.Cluster
		nodes int
		serve []string
		ports map[string]int
	}{
		{"broker", testcluster.StartCluster, 1, []string{"--data-plane", "mesh"}, map[string]int{"broker": 1, "c0": 2, "w0": 1, "w1": 1}},
		{"coordinators", testcluster.StartCoordinators, 3, nil, map[string]int{"c0": 4, "c1": 4, "c2": 4, "w0": 1, "w1": 1}},
	} {
		t.Run(x.name, func(t *testing.T) {
			teststore.SetEnvironment(t)
			store := teststore.Versity(t)
			c := x.start(t, x.nodes, append(x.serve, "--log-level", "debug")...)
			all := append([]*testcluster.Process{
				c.StartWorker("w0", "--log-level", "debug"), // they listen for each other by themselves
				c.StartWorker("w1", "--log-level", "debug"),
			}, c.Nodes...)
			if c.Broker != nil {
				all = append(all, c.Broker)
			}
			var run struct{ Phase string }
			c.JSON(&run, "submit", demo, "--run", "one", "--workers", "2", "--set", "steps=100000", "--set", "batch=64",
				"--set", "student.width=0.25", "--set", "dataset.test=", "--set", "checkpoint.every=2", "--storage", store.URL(t, "runs/one"))
			until(t, c, func(s status) bool { return len(s.Runs) == 1 && s.Runs[0].Step >= 2 }) // the ring is open
			if len(all) != len(x.ports) {
				t.Errorf("%d processes", len(all))
			}
			for _, p := range all {
				ports := listening(t, p.Cmd.Process.Pid)
				if want := x.ports[p.Name]; len(ports) != want {
					t.Errorf("%s listens on the ports %v; want %d", p.Name, ports, want)
				}
				for _, port := range ports {
					t.Run(p.Name+"/"+strconv.Itoa(port), func(t *testing.T) { strange(t, "127.0.0.1:"+strconv.Itoa(port)) })
				}
			}
			until(t, c, func(s status) bool { return len(s.Runs[0].Checkpoints) > 0 }) // the store's keys were used
			noSecrets(t, c)
		})
	}
}

// strange talks to an address without knowing a secret.
func strange(t *testing.T, address string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		for _, path := range []string{
			"/v1/status", "/v1/runs", "/v1/runs/one", "/v1/runs/one/cancel", "/v1/watch", "/v1/events", "/v1/members", "/v1/members/c0",
			"/v1/tokens", "/v1/broker?worker=w&session=s", "/metrics", "/debug/pprof/", "/varz", "/connz", "/anything",
		} {
			request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer guess")
			answer, err := client.Do(request)
			if err != nil {
				continue // it speaks no HTTP
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusUnauthorized && answer.StatusCode != http.StatusForbidden &&
				answer.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %s", method, path, answer.Status)
			}
		}
	}
	for name, o := range map[string][]nats.Option{
		"nobody": nil, "guess": {nats.UserInfo("coordinator", "guess")}, "worker": {nats.UserInfo("worker w9 s 0", "guess")},
		"TLS": {nats.Secure(&tls.Config{InsecureSkipVerify: true}), nats.TLSHandshakeFirst()},
	} {
		nc, err := nats.Connect("nats://"+address, append(o, nats.NoReconnect(), nats.Timeout(time.Second))...)
		if err == nil {
			nc.Close()
			t.Errorf("NATS as %s: let in", name)
		}
	}
	for _, words := range []string{"PUP1r0123456789abcdef" + strings.Repeat("x", 32), "PUP1w0123456789abcdef" + strings.Repeat("x", 32)} {
		said := tell(t, address, words)
		// A NATS server says who it is, and nothing else; a coordinator sends a challenge of 48 bytes; HTTP says that this is none.
		if first, _, _ := strings.Cut(said, " "); len(said) > 48 && first != "INFO" && !strings.HasPrefix(said, "HTTP/1.1 400") {
			t.Errorf("%.20q is answered by %q", words, said)
		}
	}
}

// tell sends words and returns what comes back until the other side closes.
func tell(t *testing.T, address, words string) string {
	t.Helper()
	var d net.Dialer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, words); err != nil {
		return ""
	}
	_ = c.(*net.TCPConn).CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	said, _ := io.ReadAll(io.LimitReader(c, 1<<16))
	return string(said)
}

// listening are the TCP ports on which a process listens.
func listening(t *testing.T, pid int) []int {
	t.Helper()
	const local, listens = 1, "0A"
	return slices.Compact(sockets(t, pid, listens, local))
}

// uses are the TCP ports to which a process has connections, once for each connection.
func uses(t *testing.T, pid int) []int {
	t.Helper()
	const remote, established = 2, "01"
	return sockets(t, pid, established, remote)
}

// sockets are the ports in a column of the kernel's tables, of a process' TCP sockets that are in a state.
func sockets(t *testing.T, pid int, state string, column int) (ports []int) {
	t.Helper()
	mine := map[string]bool{}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(links) == 0 {
		t.Fatalf("the files of process %d: %v", pid, err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, "socket:[") {
			mine[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if errors.Is(err, os.ErrNotExist) {
			continue // a machine without IPv6
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		for lines.Scan() {
			const stateColumn, inode = 3, 9
			f := strings.Fields(lines.Text())
			if len(f) <= inode || f[stateColumn] != state || !mine[f[inode]] {
				continue
			}
			port, err := strconv.ParseInt(f[column][strings.LastIndex(f[column], ":")+1:], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			ports = append(ports, int(port))
		}
	}
	slices.Sort(ports)
	return ports
}

// noSecrets looks for the cluster's secrets in all that its processes have written, and in what the API says.
func noSecrets(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	files := []string{"token"}
	derived := control.DeriveCredentials("a token for all the processes")
	secrets := []string{derived.Coordinator, derived.Worker, derived.Monitor}
	if c.Broker != nil {
		files, secrets = append(files, "broker.json"), nil
	}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(c.Folder, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range strings.FieldsFunc(string(data), func(r rune) bool { return r == '"' || r == '\n' }) {
			if len(word) >= 16 { // as a password must
				secrets = append(secrets, word)
			}
		}
	}
	if secrets = append(secrets, teststore.AccessKey, teststore.SecretKey); len(secrets) != 6 {
		t.Fatalf("%d secrets", len(secrets))
	}
	look := func(where string, data []byte) {
		for i, s := range secrets {
			if bytes.Contains(data, []byte(s)) {
				t.Errorf("secret %d stands in %s", i, where)
			}
		}
	}
	found := 0
	err := filepath.WalkDir(c.Folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "token" || d.Name() == "broker.json" {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil // a checkpoint that was replaced meanwhile
		}
		found++
		look(path, data)
		return err
	})
	if err != nil || found < 5 {
		t.Errorf("%d files, error %v", found, err)
	}
	for _, args := range [][]string{{"status"}, {"status", "one"}, {"events"}, {"members", "list"}, {"list"}} {
		out, messages, code := c.Do(append(args, "--json")...)
		if code != 0 {
			t.Errorf("%v: exit code %d\n%s", args, code, messages)
		}
		look(strings.Join(args, " "), []byte(out+messages))
	}
}
