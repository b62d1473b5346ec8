package check_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestChartRuns runs the containers that the chart makes (three coordinators, two workers) as processes of this
// machine, with the files, variables and arguments that Kubernetes would give them; asks their probes; runs the chart's
// test; scrapes their metrics; trains a job as NOTES.txt says; and ends them as Kubernetes does.
func TestChartRuns(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	r := render(t, `{storage: {type: volume, volume: {existingClaim: shared}}, workers: {resources: {limits: {cpu: "1"}, requests: {cpu: "1"}}}}`)
	n := newNode(t, r)
	all := map[string]pod{}
	for _, p := range pods(r) {
		all[strings.TrimPrefix(p.name, "try-pupil-")] = p
	}
	const domain = "." + namespace + ".svc.cluster.local"
	start := func(part, name, host string) *process {
		return n.run(all[part], all[part].spec.Containers[0], name, host)
	}
	var coordinators, workers []*process
	for i := range 3 {
		name := fmt.Sprintf("try-pupil-coordinator-%d", i)
		coordinators = append(coordinators, start("coordinator", name, name+".try-pupil-coordinator"+domain))
	}
	n.ports["try-pupil"+domain+":7070"] = coordinators[2].listen[7070] // the service leads to any of the coordinators
	for i := range 2 {
		workers = append(workers, start("worker", fmt.Sprintf("try-pupil-worker-%d", i), ""))
	}
	for _, p := range append(coordinators[:len(coordinators):len(coordinators)], workers...) {
		for _, probe := range []*corev1.Probe{p.container.StartupProbe, p.container.LivenessProbe, p.container.ReadinessProbe} {
			awaitProbe(t, ctx, p, probe)
		}
	}
	checkMetrics(t, ctx, n, coordinators[0], workers[0])

	test := start("test", "try-pupil-test", "")
	if err := <-test.ended; err != nil {
		t.Fatalf("helm test: %v\n%s", err, test.output.String())
	}

	submit(t, ctx, n, coordinators[1].listen[7070])
	for _, p := range append(workers, coordinators...) {
		n.stop(p)
	}
}

// submit gives a job as a user does who has read NOTES.txt.
func submit(t *testing.T, ctx context.Context, n *node, address string) {
	t.Helper()
	n.write(filepath.Join(n.folder, "token"), string(n.secret("try-pupil-secrets").Data["token"]))
	n.write(filepath.Join(n.folder, "ca.pem"), string(n.secret("try-pupil-worker-tls").Data["ca.crt"]))
	job := exec.CommandContext(ctx, program(t, "coordinator"), "submit", "deploy/examples/fashion.yaml", "--coordinator", "https://"+address,
		"--token-file", filepath.Join(n.folder, "token"), "--tls-ca", filepath.Join(n.folder, "ca.pem"), "--run", "one", "--min-workers", "2",
		"--set", "steps=3", "--set", "dataset.test=", "--wait")
	job.Dir = root
	if out, err := job.CombinedOutput(); err != nil {
		t.Fatalf("submit: %v\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(n.shared, "runs/one/student*"))
	if err != nil || len(found) == 0 {
		t.Errorf("the run has left no student: %v", err)
	}
}

// awaitProbe asks as Kubernetes does, until the answer is good.
func awaitProbe(t *testing.T, ctx context.Context, p *process, probe *corev1.Probe) {
	t.Helper()
	number := func(name string) string {
		for _, port := range p.container.Ports {
			if port.Name == name {
				return p.listen[port.ContainerPort]
			}
		}
		return ""
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	ask := func() error {
		if probe.TCPSocket != nil {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", number(probe.TCPSocket.Port.String()))
			if err != nil {
				return err
			}
			return c.Close()
		}
		get := probe.HTTPGet
		request, err := http.NewRequestWithContext(ctx, http.MethodGet,
			strings.ToLower(string(get.Scheme))+"://"+number(get.Port.String())+get.Path, nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", get.Path, answer.Status)
		}
		return nil
	}
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case end := <-p.ended:
			t.Fatalf("%s has ended: %v\n%s", p.pod, end, p.output.String())
		case <-ctx.Done():
			t.Fatalf("%s: %v", p.pod, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// checkMetrics reads metrics as Prometheus does: with the token, and over TLS under the names that the service monitors have.
func checkMetrics(t *testing.T, ctx context.Context, n *node, coordinator, worker *process) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(n.secret("try-pupil-worker-tls").Data["ca.crt"])
	for server, p := range map[string]*process{"try-pupil": coordinator, "try-pupil-worker": worker} {
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: server}, DisableKeepAlives: true,
		}}
		for token, want := range map[string]int{
			string(n.secret("try-pupil-secrets").Data["metrics-token"]): http.StatusOK, "guessed": http.StatusUnauthorized,
		} {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+p.listen[9090]+"/metrics", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+token)
			answer, err := client.Do(request)
			if err != nil {
				t.Errorf("metrics of %s: %v", p.pod, err)
				continue
			}
			text, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if err != nil || answer.StatusCode != want || (want == http.StatusOK) != strings.Contains(string(text), "pupil_build_info") {
				t.Errorf("metrics of %s: %s, %v", p.pod, answer.Status, err)
			}
		}
	}
}
