{{/* Labels that select the pods. Alerts need the job `namegate`, which Prometheus takes from the first. */}}
{{- define "namegate.selector" -}}
app.kubernetes.io/name: namegate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "namegate.labels" -}}
{{ include "namegate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}
