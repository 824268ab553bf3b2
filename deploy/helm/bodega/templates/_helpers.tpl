{{/* Names, labels and images. */}}

{{- define "bodega.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters, so that "-inventory-service" and the controllers' hashes fit behind it. */}}
{{- define "bodega.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := include "bodega.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* (list $ component): what selects a component's pods. */}}
{{- define "bodega.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "bodega.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* (list $ component): the labels of a component's objects. */}}
{{- define "bodega.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "bodega.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: bodega
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* (list $ component): the labels of its pods; a new version of the chart alone makes no new pods. */}}
{{- define "bodega.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "bodega.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: bodega
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* (list $ component suffix): the metadata of an object; the suffix may be empty. */}}
{{- define "bodega.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "bodega.fullname" $root }}{{ with index . 2 }}-{{ . }}{{ end }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "bodega.labels" (list $root (index . 1)) | nindent 2 }}
{{- end }}

{{- define "bodega.image" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.image.registry }}{{ . }}/{{ end }}{{ with $root.Values.image.repository }}{{ . }}/{{ end }}{{ index . 1 }}:{{ default $root.Chart.AppVersion $root.Values.image.tag }}
{{- end }}

{{- define "bodega.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "bodega.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* A word that YAML may have made a boolean of: off. */}}
{{- define "bodega.word" -}}
{{- if kindIs "bool" . }}{{ ternary "on" "off" . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* (list base over): over's keys on top of base's, level by level. mergeOverwrite would skip false, 0 and "". */}}
{{- define "bodega.merged" -}}
{{- $out := dict -}}
{{- range $key, $value := index . 0 }}{{ $_ := set $out $key $value }}{{ end -}}
{{- range $key, $value := index . 1 -}}
{{- if and (kindIs "map" $value) (kindIs "map" (get $out $key)) -}}
{{- $_ := set $out $key (include "bodega.merged" (list (get $out $key) $value) | fromYaml) -}}
{{- else -}}
{{- $_ := set $out $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $out -}}
{{- end }}

{{/* The four services: ports, whom they call, what they keep. */}}
{{- define "bodega.facts" -}}
api-gateway:
  port: 8080
  http: true
  peers: [user-service, order-service, inventory-service]
  callers: []
user-service:
  port: 50051
  peers: []
  callers: [api-gateway, inventory-service, order-service]
  database: true
order-service:
  port: 50052
  peers: [user-service, inventory-service]
  callers: [api-gateway, inventory-service]
  database: true
  redis: true
inventory-service:
  port: 50053
  peers: [user-service, order-service]
  callers: [api-gateway, order-service]
  database: true
  redis: true
{{- end }}

{{/* (list $ service): its values, services.<name> on top of defaults. */}}
{{- define "bodega.of" -}}
{{- $root := index . 0 -}}
{{- include "bodega.merged" (list $root.Values.defaults (index $root.Values.services (index . 1))) -}}
{{- end }}

{{/* What Pod Security's level "restricted" asks of a container. */}}
{{- define "bodega.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
runAsNonRoot: true
{{- end }}

{{/* And of a pod; the user, who is its group too. */}}
{{- define "bodega.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "bodega.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
