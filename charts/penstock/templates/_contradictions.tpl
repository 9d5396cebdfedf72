{{/*
Values that are each right and together refused: by the API server, by the program,
or by what they are for. The schema sees one at a time.
*/}}
{{- define "penstock.refuseContradictions" -}}
{{- $out := dict "wrong" list -}}
{{- range $check := list "Secrets" "Config" "Ports" "Service" "Scaling" "Budget" -}}
{{- include (printf "penstock.contradictions%s" $check) (dict "root" $ "out" $out) -}}
{{- end -}}
{{- with $out.wrong }}{{ fail (join "\n" .) }}{{ end -}}
{{- end -}}

{{/* Adds to what is wrong. Takes out and text. */}}
{{- define "penstock.wrong" -}}
{{- $_ := set .out "wrong" (append .out.wrong .text) -}}
{{- end -}}

{{- define "penstock.contradictionsSecrets" -}}
{{- $v := .root.Values -}}
{{- if and $v.secrets.secretProviderClass $v.secrets.asFiles -}}
{{- include "penstock.wrong" (dict "out" .out "text" "secrets.asFiles and secrets.secretProviderClass would both be mounted at secrets.mountPath; keep one") -}}
{{- end -}}
{{- if and (include "penstock.makesSigningSecret" .root) (not $v.adminToken.existingSecret) (eq $v.adminToken.key "CLICKFUNNELS_WEBHOOK_SECRET") -}}
{{- include "penstock.wrong" (dict "out" .out "text" "adminToken.key: CLICKFUNNELS_WEBHOOK_SECRET is the key of the signing secret in the same Secret; name another") -}}
{{- end -}}
{{- end -}}

{{- define "penstock.contradictionsConfig" -}}
{{- $c := .root.Values.config -}}
{{- if and (or $c.sinks $c.routes) (not $c.sources) -}}
{{- include "penstock.wrong" (dict "out" .out "text" "config has sinks or routes and no sources, with which no pod starts: add one under config.sources, such as clickfunnels: {kind: clickfunnels, secrets: [\"${CLICKFUNNELS_WEBHOOK_SECRET}\"]}") -}}
{{- end -}}
{{- end -}}

{{- define "penstock.contradictionsPorts" -}}
{{- $v := .root.Values -}}
{{- $ports := list "http" "admin" -}}
{{- if and (eq $v.mode "standalone") $v.standalone.subscribers.enabled }}{{ $ports = append $ports "nats" }}{{ end -}}
{{- $seen := dict -}}
{{- range $name := $ports -}}
{{- $port := get $v.ports $name | int | toString -}}
{{- with get $seen $port -}}
{{- include "penstock.wrong" (dict "out" $.out "text" (printf "ports.%s and ports.%s are both %s, at which one process cannot listen twice" . $name $port)) -}}
{{- end -}}
{{- $_ := set $seen $port $name -}}
{{- end -}}
{{- end -}}

{{/* The API server refuses fields of another type of Service. */}}
{{- define "penstock.contradictionsService" -}}
{{- $in := . -}}
{{- $s := .root.Values.service -}}
{{- range $key, $types := dict "nodePort" (list "NodePort" "LoadBalancer") "externalTrafficPolicy" (list "NodePort" "LoadBalancer") "loadBalancerClass" (list "LoadBalancer") "loadBalancerSourceRanges" (list "LoadBalancer") -}}
{{- if and (get $s $key) (not (has $s.type $types)) -}}
{{- include "penstock.wrong" (dict "out" $in.out "text" (printf "service.%s is of type %s, and service.type is %s" $key (join " or " $types) $s.type)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "penstock.contradictionsScaling" -}}
{{- $in := . -}}
{{- range $path := list "ingress.autoscaling" "router.autoscaling" "router.keda" -}}
{{- $parts := splitList "." $path -}}
{{- $a := get (get $in.root.Values (first $parts)) (last $parts) -}}
{{- if and $a.enabled (gt (int $a.minReplicas) (int $a.maxReplicas)) -}}
{{- include "penstock.wrong" (dict "out" $in.out "text" (printf "%s.minReplicas is %d, above maxReplicas %d" $path (int $a.minReplicas) (int $a.maxReplicas))) -}}
{{- end -}}
{{- end -}}
{{- range $role := list "ingress" "router" "console" -}}
{{- $rolling := (get $in.root.Values $role).strategy.rollingUpdate | default dict -}}
{{- if and (eq (toString $rolling.maxSurge | trimSuffix "%") "0") (eq (toString $rolling.maxUnavailable | trimSuffix "%") "0") -}}
{{- include "penstock.wrong" (dict "out" $in.out "text" (printf "%s.strategy.rollingUpdate: maxSurge and maxUnavailable are both 0, so that no pod could ever be replaced" $role)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A budget of the servers that lets the majority go keeps nothing. */}}
{{- define "penstock.contradictionsBudget" -}}
{{- $n := .root.Values.nats -}}
{{- $b := $n.podDisruptionBudget -}}
{{- if and (include "penstock.bundledNats" .root) $b.enabled (gt (int $n.replicas) 1) -}}
{{- $missing := toString $b.maxUnavailable -}}
{{- if hasSuffix "%" $missing -}}
{{- $missing = divf (mulf (trimSuffix "%" $missing | float64) (int $n.replicas)) 100 | ceil | int | toString -}}
{{- end -}}
{{- $spare := div (sub (int $n.replicas) 1) 2 | int -}}
{{- if gt (float64 $missing | int) $spare -}}
{{- include "penstock.wrong" (dict "out" .out "text" (printf "nats.podDisruptionBudget.maxUnavailable %v lets %s of %d servers go, and the others are no majority, without which nothing is stored: at most %d" $b.maxUnavailable $missing (int $n.replicas) $spare)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
