{{/* Networks and ports. */}}

{{/* The bits of the first address of a network, as 0 and 1. Takes its text. */}}
{{- define "penstock.networkBits" -}}
{{- $address := regexReplaceAll "/.*$" . "" -}}
{{- if contains ":" $address -}}
{{- $halves := splitList "::" $address -}}
{{- $head := list -}}{{- with first $halves }}{{ $head = splitList ":" . }}{{ end -}}
{{- $tail := list -}}{{- if gt (len $halves) 1 }}{{ with last $halves }}{{ $tail = splitList ":" . }}{{ end }}{{ end -}}
{{- $words := concat $head -}}
{{- range until (sub (sub 8 (len $head)) (len $tail) | int) }}{{ $words = append $words "0" }}{{ end -}}
{{- range concat $words $tail -}}
{{- range regexFindAll "." (printf "%s%s" (repeat (sub 4 (len .) | int) "0") (lower .)) -1 -}}
{{- index (dict "0" "0000" "1" "0001" "2" "0010" "3" "0011" "4" "0100" "5" "0101" "6" "0110" "7" "0111" "8" "1000" "9" "1001" "a" "1010" "b" "1011" "c" "1100" "d" "1101" "e" "1110" "f" "1111") . -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- range splitList "." $address }}{{ printf "%08b" (int .) }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Whether one network is all of another, or within it. Takes outer and inner. */}}
{{- define "penstock.within" -}}
{{- $outer := regexReplaceAll "^.*/" .outer "" | int -}}
{{- if and (eq (contains ":" .outer) (contains ":" .inner)) (ge (regexReplaceAll "^.*/" .inner "" | int) $outer) -}}
{{- if hasPrefix (include "penstock.networkBits" .outer | trunc $outer) (include "penstock.networkBits" .inner) }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* A network without those parts of it that are never reached. Takes cidr, except, and key, for people. */}}
{{- define "penstock.ipBlock" -}}
{{- $in := . -}}
{{- $except := list -}}
{{- range .except -}}
{{- if include "penstock.within" (dict "outer" . "inner" $in.cidr) -}}
{{- fail (printf "%s: %s is within %s of networkPolicy.sinks.except, so that nothing in it may be reached: take it out of one of them" $in.key $in.cidr .) -}}
{{- end -}}
{{- if include "penstock.within" (dict "outer" $in.cidr "inner" .) }}{{ $except = append $except . }}{{ end -}}
{{- end -}}
ipBlock:
  cidr: {{ .cidr | quote }}
  {{- with $except }}
  except:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* The ports of an external NATS, with commas between them. */}}
{{- define "penstock.externalPorts" -}}
{{- if .Values.networkPolicy.externalNats.port -}}
{{- int .Values.networkPolicy.externalNats.port -}}
{{- else -}}
{{- $ports := list -}}
{{- range splitList "," .Values.externalNats.url -}}
{{- $host := regexReplaceAll "^[a-z]+://([^/]*@)?" (trim .) "" -}}
{{- $port := regexFind ":[0-9]+(/|$)" $host | trimPrefix ":" | trimSuffix "/" -}}
{{- if contains ":${" $host -}}
{{- fail "networkPolicy.externalNats.port: externalNats.url has a port that is a variable; name it here as well" -}}
{{- end -}}
{{- $ports = append $ports (default (get (dict "ws" "80" "wss" "443") (regexFind "^[a-z]+" (trim .)) | default "4222") $port) -}}
{{- end -}}
{{- $ports | uniq | join "," -}}
{{- end -}}
{{- end -}}
