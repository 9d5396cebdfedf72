{{/*
Secrets that stand where whoever reads the namespace reads them. Which keys of the
configuration are secret, and by what form a text is one, is in files/secrets.yaml,
which is made of what the program says.
*/}}

{{/* A ConfigMap is no place for secrets. */}}
{{- define "penstock.refuseSecretsInClear" -}}
{{- $rules := .Files.Get "files/secrets.yaml" | fromYaml -}}
{{- $out := dict "places" list -}}
{{- range $section, $value := .Values.config -}}
{{- $at := printf "config.%s" $section -}}
{{- if and $value (has $section (list "sources" "sinks")) -}}
{{- range $name, $one := $value -}}
{{- $spot := eq $section "sinks" | ternary (printf "sinks.%s" (toString (get $one "kind"))) $section -}}
{{- include "penstock.findSecrets" (dict "rules" $rules "out" $out "at" (printf "%s.%s" $at $name) "spot" $spot "value" $one) -}}
{{- end -}}
{{- else -}}
{{- include "penstock.findSecrets" (dict "rules" $rules "out" $out "at" $at "spot" $section "value" $value) -}}
{{- end -}}
{{- end -}}
{{- include "penstock.findSecrets" (dict "rules" $rules "out" $out "at" "nats.extraConfig" "spot" "" "value" .Values.nats.extraConfig) -}}
{{- with $out.places -}}
{{- fail (printf "a secret is written in clear, which would stand in a ConfigMap: %s. Write ${NAME} in its place, and put NAME into the Secret named by secrets.existingSecret; what is no secret after all may be a variable of pod.extraEnv" (join ", " .)) -}}
{{- end -}}
{{- end -}}

{{/*
Adds to out.places where a part of the configuration has a secret in clear. Takes
rules, out, at (for people), spot (as in the rules), value, and for one value also
key and chosen (whether the user chose the key).
*/}}
{{- define "penstock.findSecrets" -}}
{{- $in := . -}}
{{- if kindIs "map" .value -}}
{{- $chosen := has .spot .rules.chosen -}}
{{- range $key, $value := .value -}}
{{- $spot := $chosen | ternary $in.spot (printf "%s.%s" $in.spot $key) -}}
{{- include "penstock.findSecrets" (dict "rules" $in.rules "out" $in.out "at" (printf "%s.%s" $in.at $key) "spot" $spot "value" $value "key" $key "chosen" $chosen) -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $i, $value := .value -}}
{{- include "penstock.findSecrets" (merge (dict "at" (printf "%s[%d]" $in.at $i) "value" $value) $in) -}}
{{- end -}}
{{- else if not (kindIs "invalid" .value) -}}
{{- if include "penstock.isSecret" . -}}
{{- $_ := set .out "places" (append .out.places .at) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether one value is a secret in clear. Takes what penstock.findSecrets does. */}}
{{- define "penstock.isSecret" -}}
{{- $text := toString .value -}}
{{- $variable := "\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-([^}]*))?\\}" -}}
{{- /* What stands there without the values of variables, and what are defaults of those. */ -}}
{{- $plain := regexReplaceAll $variable $text "${2}" -}}
{{- $has := contains "${" $text -}}
{{- $default := regexReplaceAll $variable (regexFindAll $variable $text -1 | join "") "${2}" -}}
{{- $written := $has | ternary $default $plain -}}
{{- if or (regexMatch .rules.forms.tokens $plain) (include "penstock.hasLogin" (dict "form" .rules.forms.login "text" $plain)) -}}
true
{{- else if .chosen -}}
{{- if and $written (regexMatch .rules.forms.names .key) }}true{{ end -}}
{{- else if not (has .spot .rules.keys) -}}
{{- else if or (contains "://" $text) (hasSuffix "url" (default "" .key)) -}}
{{- include "penstock.isSecretURL" (dict "names" .rules.forms.names "url" $plain) -}}
{{- else if and $written (ne (printf "%s=%s" .key $text) "proxy=environment") -}}
true
{{- end -}}
{{- end -}}

{{/* Whether a text holds a URL with user and password. Takes form and text. */}}
{{- define "penstock.hasLogin" -}}
{{- range regexFindAll .form .text -1 -}}
{{- if not (contains "$" (regexReplaceAll $.form . "${1}")) }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/*
Whether a URL likely carries a token: in a query that is named for one, or as a
part of the path that nobody would choose. Takes names and url.
*/}}
{{- define "penstock.isSecretURL" -}}
{{- $url := regexReplaceAll "#.*$" .url "" -}}
{{- range splitList "&" (regexFind "\\?.*$" $url | trimPrefix "?") -}}
{{- $name := regexReplaceAll "=.*$" . "" -}}
{{- if and (regexMatch "=." .) (or (regexMatch $.names $name) (eq (lower $name) "key")) }}true{{ end -}}
{{- end -}}
{{- range splitList "/" (regexReplaceAll "^[a-z0-9+.-]+://[^/]*|\\?.*$" $url "") -}}
{{- if and (ge (len .) 20) (regexMatch "[0-9]" .) (regexMatch "\\pL" .) (lt (len (splitList "-" .)) 5) }}true{{ end -}}
{{- end -}}
{{- end -}}
