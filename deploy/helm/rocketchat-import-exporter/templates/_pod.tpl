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
  {{- if or .Values.sidecar.enabled .Values.initContainers }}
  initContainers:
    {{- if .Values.sidecar.enabled }}
    # The exporter starts when all workspaces are there.
    - name: workspaces-at-start
      {{- include "exporter.sidecar" (list . "LIST") | nindent 6 }}
    {{- end }}
    {{- with .Values.initContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: exporter
      {{- include "exporter.container" . | nindent 6 }}
    {{- if .Values.sidecar.enabled }}
    - name: workspaces
      {{- include "exporter.sidecar" (list . "SLEEP") | nindent 6 }}
    {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or (not .Values.demo) .Values.web.configSecret .Values.volumes }}
  volumes:
    {{- if not .Values.demo }}
    - name: config
      configMap:
        name: {{ .Values.existingConfigMap | default (include "exporter.fullname" .) }}
    {{- end }}
    {{- if include "exporter.hasSecrets" . }}
    # A whole folder, because a single mounted file is not updated when its Secret changes.
    - name: secrets
      projected:
        defaultMode: 0440
        sources:
          {{- include "exporter.secretSources" . | trim | nindent 10 }}
    {{- end }}
    {{- if .Values.sidecar.enabled }}
    # In memory, because it holds tokens.
    - name: workspaces
      emptyDir:
        medium: Memory
        sizeLimit: 64Mi
    # The token of the ServiceAccount, only for the sidecar.
    - name: kubernetes-api
      projected:
        defaultMode: 0440
        sources:
          - serviceAccountToken:
              path: token
              expirationSeconds: 3607
          - configMap:
              name: kube-root-ca.crt
              items:
                - key: ca.crt
                  path: ca.crt
          - downwardAPI:
              items:
                - path: namespace
                  fieldRef:
                    fieldPath: metadata.namespace
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
image: {{ include "exporter.image" (list . .Values.image) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
  {{- if .Values.demo }}
  - demo
  {{- else }}
  - --config.file=/etc/rc-import-exporter/config.yml
  - --config.auto-reload=true
  {{- end }}
  {{- if .Values.autosharding.enabled }}
  # Which of them this one is, it knows by the number at the end of its host name.
  - --shard.count={{ .Values.replicas }}
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
  {{- end }}
  {{- if include "exporter.hasSecrets" . }}
  - name: secrets
    mountPath: {{ include "exporter.secretsFolder" . }}
    readOnly: true
  {{- end }}
  {{- if .Values.sidecar.enabled }}
  - name: workspaces
    mountPath: {{ include "exporter.workspacesFolder" . }}
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

{{/* Whether the volume with user ids and tokens is needed. The sidecar has its own. */}}
{{- define "exporter.hasSecrets" -}}
{{- if and (not .Values.demo) (or .Values.workspaces .Values.existingConfigMap) -}}
yes
{{- end -}}
{{- end -}}

{{/* The container that collects workspaces, without its name. The argument is a list: the root and `LIST`, which looks once and
ends, or `SLEEP`, which looks again and again. Unlike a watch, that finds each object that was deleted. */}}
{{- define "exporter.sidecar" -}}
{{- $root := first . -}}
{{- with $root.Values.sidecar -}}
image: {{ include "exporter.image" (list $root .image) | quote }}
imagePullPolicy: {{ .image.pullPolicy }}
env:
  - name: METHOD
    value: {{ last $ }}
  - name: RESOURCE
    value: {{ .resource }}
  - name: LABEL
    value: {{ .label | quote }}
  {{- with .labelValue }}
  - name: LABEL_VALUE
    value: {{ . | quote }}
  {{- end }}
  - name: FOLDER
    value: {{ include "exporter.workspacesFolder" $root }}
  - name: DEFAULT_FILE_MODE
    value: "640"
  {{- if eq "SLEEP" (last $) }}
  - name: SLEEP_TIME
    value: {{ .interval | quote }}
  - name: IGNORE_ALREADY_PROCESSED
    value: "true"
  # Its default is 8080, which could be the exporter's.
  - name: HEALTH_PORT
    value: {{ sub $root.Values.port 1 | quote }}
  {{- end }}
{{- with .resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "exporter.securityContext" (list $root $root.Values.securityContext) }}
securityContext:
  {{- . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: workspaces
    mountPath: {{ include "exporter.workspacesFolder" $root }}
  - name: kubernetes-api
    mountPath: /var/run/secrets/kubernetes.io/serviceaccount
    readOnly: true
{{- end -}}
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
