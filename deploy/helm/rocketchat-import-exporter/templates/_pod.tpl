{{/* The pod of the exporter. */}}
{{- define "exporter.pod" -}}
metadata:
  labels:
    {{- include "exporter.labels" (list . .Values.podLabels) | nindent 4 }}
  annotations:
    {{- include "exporter.merged" (list (include "exporter.podAnnotations" . | fromYaml) .Values.commonAnnotations .Values.podAnnotations) | nindent 4 }}
spec:
  serviceAccountName: {{ include "exporter.serviceAccount" . }}
  automountServiceAccountToken: false
  # The exporter does not need the environment variables that Kubernetes adds for Services.
  enableServiceLinks: false
  terminationGracePeriodSeconds: 10
  {{- with include "exporter.imagePullSecrets" . }}
  imagePullSecrets:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with include "exporter.securityContext" (list . .Values.podSecurityContext) }}
  securityContext:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: exporter
      {{- include "exporter.container" . | nindent 6 }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or (not .Values.demo) .Values.web.configSecret .Values.volumes }}
  volumes:
    {{- if not .Values.demo }}
    - name: config
      configMap:
        name: {{ .Values.existingConfigMap | default (include "exporter.fullname" .) }}
    # A whole folder, because a single mounted file is not updated when its Secret changes.
    - name: secrets
      projected:
        defaultMode: 0440
        sources:
          {{- include "exporter.secretSources" . | trim | nindent 10 }}
    {{- end }}
    {{- if .Values.web.configSecret }}
    # The files of both Secrets are in one folder, so that the configuration names certificates without a path.
    - name: web
      projected:
        defaultMode: 0440
        sources:
          {{- range list .Values.web.configSecret .Values.web.certificateSecret | compact | uniq }}
          - secret:
              name: {{ . }}
          {{- end }}
    {{- end }}
    {{- with .Values.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  {{- with include "exporter.given" (list .Values "priorityClassName" "hostAliases" "dnsPolicy" "dnsConfig" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints") }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* The chart's own annotations of the pod. The exporter follows a change of its configuration file, but not of `log`. */}}
{{- define "exporter.podAnnotations" -}}
kubectl.kubernetes.io/default-container: exporter
{{- with .Values.config.log }}
checksum/log: {{ toYaml . | sha256sum }}
{{- end }}
{{- if .Values.scrapeAnnotations }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .Values.port | quote }}
prometheus.io/path: /metrics
{{- if eq "https" (include "exporter.scheme" .) }}
prometheus.io/scheme: https
{{- end }}
{{- end }}
{{- end -}}

{{/* The container, without its name. */}}
{{- define "exporter.container" -}}
image: {{ include "exporter.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
  {{- if .Values.demo }}
  - demo
  {{- else }}
  - --config.file=/etc/rc-import-exporter/config.yml
  - --config.auto-reload=true
  {{- end }}
  - --web.listen-address=:{{ .Values.port }}
  {{- if .Values.web.configSecret }}
  - --web.config.file={{ include "exporter.webFolder" . }}/{{ .Values.web.configKey }}
  {{- end }}
  {{- with .Values.externalUrl }}
  - --web.external-url={{ . }}
  {{- end }}
  {{- with .Values.extraArgs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with include "exporter.given" (list .Values "env" "envFrom") }}
{{ . }}
{{- end }}
ports:
  - name: metrics
    containerPort: {{ .Values.port }}
    protocol: TCP
{{- with .Values.startupProbe }}
startupProbe:
  {{- include "exporter.probe" (list $ . "/-/healthy") | nindent 2 }}
{{- end }}
{{- with .Values.livenessProbe }}
# Checks only that the event loop runs, so that problems of Rocket.Chat do not restart the exporter.
livenessProbe:
  {{- include "exporter.probe" (list $ . "/-/healthy") | nindent 2 }}
{{- end }}
{{- with .Values.readinessProbe }}
# Ready after the first poll of each workspace, successful or not; then always.
readinessProbe:
  {{- include "exporter.probe" (list $ . "/-/ready") | nindent 2 }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "exporter.securityContext" (list . .Values.securityContext) }}
securityContext:
  {{- . | nindent 2 }}
{{- end }}
{{- if or (not .Values.demo) .Values.web.configSecret .Values.volumeMounts }}
volumeMounts:
  {{- if not .Values.demo }}
  - name: config
    mountPath: /etc/rc-import-exporter
    readOnly: true
  - name: secrets
    mountPath: {{ include "exporter.secretsFolder" . }}
    readOnly: true
  {{- end }}
  {{- if .Values.web.configSecret }}
  - name: web
    mountPath: {{ include "exporter.webFolder" . }}
    readOnly: true
  {{- end }}
  {{- with .Values.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* A probe. The argument is a list: the root, the probe's values, and the path to ask unless they say how to probe. If the
exporter demands client certificates, Kubernetes cannot ask it anything and can only connect. */}}
{{- define "exporter.probe" -}}
{{- $root := first . -}}
{{- $probe := deepCopy (index . 1) -}}
{{- if and $root.Values.web.clientCertificate (not (or $probe.exec $probe.tcpSocket $probe.grpc $probe.httpGet)) -}}
{{- $_ := set $probe "tcpSocket" (dict "port" "metrics") -}}
{{- else if not (or $probe.exec $probe.tcpSocket $probe.grpc) -}}
{{- $https := eq "https" (include "exporter.scheme" $root) | ternary (dict "scheme" "HTTPS") dict -}}
{{- $_ := set $probe "httpGet" (merge ($probe.httpGet | default dict) (dict "path" (last .) "port" "metrics") $https) -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}

{{/* A security context. On OpenShift without users and groups, which it chooses itself. The argument is a list: the root and
the values. */}}
{{- define "exporter.securityContext" -}}
{{- $root := first . -}}
{{- $context := index . 1 | default dict -}}
{{- $present := $root.Capabilities.APIVersions.Has "security.openshift.io/v1" | ternary "true" "false" -}}
{{- if eq "true" (eq "auto" (toString $root.Values.openshift) | ternary $present (toString $root.Values.openshift)) -}}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" -}}
{{- end -}}
{{- with $context -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
