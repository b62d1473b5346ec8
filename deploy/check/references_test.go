package check_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// checkReferences wants everything that a pod names to be in the release with the key that it needs, or to come from
// outside, and every secret and config map of the release to be used.
func checkReferences(t *testing.T, r release, outside []string) {
	t.Helper()
	keys := map[string][]string{} // by Kind/name; those from outside have nil
	for _, name := range outside {
		keys[name] = nil
	}
	for _, o := range r.objects {
		switch v := o.value.(type) {
		case *corev1.Secret:
			keys["Secret/"+v.Name] = slices.Collect(maps.Keys(v.Data))
		case *corev1.ConfigMap:
			keys["ConfigMap/"+v.Name] = slices.Collect(maps.Keys(v.Data))
		case *corev1.ServiceAccount:
			keys["ServiceAccount/"+v.Name] = nil
			if v.AutomountServiceAccountToken == nil || *v.AutomountServiceAccountToken {
				t.Errorf("the service account %s gives tokens", v.Name)
			}
		}
	}
	used := map[string]bool{}
	need := func(at, kind, name string, wanted ...string) {
		has, ok := keys[kind+"/"+name]
		used[kind+"/"+name] = true
		if !ok {
			t.Errorf("%s: there is no %s %q", at, kind, name)
		}
		for _, key := range wanted {
			if has != nil && !slices.Contains(has, key) {
				t.Errorf("%s: %s %s has no key %s, only %s", at, kind, name, key, has)
			}
		}
	}
	for _, p := range pods(r) {
		if p.spec.ServiceAccountName != "" {
			need(p.name, "ServiceAccount", p.spec.ServiceAccountName)
		}
		for _, s := range p.spec.ImagePullSecrets {
			need(p.name, "Secret", s.Name)
		}
		for _, v := range p.spec.Volumes {
			switch {
			case v.Secret != nil:
				var items []string
				for _, i := range v.Secret.Items {
					items = append(items, i.Key)
				}
				need(p.name, "Secret", v.Secret.SecretName, items...)
			case v.ConfigMap != nil:
				need(p.name, "ConfigMap", v.ConfigMap.Name)
			case v.PersistentVolumeClaim != nil:
				need(p.name, "PersistentVolumeClaim", v.PersistentVolumeClaim.ClaimName)
			}
		}
		for _, c := range p.containers() {
			for _, e := range c.Env {
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					need(p.name, "Secret", e.ValueFrom.SecretKeyRef.Name, e.ValueFrom.SecretKeyRef.Key)
				}
			}
		}
	}
	for name := range keys {
		if !used[name] && !strings.HasSuffix(name, "-dashboard") {
			t.Errorf("nobody uses %s", name)
		}
	}
}

// checkSelectors wants each selector to find the pods that it is for, each named port to be there, and no two
// workloads to share pods.
func checkSelectors(t *testing.T, r release) {
	t.Helper()
	all := pods(r)
	matching := func(at string, selector *metav1.LabelSelector) []pod {
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		var found []pod
		for _, p := range all {
			if s.Matches(labels.Set(p.meta.Labels)) {
				found = append(found, p)
			}
		}
		if len(found) != 1 {
			t.Errorf("%s selects %d kinds of pods, not one", at, len(found))
		}
		return found
	}
	port := func(at string, among []pod, name string) {
		for _, p := range among {
			if !slices.ContainsFunc(p.containers(), func(c corev1.Container) bool {
				return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == name })
			}) {
				t.Errorf("%s: the pods of %s have no port %q", at, p.name, name)
			}
		}
	}
	for _, p := range all {
		if p.selector != nil {
			matching(p.name, p.selector)
		}
	}
	services := map[string]*corev1.Service{}
	for _, s := range find[*corev1.Service](r) {
		services[s.Name] = s
		found := matching("service "+s.Name, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		for _, p := range s.Spec.Ports {
			port("service "+s.Name, found, p.TargetPort.String())
		}
	}
	for _, s := range find[*appsv1.StatefulSet](r) {
		if service := services[s.Spec.ServiceName]; service == nil {
			t.Errorf("the stateful set %s has no service %s", s.Name, s.Spec.ServiceName)
		}
	}
	for _, b := range find[*policyv1.PodDisruptionBudget](r) {
		matching("budget "+b.Name, b.Spec.Selector)
	}
	for _, n := range find[*networkingv1.NetworkPolicy](r) {
		found := matching("network policy "+n.Name, &n.Spec.PodSelector)
		for _, rule := range n.Spec.Ingress {
			for _, p := range rule.Ports {
				port("network policy "+n.Name, found, p.Port.String())
			}
		}
	}
	for _, h := range find[*autoscalingv2.HorizontalPodAutoscaler](r) {
		target := h.Spec.ScaleTargetRef
		if !slices.ContainsFunc(all, func(p pod) bool { return p.kind == target.Kind && p.name == target.Name }) {
			t.Errorf("the autoscaler scales %s %s, which is not there", target.Kind, target.Name)
		}
	}
}
