{{/* How Penstock finds NATS and logs in. */}}

{{- define "penstock.natsName" -}}{{ include "penstock.fullname" . }}-nats{{- end -}}

{{- define "penstock.natsSecretName" -}}
{{- default (printf "%s-auth" (include "penstock.natsName" .)) .Values.nats.auth.existingSecret -}}
{{- end -}}

{{/*
The roles of the console. With all of them it knows how sinks stand and can take in
what was refused; with an external NATS that is only for a user with the rights of all.
*/}}
{{- define "penstock.consoleRoles" -}}
{{- if .Values.console.roles -}}
{{- join "," .Values.console.roles -}}
{{- else -}}
{{- include "penstock.bundledNats" . | empty | ternary "console" "ingress,router,console" -}}
{{- end -}}
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
{{- if has .role (list "test" "sender") -}}
{{- else if include "penstock.bundledNats" .root -}}
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

{{/*
What the user of some roles may do, as lists of subjects. The file is made from
what `penstock provision --print-permissions` prints. Takes root and roles.
*/}}
{{- define "penstock.natsPermissions" -}}
{{- $rights := .root.Files.Get "files/nats/permissions.yaml" | fromYaml -}}
{{- $c := include "penstock.userConfig" .root | fromYaml -}}
{{- $prefixes := list -}}
{{- $catalogue := false -}}
{{- range (default dict $c.sources) -}}
{{- if .subject_prefix }}{{ $prefixes = append $prefixes .subject_prefix }}{{ else }}{{ $catalogue = true }}{{ end -}}
{{- end -}}
{{- $names := dict "sink" (keys (default dict $c.sinks) | sortAlpha) "prefix" ($prefixes | uniq | sortAlpha) "extra" (dig "broker" "extra_roots" (list) $c) -}}
{{- $out := dict -}}
{{- range $role := .roles -}}
{{- range $way, $rules := get $rights $role -}}
{{- range $rule, $entries := $rules -}}
{{- $subjects := list -}}
{{- range $entries -}}
{{- if eq .for "root" -}}
{{- if $catalogue }}{{ $subjects = append $subjects .subject }}{{ end -}}
{{- else if .for -}}
{{- $entry := . -}}
{{- range get $names .for }}{{ $subjects = append $subjects (replace "<name>" (toString .) $entry.subject) }}{{ end -}}
{{- else -}}
{{- $subjects = append $subjects .subject -}}
{{- end -}}
{{- end -}}
{{- $of := default dict (get $out $way) -}}
{{- $_ := set $of $rule (concat (default list (get $of $rule)) $subjects | uniq) -}}
{{- $_ := set $out $way $of -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toRawJson $out -}}
{{- end -}}

{{/* The users of the bundled servers, and the roles whose rights each has. */}}
{{- define "penstock.natsUsers" -}}
ingress: [ingress]
router: [router]
console: [{{ include "penstock.consoleRoles" . }}]
provisioner: [provisioner]
backup: [backup]
{{- if .Values.nats.auth.reader }}
reader: [reader]
{{- end }}
{{- end -}}

{{- define "penstock.natsConfig" -}}
{{- $n := .Values.nats -}}
{{- $clustered := gt (int $n.replicas) 1 -}}
server_name: $POD_NAME
listen: "0.0.0.0:4222"
http: "0.0.0.0:8222"
pid_file: "/var/run/nats/nats.pid"
# What a client sends: the largest body, and its headers.
max_payload: {{ add (include "penstock.bytes" (dig "server" "max_body" "1MiB" .Values.config) | int64) 65536 }}
lame_duck_duration: "30s"
lame_duck_grace_period: "5s"
{{- with $n.tls.existingSecret }}
tls {
  cert_file: "/etc/nats-tls/tls.crt"
  key_file: "/etc/nats-tls/tls.key"
  ca_file: "/etc/nats-tls/ca.crt"
}
{{- end }}
jetstream {
  store_dir: "/data"
  max_file_store: {{ divf (mulf (float64 (include "penstock.bytes" $n.persistence.size)) 9) 10 | floor | int64 }}
  max_memory_store: 67108864
  # An answer means: on disk.
  sync_interval: always
}
{{- if $clustered }}
cluster {
  name: {{ include "penstock.natsName" . }}
  listen: "0.0.0.0:6222"
  authorization { user: cluster, password: $NATS_CLUSTER_PASSWORD, timeout: 5 }
  {{- with $n.tls.existingSecret }}
  tls {
    cert_file: "/etc/nats-tls/tls.crt"
    key_file: "/etc/nats-tls/tls.key"
    ca_file: "/etc/nats-tls/ca.crt"
    verify: true
    timeout: 5
  }
  {{- end }}
  routes: [
    {{- range $i := until (int $n.replicas) }}
    $NATS_ROUTE_{{ $i }}
    {{- end }}
  ]
}
{{- end }}
system_account: SYS
accounts {
  SYS {
    users: [ { user: system, password: $NATS_SYSTEM_PASSWORD } ]
  }
  PENSTOCK {
    jetstream: enabled
    users: [
      {{- range $user, $roles := include "penstock.natsUsers" . | fromYaml }}
      {
        user: {{ $user }}
        password: $NATS_{{ upper $user }}_PASSWORD
        permissions {
          {{- range $way, $rules := include "penstock.natsPermissions" (dict "root" $ "roles" $roles) | fromJson }}
          {{ $way }} {
            {{- range $rule, $subjects := $rules }}
            {{ $rule }}: [
              {{- range $subjects }}
              {{ toRawJson . }}
              {{- end }}
            ]
            {{- end }}
          }
          {{- end }}
        }
      }
      {{- end }}
    ]
  }
}
{{- with $n.extraConfig }}
{{ . }}
{{- end }}
{{- end -}}
