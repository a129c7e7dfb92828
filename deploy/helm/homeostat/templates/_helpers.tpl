{{- define "homeostat.fullname" -}}
{{- if contains "homeostat" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-homeostat" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "homeostat.serviceAccount" -}}
{{- if .Values.serviceAccount.name }}{{ .Values.serviceAccount.name }}{{ else if .Values.serviceAccount.create }}{{ include "homeostat.fullname" . }}{{ else }}default{{ end }}
{{- end }}

{{- define "homeostat.selector" -}}
app.kubernetes.io/name: homeostat
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: daemon
{{- end }}

{{- define "homeostat.labels" -}}
app.kubernetes.io/name: homeostat
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: homeostat
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{- define "homeostat.configuration" -}}
{{- $config := deepCopy .Values.config }}
{{- if .Values.policies }}{{ $_ := set $config "policies" (merge (dict "dir" "/etc/homeostat/policies") (default dict (get $config "policies"))) }}{{ end }}
{{- if not (hasKey $config "hosts") }}{{ $name := include "homeostat.fullname" . }}{{ $_ := set $config "hosts" (list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace)) }}{{ end }}
{{- toYaml $config }}
{{- end }}

{{- /* One role and its binding. Of: root, part, doc, rules, namespace (empty: the whole cluster). Cluster-wide names tell releases apart. */ -}}
{{- define "homeostat.role" -}}
{{- $account := include "homeostat.serviceAccount" .root }}
{{- $name := printf "%s-%s" $account .part }}
{{- if not (or .namespace (eq .root.Release.Namespace $account)) }}{{ $name = printf "%s-%s" .root.Release.Namespace $name }}{{ end }}
{{- $kind := ternary "Role" "ClusterRole" (ne .namespace "") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "homeostat.labels" .root | nindent 4 }}
    app.kubernetes.io/component: rbac
  annotations:
    homeostat/grants: {{ .doc | quote }}
rules:
  {{- toYaml .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "homeostat.labels" .root | nindent 4 }}
    app.kubernetes.io/component: rbac
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $account }}
    namespace: {{ .root.Release.Namespace }}
{{ end }}
