package check_test

import "testing"

// matrix are values that users give. Each has what it needs from outside of the release.
var matrix = []struct {
	name, values string
	outside      []string // "Secret/name" and so on
}{
	{name: "default"},
	{name: "one", values: `coordinators: {replicas: 1, antiAffinity: none, podDisruptionBudget: false}`},
	{name: "five", values: `coordinators: {replicas: 5, antiAffinity: required, dataPlane: mesh}`},
	{name: "grown", values: `coordinators: {replicas: 5, founders: 3}`},
	{name: "names", values: `{fullnameOverride: faces, clusterDomain: example.internal, podLabels: {team: vision}, podAnnotations: {a: b},
  image: {registry: registry.example/team, tag: v9, pullPolicy: Always, pullSecrets: [puller]}}`, outside: []string{"Secret/puller"}},
	{name: "named", values: `nameOverride: images`},
	{
		name: "S3", values: `storage: {type: s3, s3: {url: "s3://bucket/pupil", endpoint: "https://store.example:9000", region: here, existingSecret: keys}}`,
		outside: []string{"Secret/keys"},
	},
	{name: "S3 by role", values: `{storage: {type: s3, s3: {url: "s3://bucket"}}, workers: {serviceAccount: {annotations: {role: reader}}},
  coordinators: {serviceAccount: {annotations: {role: writer}}}}`},
	{name: "volume", values: `storage: {type: volume, volume: {existingClaim: shared}}`, outside: []string{"PersistentVolumeClaim/shared"}},
	{name: "store", values: `storage: {bundled: {existingSecret: keys, className: fast}}`, outside: []string{"Secret/keys"}},
	{
		name: "own secrets", values: `{secrets: {existingSecret: mine}, tls: {existingSecret: hosts, worker: {existingSecret: guests}}}`,
		outside: []string{"Secret/mine", "Secret/hosts", "Secret/guests"},
	},
	{name: "one certificate", values: `tls: {existingSecret: hosts}`, outside: []string{"Secret/hosts"}},
	{name: "plain", values: `{tls: {enabled: false}, networkPolicy: {enabled: false}}`},
	{name: "external NATS", values: `nats: {external: {url: "tls://nats.example:4222", existingSecret: nats}}`, outside: []string{"Secret/nats"}},
	{name: "StatefulSet", values: `workers: {kind: StatefulSet, replicas: 7, cache: {persistent: true, className: fast}, threads: 3}`},
	{name: "StatefulSet without a cache", values: `workers: {kind: StatefulSet, cache: {sizeGB: 0}, podDisruptionBudget: {maxUnavailable: 0}}`},
	{name: "spot", values: `workers: {spot: true, graceSeconds: 20, tolerations: [{key: mine, operator: Exists}],
  podDisruptionBudget: {maxUnavailable: 25%}, autoscaling: {enabled: true, maxReplicas: 40}}`},
	{name: "mesh, no metrics from outside", values: `{coordinators: {dataPlane: mesh}, networkPolicy: {metricsFrom: [], commandsFrom: [{namespaceSelector: {}}]}}`},
	{name: "monitored", values: `monitoring: {serviceMonitor: {enabled: true, labels: {a: b}}, rules: {enabled: true}, dashboard: {enabled: true}}`},
	{
		name: "traced", values: `tracing: {endpoint: "https://collector.example:443/v1/traces", every: 10, headers: {existingSecret: keys}, ports: [443]}`,
		outside: []string{"Secret/keys"},
	},
	{name: "monitored in plain", values: `{tls: {enabled: false}, monitoring: {serviceMonitor: {enabled: true}}}`},
	{name: "placed", values: `{coordinators: {nodeSelector: {a: b}, priorityClassName: high, tolerations: [{operator: Exists}], extraEnv: [{name: X, value: y}],
    extraArgs: [--log-level=debug], affinity: {nodeAffinity: {}}, service: {type: LoadBalancer, port: 443, annotations: {a: b}}},
  workers: {nodeSelector: {a: b}, priorityClassName: low, affinity: {nodeAffinity: {}}, extraEnv: [{name: X, value: y}], extraArgs: [--kernel=avx2],
    topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {}}]}}`},
}

// TestChart holds every object that the chart can make to the rules.
func TestChart(t *testing.T) {
	for _, c := range matrix {
		t.Run(c.name, func(t *testing.T) {
			r := render(t, c.values)
			if len(r.objects) < 10 || r.notes == "" {
				t.Fatalf("%d objects, notes %q", len(r.objects), r.notes)
			}
			checkNames(t, r)
			checkPods(t, r)
			checkReferences(t, r, c.outside)
			checkSelectors(t, r)
			checkPrograms(t, r)
			checkHosts(t, r)
		})
	}
}
