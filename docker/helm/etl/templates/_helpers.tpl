{{- define "etl.labels" -}}
app.kubernetes.io/name: etl
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "etl.metadata" -}}
labels:
  {{- include "etl.labels" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "etl.image" -}}
{{- $image := index .root.Values.image .image -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end }}{{ $image }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* what every pod of ours is: no root, no rights, no token of the cluster, a root file system that nobody writes */}}
{{- define "etl.pod" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* two of one component on one host are lost together */}}
{{- define "etl.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "etl.labels" . | nindent 8 }}
{{- end }}

{{- define "etl.container" -}}
image: {{ include "etl.image" (dict "root" .root "image" (.image | default "worker")) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* variables; secrets are files of the folder that ETL_SECRETS_DIR names */}}
{{- define "etl.environment" -}}
- name: ETL_SECRETS_DIR
  value: /run/secrets/etl
- name: ETL_BIND_HOST
  value: 0.0.0.0
- name: ETL_OPEN_TO_NETWORK
  value: "true"
- name: ETL_METRICS_PORT
  value: {{ .metrics | default 0 | quote }}
{{- range $name, $value := .root.Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "etl.mounts" -}}
- name: secrets
  mountPath: /run/secrets/etl
  readOnly: true
- name: state
  mountPath: /state
- name: tmp
  mountPath: /tmp
{{- end }}

{{- define "etl.volumes" -}}
- name: secrets
  secret:
    secretName: {{ .root.Values.existingSecret }}
    defaultMode: 0440
- name: tmp
  emptyDir:
    sizeLimit: 1Gi
{{- end }}

{{- define "etl.scratch" -}}
- name: state
  emptyDir:
    sizeLimit: 1Gi
{{- end }}

{{/* whoever serves metrics is alive; who has not begun after 150 s is started anew */}}
{{- define "etl.probes" -}}
ports:
  - name: metrics
    containerPort: 9400
startupProbe:
  httpGet: {path: /metrics, port: metrics}
  periodSeconds: 5
  failureThreshold: 30
  timeoutSeconds: 5
livenessProbe:
  httpGet: {path: /metrics, port: metrics}
  periodSeconds: 20
  failureThreshold: 6
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /metrics, port: metrics}
  periodSeconds: 10
  failureThreshold: 3
  timeoutSeconds: 5
{{- end }}

{{- define "etl.scrape" -}}
annotations:
  prometheus.io/scrape: "true"
  prometheus.io/port: "9400"
{{- end }}
