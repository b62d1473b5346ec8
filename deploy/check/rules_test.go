package check_test

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// pod is the template of a workload's pods.
type pod struct {
	kind, name string
	meta       metav1.ObjectMeta
	spec       corev1.PodSpec
	selector   *metav1.LabelSelector // nil: a pod by itself
	claims     []string              // that each pod gets
}

func pods(r release) []pod {
	var all []pod
	for _, d := range find[*appsv1.Deployment](r) {
		all = append(all, pod{"Deployment", d.Name, d.Spec.Template.ObjectMeta, d.Spec.Template.Spec, d.Spec.Selector, nil})
	}
	for _, s := range find[*appsv1.StatefulSet](r) {
		p := pod{"StatefulSet", s.Name, s.Spec.Template.ObjectMeta, s.Spec.Template.Spec, s.Spec.Selector, nil}
		for _, c := range s.Spec.VolumeClaimTemplates {
			p.claims = append(p.claims, c.Name)
		}
		all = append(all, p)
	}
	for _, p := range find[*corev1.Pod](r) {
		all = append(all, pod{"Pod", p.Name, p.ObjectMeta, p.Spec, nil, nil})
	}
	return all
}

// containers are all of a pod; those that begin it come last.
func (p pod) containers() []corev1.Container {
	return append(slices.Clone(p.spec.Containers), p.spec.InitContainers...)
}

// checkNames wants names that Kubernetes takes, each once, and the common labels.
func checkNames(t *testing.T, r release) {
	t.Helper()
	seen := map[string]bool{}
	for _, o := range r.objects {
		id := o.kind + "/" + o.name
		if seen[id] {
			t.Errorf("%s is there twice", id)
		}
		seen[id] = true
		for _, fault := range validation.IsDNS1123Label(o.name) {
			t.Errorf("%s: %s", id, fault)
		}
		m, err := meta.Accessor(o.value)
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range m.GetLabels() {
			for _, fault := range append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...) {
				t.Errorf("%s: label %s: %q: %s", id, key, value, fault)
			}
		}
		for _, key := range []string{"name", "instance", "component", "version", "managed-by", "part-of"} {
			if m.GetLabels()["app.kubernetes.io/"+key] == "" {
				t.Errorf("%s has no label %s", id, key)
			}
		}
	}
}

// checkPods wants all that Kubernetes' restricted standard for pods asks for, and more.
func checkPods(t *testing.T, r release) {
	t.Helper()
	restricted, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := pods(r)
	if len(all) < 3 {
		t.Fatalf("%d pods", len(all))
	}
	for _, p := range all {
		level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
		for _, result := range restricted.EvaluatePod(level, &p.meta, &p.spec) {
			if !result.Allowed {
				t.Errorf("%s: %s: %s", p.name, result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
		if p.spec.AutomountServiceAccountToken == nil || *p.spec.AutomountServiceAccountToken {
			t.Errorf("%s gets a token for Kubernetes", p.name)
		}
		if p.spec.EnableServiceLinks == nil || *p.spec.EnableServiceLinks {
			t.Errorf("%s gets variables of services, which could pass for flags", p.name)
		}
		for i, c := range p.containers() {
			checkContainer(t, p, c, i < len(p.spec.Containers) && p.kind != "Pod")
		}
	}
}

func checkContainer(t *testing.T, p pod, c corev1.Container, lasting bool) {
	t.Helper()
	at := p.name + "/" + c.Name
	if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
		t.Errorf("%s may write to its image", at)
	}
	for _, resource := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request, limit := c.Resources.Requests[resource], c.Resources.Limits[resource]
		if request.IsZero() || limit.IsZero() || request.Cmp(limit) > 0 {
			t.Errorf("%s: %s: request %s, limit %s", at, resource, request.String(), limit.String())
		}
	}
	if i := strings.LastIndexAny(c.Image, ":@"); i < 0 || strings.HasSuffix(c.Image, ":latest") || strings.Contains(c.Image[i:], "/") {
		t.Errorf("%s: the image %s has no version", at, c.Image)
	}
	for name, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		if probe == nil {
			if lasting {
				t.Errorf("%s has no %s probe", at, name)
			}
			continue
		}
		port := ""
		switch {
		case probe.HTTPGet != nil:
			port = probe.HTTPGet.Port.String()
		case probe.TCPSocket != nil:
			port = probe.TCPSocket.Port.String()
		}
		if !slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == port }) {
			t.Errorf("%s: the %s probe asks port %q, which the container does not have", at, name, port)
		}
	}
	writable := map[string]bool{}
	for _, v := range p.spec.Volumes {
		writable[v.Name] = v.EmptyDir != nil || v.PersistentVolumeClaim != nil
	}
	for _, claim := range p.claims {
		writable[claim] = true
	}
	for _, m := range c.VolumeMounts {
		if w, ok := writable[m.Name]; !ok {
			t.Errorf("%s mounts %s, which is no volume of the pod", at, m.Name)
		} else if !w && !m.ReadOnly {
			t.Errorf("%s mounts %s to write, which is a secret or a config map", at, m.Name)
		}
	}
}
