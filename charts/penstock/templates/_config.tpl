{{/* What penstock.yaml says, and the secrets that it names. */}}

{{- define "penstock.configPath" -}}/etc/penstock/penstock.yaml{{- end -}}
{{- define "penstock.natsFolder" -}}/etc/penstock-nats{{- end -}}

{{/* values.config, or with nothing in it what the quick-start has. */}}
{{- define "penstock.userConfig" -}}
{{- with .Values.config -}}
{{- if not (or .sources .sinks .routes) -}}
{{- toYaml (merge (deepCopy .) ($.Files.Get "files/quickstart.yaml" | fromYaml)) -}}
{{- else -}}
{{- toYaml . -}}
{{- end -}}
{{- else -}}
{{- .Files.Get "files/quickstart.yaml" -}}
{{- end -}}
{{- end -}}

{{/* The configuration: values.config, and what the chart decides. */}}
{{- define "penstock.config" -}}
{{- include "penstock.refuseSecretsInClear" . -}}
{{- include "penstock.refuseContradictions" . -}}
{{- $c := include "penstock.userConfig" . | fromYaml -}}
{{- $server := dict
  "listen" (printf ":%d" (int .Values.ports.http))
  "admin" (printf ":%d" (int .Values.ports.admin))
  "admin_token" "${PENSTOCK_ADMIN_TOKEN}" -}}
{{- $_ := set $c "server" (mergeOverwrite (default dict $c.server | deepCopy) $server) -}}
{{- $_ := set $c "broker" (mergeOverwrite (default dict $c.broker | deepCopy) (include "penstock.broker" . | fromYaml)) -}}
{{- toYaml $c -}}
{{- end -}}

{{- define "penstock.broker" -}}
{{- if not (include "penstock.distributed" .) -}}
data_dir: /var/lib/penstock
{{- with .Values.standalone.persistence }}
{{- $bytes := include "penstock.bytes" .size | int64 }}
{{- /* Of a small volume Penstock takes half of what is free, which is safer, but never more than 10 GiB. */}}
{{- if and .enabled (not .existingClaim) (gt $bytes 21474836480) (not (dig "broker" "max_bytes" "" $.Values.config)) }}
max_bytes: {{ divf (float64 $bytes) 2097152 | floor | int64 }}MiB
{{- end }}
{{- end }}
{{- if .Values.standalone.subscribers.enabled }}
{{- if not (dig "broker" "users" (list) .Values.config) }}
{{- fail "standalone.subscribers: without config.broker.users anybody who reaches the port could read every event; name them there, with password: ${NAME} or nkey: U..." }}
{{- end }}
listen: {{ printf ":%d" (int .Values.ports.nats) | quote }}
{{- end }}
{{- else if .Values.nats.enabled -}}
url: {{ include "penstock.natsURL" . | quote }}
replicas: {{ .Values.nats.replicas }}
{{- if not (dig "broker" "max_bytes" "" .Values.config) }}
max_bytes: {{ divf (float64 (include "penstock.bytes" .Values.nats.persistence.size)) 2097152 | floor | int64 }}MiB
{{- end }}
{{- if .Values.nats.tls.existingSecret }}
ca_file: {{ include "penstock.natsFolder" . }}/ca.crt
{{- end }}
{{- else -}}
url: {{ include "penstock.externalURL" . | quote }}
{{- with .Values.externalNats }}
{{- if eq .credentials.type "nkey" }}
nkey_file: {{ include "penstock.natsFolder" $ }}/login
{{- else if eq .credentials.type "creds" }}
creds_file: {{ include "penstock.natsFolder" $ }}/login
{{- end }}
{{- if .tls.existingSecret }}
ca_file: {{ include "penstock.natsFolder" $ }}/ca.crt
{{- if .tls.clientCertificate }}
cert_file: {{ include "penstock.natsFolder" $ }}/tls.crt
key_file: {{ include "penstock.natsFolder" $ }}/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- if not (dig "broker" "replicas" "" .Values.config) }}
replicas: 3
{{- end }}
{{- end }}
{{- end -}}

