package check_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// node runs pods of a release as processes on this machine: their files in a folder, their hosts on loopback.
type node struct {
	t       *testing.T
	folder  string
	objects map[string]object // by Kind/name
	shared  string            // what is mounted at /data
	ports   map[string]string // of 127.0.0.1, by host:port in the cluster
}

func newNode(t *testing.T, r release) *node {
	t.Helper()
	n := &node{t: t, folder: t.TempDir(), objects: map[string]object{}, ports: map[string]string{}}
	for _, o := range r.objects {
		n.objects[o.kind+"/"+o.name] = o
	}
	n.shared = filepath.Join(n.folder, "shared")
	return n
}

// address is where a host of the cluster is on this machine.
func (n *node) address(hostPort string) string {
	n.t.Helper()
	if n.ports[hostPort] == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			n.t.Fatal(err)
		}
		n.ports[hostPort] = l.Addr().String()
		if err := l.Close(); err != nil {
			n.t.Fatal(err)
		}
	}
	return n.ports[hostPort]
}

// process is a container that runs.
type process struct {
	pod       string
	container corev1.Container
	cmd       *exec.Cmd
	output    safeBuffer
	ended     chan error

	listen map[int32]string // addresses on this machine, by the container's port
}

// run starts a container of a pod. host is the pod's name in the cluster, under which others know its ports; "" for none.
func (n *node) run(p pod, c corev1.Container, name, host string) *process {
	n.t.Helper()
	proc := &process{pod: name, container: c, ended: make(chan error, 1), listen: map[int32]string{}}
	for _, port := range c.Ports {
		at := fmt.Sprintf("%s:%d", host, port.ContainerPort)
		if host == "" {
			at = fmt.Sprintf("%s.unnamed:%d", name, port.ContainerPort)
		}
		proc.listen[port.ContainerPort] = n.address(at)
	}
	env := n.environment(c, name)
	files := n.mount(p, c, name, env)
	var args []string
	for _, a := range c.Args {
		a = n.expand(a, env)
		flag, value, _ := strings.Cut(a, "=")
		for from, to := range files {
			if value == from || strings.HasPrefix(value, from+"/") {
				value = to + strings.TrimPrefix(value, from)
				break
			}
		}
		value = strings.ReplaceAll(value, "file:///data", "file://"+n.shared)
		if host, port, err := net.SplitHostPort(value); err == nil && (host == "0.0.0.0" || host == podIP) {
			number, err := strconv.Atoi(port)
			if err != nil || proc.listen[int32(number)] == "" {
				n.t.Fatalf("%s listens at %s, a port that the container does not name", name, a)
			}
			value = proc.listen[int32(number)]
		}
		if value = n.local(value); value != "" {
			flag += "=" + value
		}
		args = append(args, flag)
	}
	proc.cmd = exec.Command(program(n.t, programOf(c)), args...)
	proc.cmd.Dir = n.folder
	for key, value := range env {
		proc.cmd.Env = append(proc.cmd.Env, key+"="+value)
	}
	proc.cmd.Stdout, proc.cmd.Stderr = &proc.output, &proc.output
	if err := proc.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	go func() { proc.ended <- proc.cmd.Wait() }()
	n.t.Cleanup(func() {
		_ = proc.cmd.Process.Kill()
		if n.t.Failed() {
			n.t.Logf("%s %s\n%s", name, strings.Join(args, " "), proc.output.String())
		}
	})
	return proc
}

// stop ends a container as Kubernetes does, and wants it to end well.
func (n *node) stop(p *process) {
	n.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Errorf("%s: %v", p.pod, err)
	}
	if err := <-p.ended; err != nil {
		n.t.Errorf("%s ends with %v", p.pod, err)
	}
}

// podIP is the address of every pod: this machine's.
const podIP = "127.0.0.1"

// environment is what a container's variables become.
func (n *node) environment(c corev1.Container, name string) map[string]string {
	n.t.Helper()
	env := map[string]string{}
	for _, e := range c.Env {
		value := e.Value
		if from := e.ValueFrom; from != nil {
			switch {
			case from.SecretKeyRef != nil:
				value = string(n.secret(from.SecretKeyRef.Name).Data[from.SecretKeyRef.Key])
			case from.FieldRef != nil:
				value = map[string]string{"metadata.name": name, "status.podIP": podIP}[from.FieldRef.FieldPath]
			case from.ResourceFieldRef != nil && from.ResourceFieldRef.Resource == "limits.cpu":
				limit := c.Resources.Limits[corev1.ResourceCPU]
				limit.RoundUp(resource.Scale(0))
				value = limit.String()
			}
		}
		if value == "" {
			n.t.Errorf("%s: %s is empty", c.Name, e.Name)
		}
		if strings.HasPrefix(value, "/") {
			value = filepath.Join(n.folder, name, value)
		}
		env[e.Name] = value
	}
	return env
}

func (n *node) secret(name string) *corev1.Secret {
	n.t.Helper()
	s, ok := n.objects["Secret/"+name].value.(*corev1.Secret)
	if !ok {
		n.t.Fatalf("there is no secret %s", name)
	}
	return s
}

// mount writes the files that a container sees and returns where, by their paths in the container.
func (n *node) mount(p pod, c corev1.Container, name string, env map[string]string) map[string]string {
	n.t.Helper()
	volumes := map[string]corev1.Volume{}
	for _, v := range p.spec.Volumes {
		volumes[v.Name] = v
	}
	where := map[string]string{}
	for _, m := range c.VolumeMounts {
		to := filepath.Join(n.folder, name, m.MountPath)
		where[m.MountPath] = to
		v := volumes[m.Name]
		files := map[string]string{}
		switch {
		case v.Secret != nil:
			for key, data := range n.secret(v.Secret.SecretName).Data {
				files[key] = string(data)
			}
			if len(v.Secret.Items) > 0 {
				all := files
				files = map[string]string{}
				for _, i := range v.Secret.Items {
					files[i.Path] = all[i.Key]
				}
			}
		case v.ConfigMap != nil:
			files = n.objects["ConfigMap/"+v.ConfigMap.Name].value.(*corev1.ConfigMap).Data
		}
		if m.SubPathExpr != "" {
			n.write(to, n.local(files[n.expand(m.SubPathExpr, env)]))
			continue
		}
		if err := os.MkdirAll(to, 0o700); err != nil {
			n.t.Fatal(err)
		}
		for file, text := range files {
			n.write(filepath.Join(to, file), text)
		}
	}
	return where
}

func (n *node) write(file, text string) {
	n.t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// expand puts in the variables of a container.
func (n *node) expand(text string, env map[string]string) string {
	return expansion.ReplaceAllStringFunc(text, func(s string) string { return env[s[2:len(s)-1]] })
}

var anyHost = regexp.MustCompile(`[a-z0-9][-a-z0-9.]*\.svc\.cluster\.local:\d+`)

// local puts addresses of this machine in place of those in the cluster.
func (n *node) local(text string) string {
	return anyHost.ReplaceAllStringFunc(text, n.address)
}

// safeBuffer is what a process says, read while it still does.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
