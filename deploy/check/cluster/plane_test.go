package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// plane is a Kubernetes control plane on loopback: each part a process, with its log in the test's folder. All end with the test.
type plane struct {
	t        *testing.T
	ctx      context.Context
	programs string // folder of the programs
	authority
	address string // of the API server
	parts   []*part

	config *rest.Config // of an administrator
	client kubernetes.Interface
}

// part is a process of the control plane.
type part struct {
	name, log string
	cmd       *exec.Cmd
	done      chan struct{}
}

// start starts etcd, the API server, the controller manager, the scheduler and kwok.
func start(ctx context.Context, t *testing.T) *plane {
	t.Helper()
	programs := os.Getenv("PUPIL_KUBERNETES")
	if programs == "" {
		t.Fatal("PUPIL_KUBERNETES names no folder with Kubernetes' programs; make e2e-k8s builds them and gives it")
	}
	p := &plane{t: t, ctx: ctx, programs: programs, authority: newAuthority(t, t.TempDir()), address: freeAddress(t)}
	t.Cleanup(p.report)
	store, own := p.etcd()
	p.apiServer(store, own)
	p.run("kube-controller-manager", "--kubeconfig="+p.kubeconfig("system:kube-controller-manager", ""),
		"--use-service-account-credentials", "--service-account-private-key-file="+filepath.Join(p.folder, "accounts.key"),
		"--root-ca-file="+p.file(), "--leader-elect=false", "--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=400",
		"--node-monitor-grace-period=10m") // a slow machine is no lost node
	p.run("kube-scheduler", "--kubeconfig="+p.kubeconfig("system:kube-scheduler", ""), "--leader-elect=false", "--secure-port=0")
	stages, err := filepath.Abs("testdata/stages.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p.run("kwok", "--kubeconfig="+p.kubeconfig("kwok", "system:masters"), "--config="+stages, "--manage-all-nodes=true",
		"--cidr=10.1.0.0/16", "--node-port=0", "--node-lease-duration-seconds=40")
	return p
}