{{- define "penstock.externalURL" -}}
{{- $n := .Values.externalNats -}}
{{- if not $n.url }}{{ fail "mode: distributed needs NATS: leave nats.enabled: true, or set externalNats.url, as in tls://n1.example.com,tls://n2.example.com" }}{{ end -}}
{{- if regexMatch "://[^/@,:]*:[^$@/,][^@/,]*@" $n.url }}
{{- fail "externalNats.url holds a password in clear, which would stand in a ConfigMap: write nats://${NAME}:${PASSWORD}@host, and put both into the Secret named by secrets.existingSecret" }}
{{- end }}
{{- if regexMatch "://[^/@,:$]+@" $n.url }}
{{- fail "externalNats.url holds a token in clear, which would stand in a ConfigMap: write nats://${TOKEN}@host, and put TOKEN into the Secret named by secrets.existingSecret" }}
{{- end }}
{{- if and (ne $n.credentials.type "none") (not $n.credentials.existingSecret) }}
{{- fail (printf "externalNats.credentials.existingSecret: name the Secret that holds the %s of each role, or set externalNats.credentials.type: none" $n.credentials.type) }}
{{- end -}}
{{- if and $n.tls.clientCertificate (not $n.tls.existingSecret) }}
{{- fail "externalNats.tls.clientCertificate needs externalNats.tls.existingSecret with tls.crt and tls.key" }}
{{- end -}}
{{- $n.url -}}
{{- end -}}

{{- define "penstock.quickstartSecretName" -}}{{ include "penstock.fullname" . }}-quickstart{{- end -}}

{{/* Whether the chart makes up the signing secret. */}}
{{- define "penstock.makesSigningSecret" -}}
{{- if not (or .Values.secrets.existingSecret .Values.secrets.secretProviderClass) }}true{{ end -}}
{{- end -}}

{{/* The first source whose requests are signed: whom one can send as. */}}
{{- define "penstock.signedSource" -}}
{{- $sources := default dict (include "penstock.userConfig" . | fromYaml).sources -}}
{{- $signed := list -}}
{{- range $name := keys $sources | sortAlpha -}}
{{- $source := get $sources $name -}}
{{- if and (eq $source.kind "clickfunnels") (or $source.secrets $source.secrets_file) }}{{ $signed = append $signed $name }}{{ end -}}
{{- end -}}
{{- with $signed }}{{ first . }}{{ end -}}
{{- end -}}

{{- define "penstock.adminTokenSecretName" -}}
{{- default (include "penstock.quickstartSecretName" .) .Values.adminToken.existingSecret -}}
{{- end -}}

{{/*
One value of a Secret that the chart generates: what the cluster has, or a new
one. Takes root, secret (what lookup found) and key. It begins with a letter, so
that a NATS server reads it as text.
*/}}
{{- define "penstock.generated" -}}
{{- $have := dig "data" .key "" .secret -}}
{{- if $have -}}{{ $have }}{{- else -}}{{ printf "p%s" (randAlphaNum 39) | b64enc }}{{- end -}}
{{- end -}}

{{/*
The Secret with the variables of the configuration, for a role that reads any of
them: the provisioner reads those of the broker alone, and who only looks at an
event none. Takes root and role.
*/}}
{{- define "penstock.secretFor" -}}
{{- $v := .root.Values -}}
{{- $broker := printf "%s %s" (toYaml (default dict $v.config.broker)) $v.externalNats.url -}}
{{- if eq .role "test" -}}
{{- else if or (ne .role "provisioner") (contains "${" $broker) -}}
{{- $v.secrets.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* The secrets that a container needs of those that the chart knows. Takes root and role. */}}
{{- define "penstock.secretEnv" -}}
{{- if has .role (list "standalone" "console" "test") }}
- name: PENSTOCK_ADMIN_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ include "penstock.adminTokenSecretName" .root }}
      key: {{ .root.Values.adminToken.key }}
{{- end }}
{{- if and (has .role (list "standalone" "ingress" "console" "sender")) (include "penstock.makesSigningSecret" .root) }}
- name: CLICKFUNNELS_WEBHOOK_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ include "penstock.quickstartSecretName" .root }}
      key: CLICKFUNNELS_WEBHOOK_SECRET
{{- end }}
{{- end -}}
