{{/* What the services read: their settings, otel.yaml, and the Secrets behind them. */}}

{{- define "bodega.databaseSecret" -}}
{{- $own := printf "%s-database" (include "bodega.fullname" .) -}}
{{- if eq .Values.database.mode "cnpg" }}{{ default (printf "%s-postgres-app" (include "bodega.fullname" .)) .Values.database.existingSecret }}
{{- else if eq .Values.database.mode "external" }}{{ required "database.existingSecret must be set with database.mode external: a Secret with the password" .Values.database.existingSecret }}
{{- else }}{{ default $own .Values.database.existingSecret }}{{ end }}
{{- end }}

{{- define "bodega.databaseHost" -}}
{{- if eq .Values.database.mode "external" }}{{ required "database.external.host must be set with database.mode external" .Values.database.external.host }}
{{- else }}{{ include "bodega.fullname" . }}-postgres{{ if eq .Values.database.mode "cnpg" }}-rw{{ end }}{{ end }}
{{- end }}

{{- define "bodega.databasePort" -}}
{{- if eq .Values.database.mode "external" }}{{ .Values.database.external.port }}{{ else }}5432{{ end }}
{{- end }}

{{/* Secret and key of the authority that the database's certificate comes from, as "name key"; or nothing. */}}
{{- define "bodega.databaseAuthority" -}}
{{- if eq .Values.database.mode "cnpg" }}{{ include "bodega.fullname" . }}-postgres-ca ca.crt
{{- else if and (eq .Values.database.mode "external") .Values.database.external.caSecret.name }}
{{- .Values.database.external.caSecret.name }} {{ .Values.database.external.caSecret.key }}
{{- end }}
{{- end }}

{{- define "bodega.databaseUrl" -}}
{{- $mode := "disable" -}}
{{- if eq .Values.database.mode "cnpg" }}{{ $mode = "verify-full" }}{{ else if eq .Values.database.mode "external" }}{{ $mode = .Values.database.external.sslmode }}{{ end -}}
postgres://{{ .Values.database.user }}@{{ include "bodega.databaseHost" . }}:{{ include "bodega.databasePort" . }}/{{ .Values.database.name }}?sslmode={{ $mode }}
{{- if include "bodega.databaseAuthority" . }}&sslrootcert=/etc/bodega/secrets/database-ca/ca.crt{{ else if hasPrefix "verify-" $mode }}&sslrootcert=/etc/ssl/certs/ca-certificates.crt{{ end }}
{{- end }}

{{- define "bodega.redisSecret" -}}
{{- if .Values.redis.existingSecret }}{{ .Values.redis.existingSecret }}
{{- else if eq .Values.redis.mode "bundled" }}{{ include "bodega.fullname" . }}-redis{{ end }}
{{- end }}

{{- define "bodega.redisHost" -}}
{{- if eq .Values.redis.mode "external" }}{{ required "redis.external.host must be set with redis.mode external" .Values.redis.external.host }}
{{- else }}{{ include "bodega.fullname" . }}-redis{{ end }}
{{- end }}

{{- define "bodega.redisPort" -}}
{{- if eq .Values.redis.mode "external" }}{{ .Values.redis.external.port }}{{ else }}6379{{ end }}
{{- end }}

{{- define "bodega.redisUrl" -}}
{{- if eq .Values.redis.mode "external" -}}
{{- with .Values.redis.external -}}
redis{{ if .tls.enabled }}s{{ end }}://{{ with .user }}{{ . }}@{{ end }}{{ include "bodega.redisHost" $ }}:{{ .port }}/{{ .database }}
{{- end -}}
{{- else -}}
redis://{{ include "bodega.redisHost" . }}:6379/0
{{- end -}}
{{- end }}

{{- define "bodega.keysSecret" -}}
{{- default (printf "%s-auth-keys" (include "bodega.fullname" .)) .Values.auth.keys.existingSecret }}
{{- end }}

{{- define "bodega.adminSecret" -}}
{{- default (printf "%s-admin" (include "bodega.fullname" .)) .Values.auth.bootstrapAdmin.existingSecret }}
{{- end }}

