package cluster_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	namespace = "learning"
	chart     = "../../helm/pupil"
	nodes     = 5
)

// values are those of the release: no two coordinators share a node, and no two workers are away at the same time.
var values = []string{
	"--set=image.registry=registry.example/team", "--set=image.tag=0.1.0", "--set=coordinators.antiAffinity=required",
	"--set=workers.podDisruptionBudget.maxUnavailable=1",
}

// TestChartOnKubernetes is the life of a release: an operator who may do what the role "admin" may in one namespace installs it,
// scales it, drains nodes, upgrades it, takes the upgrade back and removes it. The namespace holds pods to Kubernetes' restricted
// standard. At no time are two coordinators away.
func TestChartOnKubernetes(t *testing.T) {
	deadline, ok := t.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Hour)
	}
	ctx, cancel := context.WithDeadline(t.Context(), deadline.Add(-time.Minute)) // to end the processes, and to report
	defer cancel()
	p := start(ctx, t)
	p.furnish()
	operator := p.operator()
	r := &release{plane: p, operator: operator}
	step := func(what string, do func()) {
		began := time.Now()
		do()
		if t.Failed() {
			t.Fatalf("%s: it has failed\n%s", what, p.picture())
		}
		t.Logf("%s: %.0f s", what, time.Since(began).Seconds())
	}
	step("the API server takes what the chart makes", r.variants)
	step("helm install", func() {
		p.helm(operator, append([]string{"install", "pupil", chart, "--wait", "--timeout=20m"}, values...)...)
		r.check(3, 2)
		r.checkBudgets()
		r.checkServices(3)
		r.checkPolicies()
	})
	drawn := r.secrets()
	away := r.watch()
	step("scale", func() {
		r.scaleWorkers(6)
		r.check(3, 6)
	})
	step("eviction", r.evictions)
	step("drain", func() {
		r.drain()
		r.check(3, 6)
	})
	step("helm upgrade", func() {
		upgrade := []string{
			"upgrade", "pupil", chart, "--reuse-values", "--set=logLevel=debug", "--set=workers.replicas=4", "--wait", "--timeout=20m",
		}
		// Helm does not take back what kubectl scale has done, unless it is told to.
		_, err := p.tryHelm(operator, upgrade...)
		if err == nil || !strings.Contains(err.Error(), `conflict with "kubectl"`) || !strings.Contains(err.Error(), ".spec.replicas") {
			t.Errorf("after kubectl scale: %v; want a conflict", err)
		}
		p.helm(operator, append(upgrade, "--force-conflicts")...)
		r.check(3, 4)
		r.checkArguments("--log-level=debug")
	})
	step("helm upgrade to five coordinators", func() {
		before := r.pods(ofPart("coordinator"))
		p.helm(operator, "upgrade", "pupil", chart, "--reuse-values", "--set=coordinators.replicas=5", "--wait", "--timeout=20m")
		r.check(5, 4)
		r.checkGrown(before, 5)
	})
	if most := away(); most != 1 {
		t.Errorf("up to %d coordinators were away at the same time, want 1", most)
	}
	step("helm rollback", func() {
		p.helm(operator, "rollback", "pupil", "1", "--wait", "--timeout=20m")
		r.check(3, 2)
		r.checkArguments("--log-level=info")
	})
	for name, data := range r.secrets() {
		if !maps.Equal(data, drawn[name]) {
			t.Errorf("upgrades and rollback have changed the secret %s", name)
		}
	}
	step("helm uninstall", func() {
		p.helm(operator, "uninstall", "pupil", "--wait", "--timeout=20m")
		r.checkLeft()
	})
}

// furnish makes nodes in three zones, disks, and the namespace.
func (p *plane) furnish() {
	p.t.Helper()
	must := func(_ any, err error) {
		p.t.Helper()
		if err != nil {
			p.t.Fatal(err)
		}
	}
	for i := range nodes {
		name := fmt.Sprintf("node-%d", i)
		must(p.client.CoreV1().Nodes().Create(p.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname: name, corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", i%3), corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		}}}, metav1.CreateOptions{}))
	}
	p.disks("1Gi", 6)
	p.disks("20Gi", 1)
	must(p.client.CoreV1().Namespaces().Create(p.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest",
	}}}, metav1.CreateOptions{}))
	must(p.client.RbacV1().RoleBindings(namespace).Create(p.ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "operator"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "operator"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
	}, metav1.CreateOptions{}))
	p.await("all nodes are ready, and the namespace has its service account", func() error {
		list, err := p.client.CoreV1().Nodes().List(p.ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, n := range list.Items {
			if len(n.Spec.Taints) > 0 || !slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
				return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
			}) {
				return fmt.Errorf("%s: taints %v, conditions %v", n.Name, n.Spec.Taints, n.Status.Conditions)
			}
		}
		_, err = p.client.CoreV1().ServiceAccounts(namespace).Get(p.ctx, "default", metav1.GetOptions{})
		return err
	})
}

// operator is the file by which somebody reaches Kubernetes who has rights in the namespace only.
func (p *plane) operator() string { return p.kubeconfig("operator", "") }

// picture is what there is in the namespace: pods, claims, and what has happened last.
func (p *plane) picture() string {
	var b strings.Builder
	pods, err := p.client.CoreV1().Pods(namespace).List(p.ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	for _, pod := range pods.Items {
		fmt.Fprintf(&b, "pod %s on %q: %s, ready %v\n", pod.Name, pod.Spec.NodeName, pod.Status.Phase, ready(&pod))
		for _, c := range pod.Status.Conditions {
			if c.Status != corev1.ConditionTrue {
				fmt.Fprintf(&b, "    %s: %s %s\n", c.Type, c.Reason, c.Message)
			}
		}
	}
	claims, err := p.client.CoreV1().PersistentVolumeClaims(namespace).List(p.ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	for _, c := range claims.Items {
		fmt.Fprintf(&b, "claim %s: %s\n", c.Name, c.Status.Phase)
	}
	events, err := p.client.CoreV1().Events(namespace).List(p.ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	for _, e := range events.Items[max(0, len(events.Items)-20):] {
		fmt.Fprintf(&b, "event %s %s: %s: %s\n", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
	}
	return b.String()
}
