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

// TestOneWorkerPassword wants the password that workers get to be that in the broker's file.
func TestOneWorkerPassword(t *testing.T) {
	for name, data := range secrets(render(t, "")) {
		if password := data["worker-password"]; password != "" && !strings.Contains(data["broker.json"], `"worker": "`+password+`"`) {
			t.Errorf("%s: the broker has another password for workers", name)
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
