{{/* The names of things begin with this. */}}
{{- define "pupil.name" -}}
{{- $chart := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $chart .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-%s" .Release.Name $chart | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* Labels by which selectors find a part: (list . "worker"). They never change. */}}
{{- define "pupil.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ $.Values.nameOverride | default $.Chart.Name }}
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* All labels of a part's objects. */}}
{{- define "pupil.labels" -}}
{{- $ := index . 0 -}}
{{ include "pupil.selector" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
app.kubernetes.io/part-of: pupil
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "pupil.podLabels" -}}
{{ include "pupil.labels" . }}
{{- with (index . 0).Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The image of a program: (list . "worker"). */}}
{{- define "pupil.image" -}}
{{- $ := index . 0 -}}
{{- with $.Values.image.registry -}}{{ trimSuffix "/" . }}/{{ end -}}
{{ index $.Values.image (index . 1) }}:{{ $.Values.image.tag | default $.Chart.AppVersion }}
{{- end -}}

{{- define "pupil.pod" -}}
{{- $ := index . 0 -}}
automountServiceAccountToken: false
enableServiceLinks: false # its variables would begin with PUPIL_, as those for flags do
{{- with $.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Where the pods of a part go: (list . values). */}}
{{- define "pupil.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "pupil.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Secrets: names, and the files that a part gets of them. */}}
{{- define "pupil.secret" -}}
{{ .Values.secrets.existingSecret | default (printf "%s-secrets" (include "pupil.name" .)) }}
{{- end -}}

{{- define "pupil.tlsSecret" -}}
{{ .Values.tls.existingSecret | default (printf "%s-tls" (include "pupil.name" .)) }}
{{- end -}}

{{- define "pupil.workerTLSSecret" -}}
{{- if .Values.tls.worker.existingSecret -}}{{ .Values.tls.worker.existingSecret }}
{{- else -}}{{ .Values.tls.existingSecret | default (printf "%s-worker-tls" (include "pupil.name" .)) }}
{{- end -}}
{{- end -}}

{{- define "pupil.storageSecret" -}}
{{- if eq .Values.storage.type "s3" -}}{{ .Values.storage.s3.existingSecret }}
{{- else if eq .Values.storage.type "bundled" -}}{{ .Values.storage.bundled.existingSecret | default (printf "%s-store" (include "pupil.name" .)) }}
{{- end -}}
{{- end -}}

{{/* A name within the cluster: (list . "store"). */}}
{{- define "pupil.host" -}}
{{- $ := index . 0 -}}
{{ include "pupil.name" $ }}-{{ index . 1 }}.{{ $.Release.Namespace }}.svc.{{ $.Values.clusterDomain }}
{{- end -}}

{{/* Any coordinator that is ready. */}}
{{- define "pupil.coordinatorURL" -}}
{{ ternary "https" "http" .Values.tls.enabled }}://{{ include "pupil.name" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:{{ .Values.coordinators.service.port }}
{{- end -}}

{{- define "pupil.scheme" -}}
{{ ternary "HTTPS" "HTTP" .Values.tls.enabled }}
{{- end -}}

{{- define "pupil.tlsVolume" -}}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end -}}

{{/* A volume of some keys of the secret with the tokens: (list name "secrets" "token" "metrics-token"). */}}
{{- define "pupil.secretVolume" -}}
- name: {{ index . 1 }}
  secret:
    secretName: {{ index . 0 }}
    defaultMode: 0440
    items:
{{- range slice . 2 }}
      - {key: {{ . }}, path: {{ . }}}
{{- end }}
{{- end -}}

{{/* How a process reaches the storage. */}}
{{- define "pupil.storageURL" -}}
{{- if eq .Values.storage.type "s3" -}}{{ .Values.storage.s3.url }}
{{- else if eq .Values.storage.type "volume" -}}file:///data/runs
{{- else -}}s3://pupil/runs
{{- end -}}
{{- end -}}

{{- define "pupil.storageEnv" -}}
{{- if eq .Values.storage.type "bundled" }}
- {name: PUPIL_S3_ENDPOINT, value: "http://{{ include "pupil.host" (list . "store") }}:9000"}
{{- else if eq .Values.storage.type "s3" }}
{{- with .Values.storage.s3.endpoint }}
- {name: PUPIL_S3_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- with .Values.storage.s3.region }}
- {name: PUPIL_S3_REGION, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- with include "pupil.storageSecret" . }}
- name: PUPIL_S3_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ . }}, key: access-key}}
- name: PUPIL_S3_SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ . }}, key: secret-key}}
{{- end }}
{{- end -}}

{{/* Where traces go. */}}
{{- define "pupil.tracingArgs" -}}
{{- with .Values.tracing.endpoint }}
- --trace-otlp={{ . }}
- --trace-every={{ $.Values.tracing.every }}
{{- end }}
{{- end -}}

{{- define "pupil.tracingEnv" -}}
{{- if and .Values.tracing.endpoint .Values.tracing.headers.existingSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ .Values.tracing.headers.existingSecret }}, key: {{ .Values.tracing.headers.key }}}}
{{- end }}
{{- end -}}

{{- define "pupil.dataMount" -}}
{{- if eq .Values.storage.type "volume" }}
- {name: shared, mountPath: /data}
{{- end }}
{{- end -}}

{{- define "pupil.dataVolume" -}}
{{- if eq .Values.storage.type "volume" }}
- name: shared
  persistentVolumeClaim: {claimName: {{ .Values.storage.volume.existingClaim }}}
{{- end }}
{{- end -}}

{{/* The coordinators that the cluster began with. */}}
{{- define "pupil.founders" -}}
{{- $name := printf "%s-coordinator" (include "pupil.name" .) -}}
{{- if .Values.coordinators.founders -}}{{ int .Values.coordinators.founders }}
{{- else -}}
{{- $set := lookup "apps/v1" "StatefulSet" .Release.Namespace $name | default dict -}}
{{- $metadata := $set.metadata | default dict -}}
{{- $annotations := $metadata.annotations | default dict -}}
{{- index $annotations "pupil/founders" | default (int .Values.coordinators.replicas) -}}
{{- end -}}
{{- end -}}

{{- /* "true": workers listen for each other's sums. */ -}}
{{- define "pupil.mesh" -}}
{{- $plane := .Values.coordinators.dataPlane -}}
{{- or (eq $plane "mesh") (and (eq $plane "auto") (not .Values.nats.external.url)) -}}
{{- end -}}
