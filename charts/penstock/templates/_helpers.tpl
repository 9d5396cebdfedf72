{{/* Names, labels and small conversions. */}}

{{- define "penstock.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The longest suffix of ours, with the hash of a Job, has 20 characters. */}}
{{- define "penstock.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "penstock.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "penstock.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "penstock.distributed" -}}
{{- if eq .Values.mode "distributed" }}true{{ end -}}
{{- end -}}

{{- define "penstock.bundledNats" -}}
{{- if and (eq .Values.mode "distributed") .Values.nats.enabled }}true{{ end -}}
{{- end -}}

{{/* Selector labels never change: a StatefulSet's are immutable. */}}
{{- define "penstock.selectorLabels" -}}
app.kubernetes.io/name: {{ include "penstock.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "penstock.releaseLabels" -}}
app.kubernetes.io/name: {{ include "penstock.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels of an object. Takes root, component, and optionally extra. */}}
{{- define "penstock.labels" -}}
{{- $labels := dict
  "app.kubernetes.io/name" (include "penstock.name" .root)
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/component" .component
  "app.kubernetes.io/part-of" "penstock"
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $labels = mergeOverwrite (deepCopy .root.Values.commonLabels) (deepCopy (default dict .extra)) $labels -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* The metadata of an object. Takes root, component, name, and optionally labels and annotations. */}}
{{- define "penstock.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "penstock.labels" (dict "root" .root "component" .component "extra" .labels) | nindent 2 }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (deepCopy (default dict .annotations)) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* An image by its digest, or else by its tag. Takes image and version. */}}
{{- define "penstock.image" -}}
{{- $name := .image.repository -}}
{{- with .image.registry }}{{ $name = printf "%s/%s" . $name }}{{ end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .version .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "penstock.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "penstock.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Whole seconds of a duration of penstock.yaml, such as 1h30m, 7d or 500ms; rounded up. */}}
{{- define "penstock.seconds" -}}
{{- $ms := 0 -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 -}}
{{- range regexFindAll "[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)" (toString .) -1 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $ms = addf $ms (mulf (float64 (trimSuffix $unit .)) (get $units $unit)) -}}
{{- end -}}
{{- divf $ms 1000 | ceil | int64 -}}
{{- end -}}

{{/* Bytes of a size of penstock.yaml or of a Kubernetes quantity: 1MiB, 10GB, 20Gi, 1048576. */}}
{{- define "penstock.bytes" -}}
{{- $text := toString . -}}
{{- if kindIs "float64" . }}{{ $text = toString (int64 .) }}{{ end -}}
{{- $number := regexFind "^[0-9]+(\\.[0-9]+)?" $text -}}
{{- $unit := trimPrefix $number $text | trim | upper | trimSuffix "B" -}}
{{- $factors := dict "" 1 "K" 1000 "KI" 1024 "M" 1000000 "MI" 1048576 "G" 1000000000 "GI" 1073741824 "T" 1000000000000 "TI" 1099511627776 -}}
{{- if not (hasKey $factors $unit) }}{{ fail (printf "%q is not a size: write 512Mi, 20Gi or 1MiB" $text) }}{{ end -}}
{{- mulf (float64 $number) (get $factors $unit) | int64 -}}
{{- end -}}
