package check_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestUpgradeKeeps wants what was drawn at the installation, and what Kubernetes lets nobody change, to be the same after an
// upgrade with other values, and another installation to draw anew.
func TestUpgradeKeeps(t *testing.T) {
	first := render(t, "")
	drawn := secrets(first)
	if len(drawn) != 4 {
		t.Fatalf("secrets: %v", slices.Sorted(maps.Keys(drawn)))
	}
	after := render(t, `{coordinators: {replicas: 5, dataPlane: mesh}, workers: {replicas: 9}, image: {tag: v2}, podLabels: {a: b}}`, first.objects...)
	for name, data := range secrets(after) {
		if !maps.Equal(drawn[name], data) {
			t.Errorf("the upgrade changes the secret %s", name)
		}
	}
	for i, set := range find[*appsv1.StatefulSet](after) {
		was := find[*appsv1.StatefulSet](first)[i]
		if was.Name != set.Name || was.Spec.ServiceName != set.Spec.ServiceName ||
			!maps.Equal(was.Spec.Selector.MatchLabels, set.Spec.Selector.MatchLabels) {
			t.Errorf("the upgrade changes what a stateful set keeps: %v to %v", was.Name, set.Name)
		}
		if strings.HasSuffix(set.Name, "-coordinator") && set.Annotations["pupil/founders"] != "3" {
			t.Errorf("after the upgrade from 3 to 5 coordinators, %s began the cluster", set.Annotations["pupil/founders"])
		}
	}
	for name, data := range secrets(render(t, "")) {
		for key, value := range data {
			if drawn[name][key] == value {
				t.Errorf("two installations have the same %s in %s", key, name)
			}
		}
	}
}

// TestUpgradeDraws wants an upgrade to draw what an older chart has not, and to keep the rest.
func TestUpgradeDraws(t *testing.T) {
	first := render(t, "")
	was := secrets(first)["try-pupil-secrets"]
	for _, s := range find[*corev1.Secret](first) {
		delete(s.Data, "worker-token")
	}
	now := secrets(render(t, "", first.objects...))["try-pupil-secrets"]
	if len(now["worker-token"]) < 32 || now["worker-token"] == was["worker-token"] {
		t.Errorf("the token of workers is %q, and was %q", now["worker-token"], was["worker-token"])
	}
	now["worker-token"] = was["worker-token"]
	if !maps.Equal(was, now) {
		t.Errorf("the upgrade changes %v to %v", was, now)
	}
}

// TestWorkersGetLittle wants the pods of workers to have, of the tokens and passwords, those that open the least.
func TestWorkersGetLittle(t *testing.T) {
	for _, p := range pods(render(t, "")) {
		if !strings.HasSuffix(p.name, "-worker") {
			continue
		}
		var keys []string
		for _, v := range p.spec.Volumes {
			if v.Secret == nil || v.Secret.SecretName != "try-pupil-secrets" {
				continue
			}
			if len(v.Secret.Items) == 0 {
				t.Errorf("the volume %s has all keys", v.Name)
			}
			for _, i := range v.Secret.Items {
				keys = append(keys, i.Key)
			}
		}
		for _, c := range p.containers() {
			for _, e := range c.Env {
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && e.ValueFrom.SecretKeyRef.Name == "try-pupil-secrets" {
					keys = append(keys, e.ValueFrom.SecretKeyRef.Key)
				}
			}
		}
		if slices.Sort(keys); !slices.Equal(keys, []string{"metrics-token", "worker-token"}) {
			t.Errorf("workers get %s", keys)
		}
	}
}

func secrets(r release) map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, s := range find[*corev1.Secret](r) {
		data := map[string]string{}
		for key, value := range s.Data {
			data[key] = string(value)
		}
		all[s.Name] = data
	}
	return all
}
