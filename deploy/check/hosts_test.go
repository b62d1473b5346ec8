package check_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

var hostWithPort = regexp.MustCompile(`([a-z0-9][-a-z0-9.]*\.` + namespace + `\.svc\.[-a-z0-9.]+):(\d+)`)

// checkHosts wants every host within the cluster that a pod or a config map names to be that of a service of the release with
// that port, or of a pod of its stateful set, and the certificates of the release to be good for it.
func checkHosts(t *testing.T, r release) {
	t.Helper()
	where := map[string][]string{} // hosts that can be reached, with their ports
	sets := find[*appsv1.StatefulSet](r)
	for _, s := range find[*corev1.Service](r) {
		names := []string{s.Name}
		for _, set := range sets {
			if set.Spec.ServiceName == s.Name && s.Spec.ClusterIP == corev1.ClusterIPNone {
				for i := range *set.Spec.Replicas {
					names = append(names, fmt.Sprintf("%s-%d.%s", set.Name, i, s.Name))
				}
			}
		}
		for _, p := range s.Spec.Ports {
			for _, name := range names {
				where[name] = append(where[name], strconv.Itoa(int(p.Port)))
			}
		}
	}
	servers := serverCertificate(t, r)
	named := 0
	for _, o := range r.objects {
		if o.kind == "NetworkPolicy" {
			continue
		}
		text := o.text
		for _, set := range sets { // as Kubernetes does for each pod
			text = strings.ReplaceAll(text, "$(POD_NAME)."+set.Spec.ServiceName+".", set.Name+"-0."+set.Spec.ServiceName+".")
		}
		for _, m := range hostWithPort.FindAllStringSubmatch(text, -1) {
			named++
			short, _, _ := strings.Cut(m[1], "."+namespace+".svc.")
			if !slices.Contains(where[short], m[2]) {
				t.Errorf("%s %s names %s:%s, where nobody listens", o.kind, o.name, m[1], m[2])
			}
			if servers != nil && m[2] != "9000" {
				if err := servers.VerifyHostname(m[1]); err != nil {
					t.Errorf("%s %s: %v", o.kind, o.name, err)
				}
			}
		}
	}
	if named < 5 {
		t.Errorf("only %d hosts are named", named)
	}
	checkPeers(t, r)
}

// serverCertificate is that of coordinators, when the release makes it. All certificates must be of one authority
// and fit their keys.
func serverCertificate(t *testing.T, r release) *x509.Certificate {
	t.Helper()
	var server *x509.Certificate
	var authority string
	for _, s := range find[*corev1.Secret](r) {
		if s.Type != corev1.SecretTypeTLS {
			continue
		}
		pair, err := tls.X509KeyPair(s.Data["tls.crt"], s.Data["tls.key"])
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
			continue
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(s.Data["ca.crt"]) {
			t.Errorf("%s has no authority", s.Name)
		}
		if authority != "" && authority != string(s.Data["ca.crt"]) {
			t.Errorf("%s is of another authority", s.Name)
		}
		authority = string(s.Data["ca.crt"])
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
		if !strings.HasSuffix(s.Name, "-worker-tls") {
			server = pair.Leaf
		} else if err := pair.Leaf.VerifyHostname("localhost"); err == nil {
			t.Errorf("with the certificate %s a worker could pass for a coordinator", s.Name)
		}
	}
	if server != nil {
		for _, name := range []string{"localhost", "127.0.0.1"} { // through kubectl port-forward
			if err := server.VerifyHostname(name); err != nil {
				t.Error(err)
			}
		}
	}
	return server
}

// checkPeers wants a file for each coordinator, in which it stands among the peers or joins later.
func checkPeers(t *testing.T, r release) {
	t.Helper()
	for _, set := range find[*appsv1.StatefulSet](r) {
		if !strings.HasSuffix(set.Name, "-coordinator") {
			continue
		}
		for _, c := range find[*corev1.ConfigMap](r) {
			if c.Name != set.Name {
				continue
			}
			if len(c.Data) != int(*set.Spec.Replicas) {
				t.Errorf("%d files for %d coordinators", len(c.Data), *set.Spec.Replicas)
			}
			founders, err := strconv.Atoi(set.Annotations["pupil/founders"])
			if err != nil {
				t.Error(err)
			}
			first := "" // peers of the first
			for i := range int(*set.Spec.Replicas) {
				id := fmt.Sprintf("%s-%d", set.Name, i)
				var file struct {
					Serve struct {
						Peers     string
						NatsPeers string `yaml:"nats-peers"`
						Join      bool
					}
				}
				if err := yaml.Unmarshal([]byte(c.Data[id+".yaml"]), &file); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					first = file.Serve.Peers
				}
				peers := strings.Split(file.Serve.Peers, ",")
				if later := i >= founders; later != file.Serve.Join || later != (file.Serve.Peers == "") {
					t.Errorf("%s of %d founders has %+v", id, founders, file.Serve)
				} else if !later && (len(peers) != founders || !strings.HasPrefix(peers[i], id+"="+id+"."+set.Spec.ServiceName+".")) {
					t.Errorf("%s has the peers %s", id, peers)
				}
				var brokers []string // of those that the cluster began with
				for _, p := range strings.Split(first, ",") {
					_, address, _ := strings.Cut(p, "=")
					brokers = append(brokers, strings.Replace(address, ":7071", ":6222", 1))
				}
				want := strings.Join(brokers, ",")
				if slices.ContainsFunc(set.Spec.Template.Spec.Containers[0].Args, func(a string) bool { return strings.HasPrefix(a, "--nats=") }) {
					want = "" // they use one from outside
				}
				if file.Serve.NatsPeers != want {
					t.Errorf("%s has the brokers %q, want %q", id, file.Serve.NatsPeers, want)
				}
				for _, p := range peers {
					if _, address, ok := strings.Cut(p, "="); ok {
						if _, port, err := net.SplitHostPort(address); err != nil || port != "7071" {
							t.Errorf("%s has the peer %s", id, p)
						}
					}
				}
			}
		}
	}
}
