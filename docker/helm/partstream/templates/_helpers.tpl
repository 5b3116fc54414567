{{- define "partstream.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- define "partstream.selector" -}}
app.kubernetes.io/name: partstream
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "partstream.labels" -}}
{{ include "partstream.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- define "partstream.secret" -}}
{{ .Values.existingSecret | default (include "partstream.name" .) }}
{{- end }}
