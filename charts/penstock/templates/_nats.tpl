{{/* How Penstock finds NATS and logs in. */}}

{{- define "penstock.natsName" -}}{{ include "penstock.fullname" . }}-nats{{- end -}}

{{- define "penstock.natsSecretName" -}}
{{- default (printf "%s-auth" (include "penstock.natsName" .)) .Values.nats.auth.existingSecret -}}
{{- end -}}

{{/* The name of one server. Takes root and index. */}}
{{- define "penstock.natsHost" -}}
{{- $name := include "penstock.natsName" .root -}}
{{- printf "%s-%d.%s-headless.%s.svc.%s" $name (int .index) $name .root.Release.Namespace .root.Values.clusterDomain -}}
{{- end -}}

{{/* The URL of the bundled servers; user and password are in the environment. */}}
{{- define "penstock.natsURL" -}}
{{- $urls := list -}}
{{- range $i := until (int .Values.nats.replicas) -}}
{{- $urls = append $urls (printf "%s://${PENSTOCK_NATS_USER}:${PENSTOCK_NATS_PASSWORD}@%s:4222" (empty $.Values.nats.tls.existingSecret | ternary "nats" "tls") (include "penstock.natsHost" (dict "root" $ "index" $i))) -}}
{{- end -}}
{{- join "," $urls -}}
{{- end -}}

{{/* The login of a role. Takes root and role. */}}
{{- define "penstock.natsLogin" -}}
- name: PENSTOCK_NATS_USER
  value: {{ .role }}
- name: PENSTOCK_NATS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "penstock.natsSecretName" .root }}
      key: {{ .role }}-password
{{- end -}}

{{/* What is mounted for NATS, as sources of a projected volume. Takes root and role. */}}
{{- define "penstock.natsFiles" -}}
{{- $v := .root.Values -}}
{{- if include "penstock.bundledNats" .root -}}
{{- with $v.nats.tls.existingSecret -}}
- secret:
    name: {{ . }}
    items:
      - {key: ca.crt, path: ca.crt}
{{- end -}}
{{- else if include "penstock.distributed" .root -}}
{{- with $v.externalNats.credentials -}}
{{- if ne .type "none" -}}
- secret:
    name: {{ .existingSecret }}
    items:
      - {key: {{ get .keys $.role }}, path: login}
{{ end -}}
{{- end -}}
{{- with $v.externalNats.tls -}}
{{- if .existingSecret -}}
- secret:
    name: {{ .existingSecret }}
    items:
      - {key: ca.crt, path: ca.crt}
      {{- if .clientCertificate }}
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
      {{- end }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