// etcd starts etcd and returns its URL, and the certificate with which one reaches it.
func (p *plane) etcd() (clients string, own pair) {
	p.t.Helper()
	own = p.issue("etcd", "")
	clients = "https://" + freeAddress(p.t)
	peers := "https://" + freeAddress(p.t)
	// The program is called as the last element of its package.
	p.run("server", "--name=etcd", "--data-dir="+filepath.Join(p.folder, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls="+clients, "--advertise-client-urls="+clients, "--listen-peer-urls="+peers,
		"--initial-advertise-peer-urls="+peers, "--initial-cluster=etcd="+peers,
		"--client-cert-auth", "--trusted-ca-file="+p.file(), "--cert-file="+own.certificate, "--key-file="+own.key,
		"--peer-client-cert-auth", "--peer-trusted-ca-file="+p.file(), "--peer-cert-file="+own.certificate, "--peer-key-file="+own.key)
	transport, err := rest.TransportFor(&rest.Config{TLSClientConfig: rest.TLSClientConfig{
		CAFile: p.file(), CertFile: own.certificate, KeyFile: own.key,
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.await("etcd is healthy", func() error {
		request, err := http.NewRequestWithContext(p.ctx, http.MethodGet, clients+"/health", nil)
		if err != nil {
			return err
		}
		answer, err := transport.RoundTrip(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", answer.Status)
		}
		return nil
	})
	return clients, own
}

// apiServer starts the API server, makes the administrator's client and waits until it has answers.
func (p *plane) apiServer(store string, own pair) {
	p.t.Helper()
	accounts := p.writeKey("accounts", p.draw())
	server := p.issue("kube-apiserver", "")
	host, port, err := net.SplitHostPort(p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.run("kube-apiserver", "--bind-address="+host, "--advertise-address="+host, "--secure-port="+port, "--endpoint-reconciler-type=none",
		"--etcd-servers="+store, "--etcd-cafile="+p.file(), "--etcd-certfile="+own.certificate, "--etcd-keyfile="+own.key,
		"--tls-cert-file="+server.certificate, "--tls-private-key-file="+server.key, "--client-ca-file="+p.file(),
		"--authorization-mode=Node,RBAC", "--anonymous-auth=false", "--service-cluster-ip-range=10.0.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+accounts,
		"--service-account-signing-key-file="+accounts)
	if p.config, err = clientcmd.BuildConfigFromFlags("", p.kubeconfig("administrator", "system:masters")); err != nil {
		p.t.Fatal(err)
	}
	p.config.QPS, p.config.Burst = 200, 400
	if p.client, err = kubernetes.NewForConfig(p.config); err != nil {
		p.t.Fatal(err)
	}
	p.await("the API server is ready", func() error {
		_, err := p.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(p.ctx)
		return err
	})
}

// kubeconfig makes a certificate of a user, and the file with which the user reaches the API server.
func (p *plane) kubeconfig(user, group string) string {
	p.t.Helper()
	own := p.issue(user, group)
	c := api.NewConfig()
	c.Clusters["test"] = &api.Cluster{Server: "https://" + p.address, CertificateAuthority: p.file()}
	c.AuthInfos[user] = &api.AuthInfo{ClientCertificate: own.certificate, ClientKey: own.key}
	c.Contexts["test"] = &api.Context{Cluster: "test", AuthInfo: user}
	c.CurrentContext = "test"
	file := filepath.Join(p.folder, filepath.Base(user)+".kubeconfig")
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		p.t.Fatal(err)
	}
	return file
}

// environment keeps what the user of this machine has set up for Kubernetes and Helm out of it.
func (p *plane) environment() []string {
	return []string{"HOME=" + p.folder, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + p.folder}
}

// run starts a part.
func (p *plane) run(name string, args ...string) {
	p.t.Helper()
	one := &part{name: name, log: filepath.Join(p.folder, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(one.log, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	one.cmd = exec.Command(filepath.Join(p.programs, name), args...)
	one.cmd.Dir, one.cmd.Env, one.cmd.Stdout, one.cmd.Stderr = p.folder, p.environment(), log, log
	if err := one.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		defer close(one.done)
		_ = one.cmd.Wait() // report tells of its end
		_ = log.Close()
	}()
	p.parts = append(p.parts, one)
	p.t.Cleanup(func() { // the last one ends first
		_ = one.cmd.Process.Kill() // it may have ended
		<-one.done
	})
}

// await asks until the answer is good.
func (p *plane) await(what string, ask func() error) {
	p.t.Helper()
	for {
		err := ask()
		if err == nil {
			return
		}
		for _, one := range p.parts {
			select {
			case <-one.done:
				p.t.Fatalf("%s has ended (%s) before %s: %v", one.name, one.cmd.ProcessState, what, err)
			default:
			}
		}
		select {
		case <-p.ctx.Done():
			p.t.Fatalf("%s: not in time: %v", what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// report writes, of a test that has failed, the ends of the logs of all parts.
func (p *plane) report() {
	if !p.t.Failed() {
		return
	}
	const most = 30
	for _, one := range p.parts {
		text, err := os.ReadFile(one.log)
		if err != nil {
			p.t.Error(err)
		}
		lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
		p.t.Logf("--- the end of the log of %s:\n%s", one.name, bytes.Join(lines[max(0, len(lines)-most):], []byte("\n")))
	}
}

// helm runs Helm as a user and returns what it prints.
func (p *plane) helm(kubeconfig string, args ...string) string {
	p.t.Helper()
	out, err := p.tryHelm(kubeconfig, args...)
	if err != nil {
		p.t.Fatalf("%v\n%s", err, p.picture())
	}
	return out
}

func (p *plane) tryHelm(kubeconfig string, args ...string) (string, error) {
	cmd := exec.CommandContext(p.ctx, filepath.Join(p.programs, "helm"), args...)
	cmd.Env = append(p.environment(), "KUBECONFIG="+kubeconfig, "HELM_NAMESPACE="+namespace)
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("helm %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), messages.String())
	}
	return out.String(), nil
}

// freeAddress is an address of loopback that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
