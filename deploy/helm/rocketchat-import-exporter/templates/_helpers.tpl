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

{{- define "exporter.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{/* Maps as one, for example of labels: a later one overrides the earlier ones. The argument is a list of them. */}}
{{- define "exporter.merged" -}}
{{- $merged := dict -}}
{{- range . -}}
{{- range $key, $value := . -}}
{{- $_ := set $merged $key $value -}}
{{- end -}}
{{- end -}}
{{- with $merged -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* Keys of a map with their values, without the empty ones. The argument is a list: the map and the keys. */}}
{{- define "exporter.given" -}}
{{- $map := first . -}}
{{- $given := dict -}}
{{- range $key := rest . -}}
{{- with index $map $key -}}
{{- $_ := set $given $key . -}}
{{- end -}}
{{- end -}}
{{- with $given -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* The selector of the pod. It must never change, because a Deployment's selector is immutable. */}}
{{- define "exporter.selector" -}}
app.kubernetes.io/name: {{ include "exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels of the pod of `helm test`. They must differ from the exporter's, or the Service would select it. */}}
{{- define "exporter.testSelector" -}}
app.kubernetes.io/name: {{ include "exporter.name" . | trunc 58 | trimSuffix "-" }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels. The argument is a list: the root, then maps of labels. They override the chart's own, but not the selector. */}}
{{- define "exporter.labels" -}}
{{- $root := first . -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/component" "exporter"
  "app.kubernetes.io/part-of" "rocketchat"
  "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $selector := include "exporter.selector" $root | fromYaml -}}
{{- include "exporter.merged" (concat (list $own $root.Values.commonLabels) (rest .) (list $selector)) -}}
{{- end -}}

{{/* The metadata of an object. The argument is a map: `root`, and perhaps `name`, `namespace`, `labels` (a list of maps) and
`annotations`. */}}
{{- define "exporter.metadata" -}}
name: {{ .name | default (include "exporter.fullname" .root) }}
namespace: {{ .namespace | default (include "exporter.namespace" .root) }}
labels:
  {{- include "exporter.labels" (concat (list .root) (.labels | default list)) | nindent 2 }}
{{- with include "exporter.merged" (list .root.Values.commonAnnotations .annotations) }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "exporter.serviceAccount" -}}
{{- $made := .Values.serviceAccount.create | ternary (include "exporter.fullname" .) "default" -}}
{{- .Values.serviceAccount.name | default $made -}}
{{- end -}}

{{/* The name of an image. The argument is a list: the root and the values of the image. */}}
{{- define "exporter.image" -}}
{{- $root := first . -}}
{{- with index . 1 -}}
{{- $registry := ($root.Values.global).imageRegistry | default .registry -}}
{{- $registry | empty | ternary .repository (printf "%s/%s" $registry .repository) -}}
{{- .digest | empty | ternary (printf ":%s" (.tag | default $root.Chart.AppVersion)) (printf "@%s" .digest) -}}
{{- end -}}
{{- end -}}

{{/* The Secrets of the registry, given as names or as `{name: …}`. */}}
{{- define "exporter.imagePullSecrets" -}}
{{- $secrets := list -}}
{{- range concat ((.Values.global).imagePullSecrets | default list) (.Values.imagePullSecrets | default list) -}}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- with $secrets | uniq -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- define "exporter.secret" -}}
{{- .Values.secret.name | default (include "exporter.fullname" .) -}}
{{- end -}}

{{- define "exporter.secretsFolder" -}}
/run/secrets/rc-import-exporter
{{- end -}}

{{- define "exporter.webFolder" -}}
/run/secrets/rc-import-exporter-web
{{- end -}}

{{/* Where the sidecar writes what it collects. */}}
{{- define "exporter.workspacesFolder" -}}
/run/rc-import-exporter/workspaces
{{- end -}}

{{/* The addresses of the exporter, one for each shard. */}}
{{- define "exporter.addresses" -}}
{{- $service := printf "%s.%s.svc:%d" (include "exporter.fullname" .) (include "exporter.namespace" .) (int .Values.port) -}}
{{- $addresses := list $service -}}
{{- if .Values.autosharding.enabled -}}
{{- $addresses = list -}}
{{- range $index := until (int .Values.replicas) -}}
{{- $addresses = append $addresses (printf "%s-%d.%s" (include "exporter.fullname" $) $index $service) -}}
{{- end -}}
{{- end -}}
{{- $addresses | join " " -}}
{{- end -}}

{{/* The configuration file. Merging changes the first map, so this starts from copies. */}}
{{- define "exporter.config" -}}
{{- $folder := include "exporter.secretsFolder" . -}}
{{- $workspaces := dict -}}
{{- range $name, $workspace := .Values.workspaces -}}
{{- $files := dict "user_id_file" (printf "%s/%s.user-id" $folder $name) "auth_token_file" (printf "%s/%s.auth-token" $folder $name) -}}
{{- $_ := set $workspaces $name (merge $files (omit $workspace "secret")) -}}
{{- end -}}
{{- $collected := dict -}}
{{- if .Values.sidecar.enabled -}}
{{- $folder = include "exporter.workspacesFolder" . -}}
{{- $collected = dict "workspaces_files" (list (printf "%s/*.yml" $folder) (printf "%s/*.yaml" $folder))
  "user_id_file" (printf "%s/{name}.user-id" $folder) "auth_token_file" (printf "%s/{name}.auth-token" $folder) -}}
{{- end -}}
{{- $given := $workspaces | empty | ternary dict (dict "workspaces" $workspaces) -}}
{{- merge $given $collected (deepCopy .Values.config) | toYaml -}}
{{- end -}}

{{/* The sources of the volume with user ids and tokens. The release's own Secret is mounted whole, so that a new workspace needs
no new pod. Of other Secrets, only the two keys of each workspace are mounted. */}}
{{- define "exporter.secretSources" -}}
{{- $whole := .Values.existingConfigMap -}}
{{- $keys := "" -}}
{{- range $name, $workspace := .Values.workspaces -}}
{{- $secret := $workspace.secret | default dict -}}
{{- if or $.Values.secret.name $secret.name $secret.userIdKey $secret.authTokenKey -}}
{{- $keys = printf "%s\n%s" $keys (include "exporter.secretKeys" (list $ $name $secret)) -}}
{{- else -}}
{{- $whole = "yes" -}}
{{- end -}}
{{- end -}}
{{- if $whole -}}
- secret:
    name: {{ include "exporter.secret" . }}
{{- end -}}
{{- $keys -}}
{{- end -}}

{{/* The source with the two keys of a workspace. The argument is a list: the root, the workspace's name and its `secret`. */}}
{{- define "exporter.secretKeys" -}}
{{- $name := index . 1 -}}
{{- $secret := last . -}}
{{- $prefix := $secret.name | empty | ternary (printf "%s." $name) "" -}}
- secret:
    name: {{ $secret.name | default (include "exporter.secret" (first .)) }}
    items:
      - key: {{ $secret.userIdKey | default (printf "%suser-id" $prefix) | quote }}
        path: {{ printf "%s.user-id" $name | quote }}
      - key: {{ $secret.authTokenKey | default (printf "%sauth-token" $prefix) | quote }}
        path: {{ printf "%s.auth-token" $name | quote }}
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
{{- if not (or .Values.demo .Values.workspaces .Values.existingConfigMap .Values.sidecar.enabled) -}}
{{- fail "\n\nNo workspace is set. Give at least one, --set workspaces.NAME.url=https://…, or try --set demo=true." -}}
{{- end -}}
{{- if and .Values.existingConfigMap (or .Values.workspaces .Values.config .Values.sidecar.enabled) -}}
{{- fail "\n\nexistingConfigMap replaces workspaces, config and sidecar: set one or the other." -}}
{{- end -}}
{{- if and .Values.demo (or .Values.autosharding.enabled .Values.sidecar.enabled) -}}
{{- fail "\n\nThe demo has its own workspaces in one pod: do not set autosharding.enabled or sidecar.enabled." -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.autosharding.enabled) -}}
{{- fail "\n\nWith several replicas, each would poll every workspace: set autosharding.enabled, which divides them." -}}
{{- end -}}
{{- if .Values.autosharding.enabled -}}
{{- if or (ne "ClusterIP" .Values.service.type) (not (has .Values.service.clusterIP (list "" "None"))) -}}
{{- fail "\n\nautosharding needs a headless Service: leave service.type and service.clusterIP as they are." -}}
{{- end -}}
{{- if gt (len (include "exporter.fullname" .)) 52 -}}
{{- fail "\n\nThe name of a StatefulSet can have 52 characters: set fullnameOverride, or choose a shorter name for the release." -}}
{{- end -}}
{{- end -}}
{{- if and (or .Values.web.certificateSecret .Values.web.scheme .Values.web.clientCertificate) (not .Values.web.configSecret) -}}
{{- fail "\n\nOnly a web configuration file turns on TLS: set web.configSecret." -}}
{{- end -}}
{{- $scraping := list -}}
{{- range list .Values.serviceMonitor .Values.podMonitor .Values.scrapeConfig -}}
{{- $scraping = .enabled | ternary (append $scraping .) $scraping -}}
{{- end -}}
{{- if gt (len $scraping) 1 -}}
{{- fail "\n\nTwo of serviceMonitor, podMonitor and scrapeConfig scrape everything twice: enable only one of them." -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (or .Values.existingConfigMap .Values.sidecar.enabled) (not .Values.networkPolicy.to) -}}
{{- $also := .Values.sidecar.enabled | ternary ", with the port of the API server for the sidecar" "" -}}
{{- fail (printf "\n\nThe chart does not know the ports of these workspaces: set networkPolicy.to%s." $also) -}}
{{- end -}}
{{- end -}}

{{/* `http` or `https`: how the exporter is reached. */}}
{{- define "exporter.scheme" -}}
{{- .Values.web.scheme | default (.Values.web.certificateSecret | empty | ternary "http" "https") -}}
{{- end -}}

{{/* The name of the exporter in its certificate. */}}
{{- define "exporter.serverName" -}}
{{- .Values.web.serverName | default (printf "%s.%s.svc" (include "exporter.fullname" .) (include "exporter.namespace" .)) -}}
{{- end -}}

{{/* The metadata of an object of the Prometheus Operator. The argument is a list: the root, its values and perhaps its name. */}}
{{- define "exporter.monitorMetadata" -}}
{{- $monitor := index . 1 -}}
{{- $name := gt (len .) 2 | ternary (last .) "" -}}
{{- include "exporter.metadata" (dict "root" (first .) "name" $name "namespace" $monitor.namespace
  "labels" (list $monitor.labels $monitor.additionalLabels) "annotations" $monitor.annotations) -}}
{{- end -}}

{{/* What selects the targets of a ServiceMonitor or PodMonitor. The argument is a list: the root and its values. */}}
{{- define "exporter.monitorSpec" -}}
{{- $root := first . -}}
{{- with index . 1 -}}
{{ include "exporter.given" (list . "jobLabel" "targetLabels" "podTargetLabels" "sampleLimit") }}
{{- if .namespace }}
namespaceSelector:
  matchNames:
    - {{ include "exporter.namespace" $root }}
{{- end }}
selector:
  matchLabels:
    {{- include "exporter.selector" $root | nindent 4 }}
{{- end -}}
{{- end -}}

{{/* The endpoint of a ServiceMonitor or PodMonitor. The argument is a list: the root and its values. */}}
{{- define "exporter.endpoint" -}}
path: /metrics
{{- if eq "https" ((index . 1).scheme | default (include "exporter.scheme" (first .))) }}
scheme: https
{{- end }}
{{- with include "exporter.secured" . }}
{{ . }}
{{- end }}
{{- with include "exporter.given" (list (index . 1) "interval" "scrapeTimeout" "honorLabels" "relabelings" "metricRelabelings") }}
{{ . }}
{{- end }}
{{- end -}}

{{/* What both ScrapeConfigs have in common. The argument is a list: the root and their values, perhaps with relabelings. */}}
{{- define "exporter.scrape" -}}
{{- $root := first . -}}
{{- $values := index . 1 -}}
scheme: {{ $values.scheme | default (include "exporter.scheme" $root) | upper }}
{{- with $values.interval }}
scrapeInterval: {{ . }}
{{- end }}
{{- with include "exporter.given" (list $values "scrapeTimeout" "sampleLimit") }}
{{ . }}
{{- end }}
{{- with include "exporter.secured" . }}
{{ . }}
{{- end }}
relabelings:
  # The rules join the metrics of a workspace with those of its exporter by job and instance.
  - targetLabel: job
    replacement: {{ include "exporter.name" $root }}
  - targetLabel: namespace
    replacement: {{ include "exporter.namespace" $root }}
  {{- with $values.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* How Prometheus checks the certificate and logs in. The argument is a list: the root and the values of the monitor. */}}
{{- define "exporter.secured" -}}
{{- $root := first . -}}
{{- $values := index . 1 -}}
{{- $secured := pick $values "tlsConfig" "basicAuth" -}}
{{- if and (eq "https" ($values.scheme | default (include "exporter.scheme" $root))) (not $values.tlsConfig) $root.Values.web.certificateSecret -}}
{{- $authority := dict "secret" (dict "name" $root.Values.web.certificateSecret "key" "ca.crt") -}}
{{- $_ := set $secured "tlsConfig" (dict "ca" $authority "serverName" (include "exporter.serverName" $root)) -}}
{{- end -}}
{{- include "exporter.given" (list $secured "tlsConfig" "basicAuth") -}}
{{- end -}}
