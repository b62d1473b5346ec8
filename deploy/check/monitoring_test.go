package check_test

import (
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestMonitoring wants the chart to ship the dashboard and the alert rules of this tree, whole.
func TestMonitoring(t *testing.T) {
	r := render(t, `monitoring: {rules: {enabled: true}, dashboard: {enabled: true}}`)
	board := ""
	for _, c := range find[*corev1.ConfigMap](r) {
		board += c.Data["pupil.json"]
	}
	if board != string(read(t, "../grafana/pupil.json")) {
		t.Errorf("the dashboard is not that of deploy/grafana, but %.60q", board)
	}
	rules := find[*monitoringv1.PrometheusRule](r)
	if len(rules) != 1 || len(rules[0].Spec.Groups) == 0 {
		t.Fatalf("rules: %+v", rules)
	}
	alerts := 0
	for _, g := range rules[0].Spec.Groups {
		alerts += len(g.Rules)
	}
	if want := strings.Count(string(read(t, "../prometheus/pupil-alerts.yaml")), "- alert:"); alerts != want || want == 0 {
		t.Errorf("%d alerts, not %d", alerts, want)
	}
}