{{- define "bodega.mutual" -}}
{{- if eq (include "bodega.word" .Values.tls.mode) "mutual" }}yes{{ end }}
{{- end }}

{{/* (list $ service) */}}
{{- define "bodega.certificateSecret" -}}
{{- $root := index . 0 -}}{{- $service := index . 1 -}}
{{- if eq $root.Values.tls.source "secrets" }}
{{- required (printf "tls.secrets.%s must be set with tls.source secrets" $service) (index $root.Values.tls.secrets $service) }}
{{- else }}{{ include "bodega.fullname" $root }}-{{ $service }}-tls{{ end }}
{{- end }}

{{/* (list $ service): its settings file. */}}
{{- define "bodega.settings" -}}
{{- $root := index . 0 -}}{{- $service := index . 1 -}}
{{- $facts := index (include "bodega.facts" $root | fromYaml) $service -}}
{{- $built := include "bodega.builtSettings" (list $root $service $facts) | fromYaml -}}
{{- include "bodega.merged" (list $built (include "bodega.of" . | fromYaml).settings) -}}
{{- end }}

{{- define "bodega.builtSettings" -}}
{{- $root := index . 0 -}}{{- $service := index . 1 -}}{{- $facts := index . 2 -}}
{{- $fullname := include "bodega.fullname" $root -}}
{{- if $facts.http }}
http:
  listen: 0.0.0.0:{{ $facts.port }}
{{- else }}
rpc:
  listen: 0.0.0.0:{{ $facts.port }}
  # Connections are made anew now and then, so that new pods get their share.
  connection_age_ms: 60000
{{- end }}
{{- with $facts.peers }}
peers:
  {{- range . }}
  {{ . }}: {{ $fullname }}-{{ . }}:{{ (index (include "bodega.facts" $root | fromYaml) .).port }}
  {{- end }}
{{- end }}
tls:
  mode: {{ include "bodega.word" $root.Values.tls.mode | quote }}
  {{- if include "bodega.mutual" $root }}
  cert_file: /etc/bodega/secrets/tls/tls.crt
  key_file: /etc/bodega/secrets/tls/tls.key
  ca_file: /etc/bodega/secrets/tls/ca.crt
  {{- with $facts.callers }}
  allow: {{ join "," . }}
  {{- end }}
  {{- end }}
auth:
  mode: {{ include "bodega.word" $root.Values.auth.mode | quote }}
  {{- if eq $service "user-service" }}
  keys_dir: /etc/bodega/secrets/auth-keys
  {{- with $root.Values.auth.keys.signingKey }}
  signing_key: {{ . | quote }}
  {{- end }}
  {{- with $root.Values.auth.bootstrapAdmin.email }}
  bootstrap_admin:
    email: {{ . | quote }}
    password_file: /etc/bodega/secrets/admin/password
  {{- end }}
  {{- end }}
{{- if $facts.database }}
database:
  url: {{ include "bodega.databaseUrl" $root | quote }}
  password_file: /etc/bodega/secrets/database/password
{{- end }}
{{- if $facts.redis }}
redis:
  url: {{ include "bodega.redisUrl" $root | quote }}
  {{- if include "bodega.redisSecret" $root }}
  password_file: /etc/bodega/secrets/redis/password
  {{- end }}
  {{- if eq $root.Values.redis.mode "bundled" }}
  length_max: {{ $root.Values.redis.bundled.streamLength | int64 }}
  {{- else if and $root.Values.redis.external.tls.enabled $root.Values.redis.external.tls.caSecret.name }}
  tls:
    ca_file: /etc/bodega/secrets/redis-ca/ca.crt
  {{- end }}
{{- end }}
{{- end }}

{{/* otel.yaml, the same for all four: what differs comes from the environment. */}}
{{- define "bodega.otel" -}}
{{- include "bodega.merged" (list (include "bodega.builtOtel" . | fromYaml) .Values.telemetry.config) -}}
{{- end }}

