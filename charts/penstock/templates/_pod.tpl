{{/* Pods: what all have in common, and those that serve. */}}

{{/*
A workload's pod settings over the common ones, as JSON: maps are merged, lists
are added to, other values replace. Takes common and own.
*/}}
{{- define "penstock.podValues" -}}
{{- $out := deepCopy .common -}}
{{- range $key, $value := .own -}}
{{- $have := get $out $key -}}
{{- if kindIs "slice" $value -}}
{{- $_ := set $out $key (concat (kindIs "slice" $have | ternary $have (list)) $value) -}}
{{- else if kindIs "map" $value -}}
{{- $_ := set $out $key (mergeOverwrite (kindIs "map" $have | ternary $have (dict)) (deepCopy $value)) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $out $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $out -}}
{{- end -}}

{{/* The metadata of a pod. Takes root, component, pod, and optionally annotations. */}}
{{- define "penstock.podMetadata" -}}
{{- /* Nothing of a version, so that a new chart alone replaces no pod. */ -}}
labels:
  {{- $own := include "penstock.selectorLabels" (dict "root" .root "component" .component) | fromYaml }}
  {{- toYaml (mergeOverwrite (deepCopy .root.Values.commonLabels) (default dict .pod.labels) (dict "app.kubernetes.io/part-of" "penstock") $own) | nindent 2 }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (default dict .annotations) (default dict .pod.annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What the spec of every pod has. Takes root, component, pod. */}}
{{- define "penstock.podSpec" -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ include "penstock.serviceAccountName" .root }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .pod.securityContext | nindent 2 }}
{{- range $key := list "priorityClassName" "runtimeClassName" }}
{{- with get $.pod $key }}
{{ $key }}: {{ . }}
{{- end }}
{{- end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "dnsConfig" }}
{{- with get $.pod $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
How the replicas of a workload are spread: as its pod settings say, or else over
zones and nodes where that is possible. Takes root, component, pod.
*/}}
{{- define "penstock.spread" -}}
topologySpreadConstraints:
{{- with .pod.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
{{- else }}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "penstock.selectorLabels" (dict "root" $.root "component" $.component) | nindent 8 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The start of a container of ours. Takes root, name, pod. */}}
{{- define "penstock.container" -}}
name: {{ .name }}
image: {{ include "penstock.image" (dict "image" .root.Values.image "version" .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- toYaml .pod.containerSecurityContext | nindent 2 }}
{{- end -}}

{{/*
Environment and mounts of a container of ours that reads the configuration.
Takes root, pod, role (whom it logs in to NATS as, and which secrets it needs),
and optionally env and mounts, lists.
*/}}
{{- define "penstock.environment" -}}
env:
  {{- include "penstock.secretEnv" . | nindent 2 }}
  {{- if and (include "penstock.bundledNats" .root) (not (has .role (list "test" "sender"))) }}
  {{- include "penstock.natsLogin" (dict "root" .root "role" .role) | nindent 2 }}
  {{- end }}
  {{- with concat (default list .env) (default list .pod.extraEnv) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $from := default list .pod.extraEnvFrom }}
{{- with include "penstock.secretFor" . }}
{{- $from = prepend $from (dict "secretRef" (dict "name" .)) }}
{{- end }}
{{- with $from }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: config
    mountPath: /etc/penstock
    readOnly: true
  - name: tmp
    mountPath: /tmp
  {{- if include "penstock.natsFiles" (dict "root" .root "role" .role) }}
  - name: nats
    mountPath: {{ include "penstock.natsFolder" . }}
    readOnly: true
  {{- end }}
  {{- if include "penstock.secretFiles" .root }}
  - name: secrets
    mountPath: {{ .root.Values.secrets.mountPath }}
    readOnly: true
  {{- end }}
  {{- with concat (default list .mounts) (default list .pod.extraVolumeMounts) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* The volumes for penstock.environment. Takes root, pod, role, and optionally volumes and configMap. */}}
{{- define "penstock.volumes" -}}
volumes:
  - name: config
    configMap:
      name: {{ default (include "penstock.fullname" .root) .configMap }}
  - name: tmp
    emptyDir:
      sizeLimit: 256Mi
  {{- with include "penstock.natsFiles" (dict "root" .root "role" .role) }}
  - name: nats
    projected:
      defaultMode: 0440
      sources:
        {{- . | nindent 8 }}
  {{- end }}
  {{- with include "penstock.secretFiles" .root }}
  - name: secrets
    {{- . | nindent 4 }}
  {{- end }}
  {{- with concat (default list .volumes) (default list .pod.extraVolumes) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Where the secrets come from that the configuration reads from files. */}}
{{- define "penstock.secretFiles" -}}
{{- with .Values.secrets -}}
{{- if .secretProviderClass -}}
csi:
  driver: secrets-store.csi.k8s.io
  readOnly: true
  volumeAttributes:
    secretProviderClass: {{ .secretProviderClass }}
{{- else if and .existingSecret .asFiles -}}
secret:
  secretName: {{ .existingSecret }}
  defaultMode: 0440
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Seconds from the first signal to the last word: preStop, the drain and a margin. Takes root, own, preStop. */}}
{{- define "penstock.gracePeriod" -}}
{{- $drain := include "penstock.seconds" (dig "server" "shutdown_timeout" "20s" .root.Values.config) | int -}}
{{- $least := add $drain .preStop -}}
{{- if kindIs "invalid" .own -}}
{{- add $least 10 -}}
{{- else if le (int .own) (int $least) -}}
{{- fail (printf "terminationGracePeriodSeconds: %d would cut off the drain: it has to be above %d, which is preStopSeconds and config.server.shutdown_timeout together; leave it out to have it derived" (int .own) (int $least)) -}}
{{- else -}}
{{- int .own -}}
{{- end -}}
{{- end -}}

