{{/* The name of the application. */}}
{{- define "exporter.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the objects: release and application, or only the release if its name contains the application. */}}
{{- define "exporter.fullname" -}}
{{- $name := include "exporter.name" . -}}
{{- $both := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $both | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The selector of the pod. It must never change, because a Deployment's selector is immutable. */}}
{{- define "exporter.selector" -}}
app.kubernetes.io/name: {{ include "exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "exporter.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: exporter
app.kubernetes.io/part-of: rocketchat
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The metadata of an object. The argument is a list: the root, the object's name and its own labels. */}}
{{- define "exporter.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "exporter.labels" $root | nindent 2 }}
  {{- with index . 2 }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "exporter.serviceAccount" -}}
{{- $made := .Values.serviceAccount.create | ternary (include "exporter.fullname" .) "default" -}}
{{- .Values.serviceAccount.name | default $made -}}
{{- end -}}

{{- define "exporter.image" -}}
{{- with .Values.image -}}
{{- $tag := .tag | default $.Chart.AppVersion -}}
{{- .digest | empty | ternary (printf "%s:%s" .repository $tag) (printf "%s@%s" .repository .digest) -}}
{{- end -}}
{{- end -}}

{{- define "exporter.secret" -}}
{{- .Values.secret.name | default (include "exporter.fullname" .) -}}
{{- end -}}

{{- define "exporter.secretsFolder" -}}
/run/secrets/rc-import-exporter
{{- end -}}

{{/* The configuration file. Merging changes the first map, so this starts from copies. */}}
{{- define "exporter.config" -}}
{{- $folder := include "exporter.secretsFolder" . -}}
{{- $workspaces := dict -}}
{{- range $name, $workspace := .Values.workspaces -}}
{{- $files := dict "user_id_file" (printf "%s/%s.user-id" $folder $name) "auth_token_file" (printf "%s/%s.auth-token" $folder $name) -}}
{{- $_ := set $workspaces $name (merge $files (omit $workspace "secret")) -}}
{{- end -}}
{{- merge (dict "workspaces" $workspaces) (deepCopy .Values.config) | toYaml -}}
{{- end -}}

{{/* The sources of the volume with user ids and tokens: only the two keys of each workspace. */}}
{{- define "exporter.secretSources" -}}
{{- if .Values.existingConfigMap -}}
- secret:
    name: {{ include "exporter.secret" . }}
{{- end -}}
{{- range $name, $workspace := .Values.workspaces }}
{{- $secret := $workspace.secret | default dict }}
{{- $prefix := $secret.name | empty | ternary (printf "%s." $name) "" }}
- secret:
    name: {{ $secret.name | default (include "exporter.secret" $) }}
    items:
      - key: {{ $secret.userIdKey | default (printf "%suser-id" $prefix) | quote }}
        path: {{ printf "%s.user-id" $name | quote }}
      - key: {{ $secret.authTokenKey | default (printf "%sauth-token" $prefix) | quote }}
        path: {{ printf "%s.auth-token" $name | quote }}
{{- end -}}
{{- end -}}

{{/* The port of a URL. */}}
{{- define "exporter.urlPort" -}}
{{- $url := urlParse . -}}
{{- $given := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) -}}
{{- $given | default (eq $url.scheme "http" | ternary "80" "443") -}}
{{- end -}}

{{/* The ports that the exporter connects to: those of the proxies if there are any, else those of the workspaces' URLs. */}}
{{- define "exporter.urlPorts" -}}
{{- $ports := list -}}
{{- range .Values.workspaces -}}
{{- $ports = append $ports (include "exporter.urlPort" (.proxy_url | default $.Values.config.proxy_url | default .url)) -}}
{{- end -}}
{{- $ports | uniq | sortAlpha | join " " -}}
{{- end -}}

{{/* Refuses missing or contradictory values that the schema cannot find. */}}
{{- define "exporter.check" -}}
{{- if not (or .Values.demo .Values.workspaces .Values.existingConfigMap) -}}
{{- fail "\n\nNo workspace is set. Give at least one, --set workspaces.NAME.url=https://…, or try --set demo=true." -}}
{{- end -}}
{{- if and .Values.existingConfigMap (or .Values.workspaces .Values.config) -}}
{{- fail "\n\nexistingConfigMap replaces workspaces and config: set one or the other." -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{- fail "\n\nA ServiceMonitor and a PodMonitor together scrape everything twice: enable only one of them." -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled .Values.existingConfigMap (not .Values.networkPolicy.to) -}}
{{- fail "\n\nWith existingConfigMap the chart does not know the workspaces' ports: set networkPolicy.to." -}}
{{- end -}}
{{- end -}}

{{/* The endpoint of a ServiceMonitor or PodMonitor. */}}
{{- define "exporter.endpoint" -}}
path: /metrics
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