{{- define "bodega.builtOtel" -}}
{{- $endpoint := ternary .Values.telemetry.endpoint "http://127.0.0.1:4317" (eq .Values.collector.mode "none") -}}
file_format: "1.0"
log_level: {{ .Values.telemetry.logLevel }}
resource:
  detection/development:
    detectors:
      - service:
      - host:
      - process:
      - container:
  attributes:
    - name: service.namespace
      value: {{ .Release.Name | quote }}
    - name: k8s.namespace.name
      value: ${K8S_NAMESPACE_NAME}
    - name: k8s.pod.name
      value: ${K8S_POD_NAME}
    - name: k8s.pod.uid
      value: ${K8S_POD_UID}
    - name: k8s.node.name
      value: ${K8S_NODE_NAME}
    - name: k8s.deployment.name
      value: ${K8S_DEPLOYMENT_NAME}
    - name: k8s.container.name
      value: ${K8S_CONTAINER_NAME}
    {{- range $name, $value := .Values.telemetry.resourceAttributes }}
    - name: {{ $name | quote }}
      value: {{ $value | toString | replace "$" "$$" | quote }}
    {{- end }}
propagator:
  composite:
    - tracecontext:
    - baggage:
{{- if not $endpoint }}
disabled: true
{{- else }}
tracer_provider:
  sampler:
    parent_based:
      root:
        trace_id_ratio_based:
          ratio: {{ .Values.telemetry.samplingRatio }}
  processors:
    - batch:
        schedule_delay: 1000
        exporter:
          otlp_grpc:
            endpoint: {{ $endpoint }}
            timeout: 30000
meter_provider:
  readers:
    - periodic:
        interval: {{ .Values.telemetry.metricsIntervalMs | int64 }}
        exporter:
          otlp_grpc:
            endpoint: {{ $endpoint }}
            timeout: 30000
logger_provider:
  processors:
    - batch:
        schedule_delay: 1000
        exporter:
          otlp_grpc:
            endpoint: {{ $endpoint }}
            timeout: 30000
{{- end }}
{{- end }}

{{/* The Collector's configuration. */}}
{{- define "bodega.collectorConfig" -}}
{{- include "bodega.merged" (list (include "bodega.builtCollectorConfig" . | fromYaml) .Values.collector.config) -}}
{{- end }}

{{- define "bodega.builtCollectorConfig" -}}
{{- $otlp := ternary "otlphttp" "otlp" (eq .Values.collector.protocol "http") -}}
{{- $exporters := keys .Values.collector.exporters | sortAlpha -}}
{{- if and .Values.collector.endpoint (not (has $otlp $exporters)) }}{{ $exporters = prepend $exporters $otlp }}{{ end -}}
{{- if not $exporters }}{{ $exporters = list "debug" }}{{ end -}}
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:4317
processors:
  memory_limiter:
    check_interval: 1s
    limit_mib: {{ .Values.collector.memoryMiB }}
    spike_limit_mib: {{ div .Values.collector.memoryMiB 5 }}
exporters:
  {{- if .Values.collector.endpoint }}
  {{ $otlp }}:
    endpoint: {{ .Values.collector.endpoint | quote }}
    {{- if eq $otlp "otlp" }}
    tls:
      insecure: {{ .Values.collector.insecure }}
    {{- end }}
    {{- with .Values.collector.headers }}
    headers:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    # What a service has sent is answered when it has been passed on: a Collector that is killed takes nothing along, and the
    # service sends again.
    sending_queue:
      queue_size: 200
      wait_for_result: true
      batch:
        flush_timeout: 100ms
        min_size: 512
        max_size: 1024
    retry_on_failure:
      enabled: false
  {{- end }}
  {{- with .Values.collector.exporters }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- if has "debug" $exporters }}
  {{- if not (hasKey .Values.collector.exporters "debug") }}
  debug:
    verbosity: basic
  {{- end }}
  {{- end }}
extensions:
  health_check:
    endpoint: ${env:POD_IP}:13133
service:
  extensions: [health_check]
  telemetry:
    metrics:
      readers:
        - pull:
            exporter:
              prometheus:
                host: ${env:POD_IP}
                port: 8888
  pipelines:
    {{- range list "traces" "metrics" "logs" }}
    {{ . }}:
      receivers: [otlp]
      processors: [memory_limiter]
      exporters: {{ toJson $exporters }}
    {{- end }}
{{- end }}