{{/* The annotations by which a change of the configuration replaces pods. */}}
{{- define "penstock.checksums" -}}
{{- $c := include "penstock.config" . | fromYaml -}}
{{- if eq .Values.configReload "live" -}}
{{- $c = pick $c "server" "broker" -}}
{{- end -}}
checksum/config: {{ toYaml $c | sha256sum }}
{{- end -}}

{{/* One probe: how, and when. Takes handler and timing. */}}
{{- define "penstock.probe" -}}
{{- toYaml (mergeOverwrite (deepCopy .timing) .handler) -}}
{{- end -}}

{{/*
The pod template of a process that serves. Takes root, component, roles (none:
all), values (the workload's), http (whether it takes webhooks), preStop (whether
anybody sends it some), and optionally mounts and volumes.
*/}}
{{- define "penstock.servePod" -}}
{{- $root := .root -}}
{{- $pod := include "penstock.podValues" (dict "common" .root.Values.pod "own" .values.pod) | fromJson -}}
{{- $preStop := .preStop | ternary (int .root.Values.preStopSeconds) 0 -}}
{{- /* Where webhooks come in, that port has to answer; the admin port has the same paths. */ -}}
{{- $port := .http | ternary "http" "admin" -}}
{{- $live := dict "httpGet" (dict "path" "/healthz" "port" $port) -}}
{{- $ready := dict "httpGet" (dict "path" "/readyz" "port" $port) -}}
metadata:
  {{- include "penstock.podMetadata" (dict "root" .root "component" .component "pod" (mergeOverwrite (deepCopy $pod) (dict "labels" (merge (dict "penstock/metrics" "true") (default dict $pod.labels)))) "annotations" (include "penstock.checksums" .root | fromYaml)) | nindent 2 }}
spec:
  {{- include "penstock.podSpec" (dict "root" .root "component" .component "pod" $pod) | nindent 2 }}
  {{- if has .component (list "ingress" "router") }}
  {{- include "penstock.spread" (dict "root" .root "component" .component "pod" $pod) | nindent 2 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "penstock.gracePeriod" (dict "root" .root "own" .values.terminationGracePeriodSeconds "preStop" $preStop) }}
  {{- with $pod.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - {{ include "penstock.container" (dict "root" .root "name" "penstock" "pod" $pod) | nindent 6 | trim }}
      args:
        - serve
        - --config={{ include "penstock.configPath" . }}
        {{- with .roles }}
        - --roles={{ . }}
        {{- end }}
        - --log-format={{ .root.Values.log.format }}
        - --log-level={{ .root.Values.log.level }}
        {{- with .values.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        {{- if .http }}
        - name: http
          containerPort: {{ .root.Values.ports.http }}
        {{- end }}
        - name: admin
          containerPort: {{ .root.Values.ports.admin }}
        {{- if and (eq .component "standalone") .root.Values.standalone.subscribers.enabled }}
        - name: nats
          containerPort: {{ .root.Values.ports.nats }}
        {{- end }}
      startupProbe:
        {{- include "penstock.probe" (dict "handler" $live "timing" .root.Values.probes.startup) | nindent 8 }}
      livenessProbe:
        {{- include "penstock.probe" (dict "handler" $live "timing" .root.Values.probes.liveness) | nindent 8 }}
      readinessProbe:
        {{- include "penstock.probe" (dict "handler" $ready "timing" .root.Values.probes.readiness) | nindent 8 }}
      {{- if $preStop }}
      lifecycle:
        preStop: # until no more requests are sent here
          sleep:
            seconds: {{ $preStop }}
      {{- end }}
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      {{- include "penstock.environment" (dict "root" .root "pod" $pod "role" .component "mounts" .mounts) | nindent 6 }}
    {{- with $pod.sidecars }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- include "penstock.volumes" (dict "root" .root "pod" $pod "role" .component "volumes" .volumes) | nindent 2 }}
{{- end -}}
