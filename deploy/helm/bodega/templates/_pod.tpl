{{/* The pod of a service: Collector, migration, service. */}}

{{/* (list $ service) */}}
{{- define "bodega.pod" -}}
{{- $root := index . 0 -}}{{- $service := index . 1 -}}
{{- $facts := index (include "bodega.facts" $root | fromYaml) $service -}}
{{- $values := include "bodega.of" . | fromYaml -}}
{{- $settings := include "bodega.settings" . | fromYaml -}}
{{- $sidecar := eq $root.Values.collector.mode "native" -}}
metadata:
  annotations:
    # otel.yaml is not part of it: the services take its changes over without a restart.
    checksum/settings: {{ include "bodega.settings" . | sha256sum }}
    {{- if $sidecar }}
    checksum/collector: {{ include "bodega.collectorConfig" $root | sha256sum }}
    {{- end }}
    {{- if eq $root.Values.collector.mode "operator" }}
    sidecar.opentelemetry.io/inject: {{ include "bodega.fullname" $root }}-collector
    {{- end }}
    kubectl.kubernetes.io/default-container: {{ $service }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  labels:
    {{- include "bodega.podLabels" . | nindent 4 }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- with include "bodega.pullSecrets" $root }}
  {{- . | nindent 2 }}
  {{- end }}
  serviceAccountName: {{ include "bodega.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    {{- include "bodega.podSecurity" 65532 | nindent 4 }}
  terminationGracePeriodSeconds: {{ include "bodega.grace" (list $values $settings) }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  affinity:
    {{- with $values.affinity }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                {{- include "bodega.selector" . | nindent 16 }}
    {{- end }}
  {{- if $values.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: {{ $values.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "bodega.selector" (list $root $service) | nindent 10 }}
      matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
  {{- if or $sidecar $facts.database }}
  initContainers:
    {{- if $sidecar }}
    {{- include "bodega.collectorContainer" $root | nindent 4 }}
    {{- end }}
    {{- if $facts.database }}
    {{- include "bodega.container" (list $root $service $values "migrate") | nindent 4 }}
      args: [--migrate-only, --wait, "300"]
    {{- end }}
  {{- end }}
  containers:
    {{- include "bodega.container" (list $root $service $values $service) | nindent 4 }}
      ports:
        - name: {{ ternary "http" "grpc" (hasKey $facts "http") }}
          containerPort: {{ $facts.port }}
        - name: admin
          containerPort: 9464
      {{- include "bodega.probes" (list $root $facts) | nindent 6 }}
      {{- if $values.preStopSeconds }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ $values.preStopSeconds }}
      {{- end }}
  volumes:
    {{- include "bodega.volumes" (list $root $service $facts) | nindent 4 }}
{{- end }}

{{/* (list values settings): longer than the sleep, the drain and the last export together. */}}
{{- define "bodega.grace" -}}
{{- $values := index . 0 -}}{{- $settings := index . 1 -}}
{{- $drain := dig "drain_timeout_ms" 20000 $settings | int -}}
{{- $flush := dig "telemetry" "flush_timeout_ms" 5000 $settings | int -}}
{{- add $values.preStopSeconds (div (add $drain $flush 999) 1000) 10 -}}
{{- end }}

{{/* (list $ service values name): what the service's container and its migration have in common. */}}
{{- define "bodega.container" -}}
{{- $root := index . 0 -}}{{- $service := index . 1 -}}{{- $values := index . 2 -}}{{- $name := index . 3 -}}
- name: {{ $name }}
  image: {{ include "bodega.image" (list $root $service) }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  securityContext:
    {{- include "bodega.containerSecurity" $root | nindent 4 }}
  resources:
    {{- toYaml $values.resources | nindent 4 }}
  env:
    - name: BODEGA_CONFIG_FILE
      value: /etc/bodega/service/{{ $service }}.yaml
    - name: OTEL_CONFIG_FILE
      value: /etc/bodega/otel/otel.yaml
    - name: K8S_NAMESPACE_NAME
      valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
    - name: K8S_POD_NAME
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
    - name: K8S_POD_UID
      valueFrom: {fieldRef: {fieldPath: metadata.uid}}
    - name: K8S_NODE_NAME
      valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
    - name: K8S_DEPLOYMENT_NAME
      value: {{ include "bodega.fullname" $root }}-{{ $service }}
    - name: K8S_CONTAINER_NAME
      value: {{ $name }}
    {{- with $values.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumeMounts:
    - name: settings
      mountPath: /etc/bodega/service
      readOnly: true
    - name: otel
      mountPath: /etc/bodega/otel
      readOnly: true
    {{- range $volume := include "bodega.secretVolumes" (list $root $service) | fromYamlArray }}
    - name: {{ $volume.name }}
      mountPath: /etc/bodega/secrets/{{ $volume.name }}
      readOnly: true
    {{- end }}
{{- end }}

{{/* (list $ facts): kubelet's gRPC probes know no TLS. */}}
{{- define "bodega.probes" -}}
{{- $root := index . 0 -}}{{- $facts := index . 1 -}}
{{- $live := "" -}}{{- $ready := "" -}}
{{- if $facts.http -}}
{{- $live = "httpGet: {path: /health, port: http}" -}}{{- $ready = "httpGet: {path: /ready, port: http}" -}}
{{- else if include "bodega.mutual" $root -}}
{{- $live = "httpGet: {path: /livez, port: admin}" -}}{{- $ready = "httpGet: {path: /readyz, port: admin}" -}}
{{- else -}}
{{- $live = printf "grpc: {port: %v, service: liveness}" $facts.port -}}{{- $ready = printf "grpc: {port: %v}" $facts.port -}}
{{- end -}}
startupProbe:
  {{ $live }}
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 60
readinessProbe:
  {{ $ready }}
  periodSeconds: 3
  timeoutSeconds: 2
  failureThreshold: 3
livenessProbe:
  {{ $live }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{- define "bodega.collectorContainer" -}}
- name: collector
  image: {{ .Values.collector.image.repository }}:{{ .Values.collector.image.tag }}
  imagePullPolicy: {{ .Values.collector.image.pullPolicy }}
  restartPolicy: Always
  args: [--config=/etc/collector/config.yaml]
  securityContext:
    {{- include "bodega.containerSecurity" . | nindent 4 }}
  resources:
    {{- toYaml .Values.collector.resources | nindent 4 }}
  env:
    - name: POD_IP
      valueFrom: {fieldRef: {fieldPath: status.podIP}}
    - name: GOMEMLIMIT
      value: {{ .Values.collector.memoryMiB }}MiB
    {{- with .Values.collector.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: otel-health
      containerPort: 13133
    - name: otel-metrics
      containerPort: 8888
  startupProbe:
    httpGet: {path: /, port: otel-health}
    periodSeconds: 1
    timeoutSeconds: 2
    failureThreshold: 60
  volumeMounts:
    - name: collector
      mountPath: /etc/collector
      readOnly: true
{{- end }}

{{/* (list $ service): volumes of Secrets; each shows only what the service needs of it. */}}
{{- define "bodega.secretVolumes" -}}
{{- $root := index . 0 -}}{{- $service := index . 1 -}}
{{- $facts := index (include "bodega.facts" $root | fromYaml) $service -}}
{{- if $facts.database }}
- name: database
  secret:
    secretName: {{ include "bodega.databaseSecret" $root }}
    defaultMode: 0440
    items: [{key: {{ $root.Values.database.passwordKey }}, path: password}]
{{- with include "bodega.databaseAuthority" $root }}
- name: database-ca
  secret:
    secretName: {{ index (splitList " " .) 0 }}
    defaultMode: 0440
    items: [{key: {{ index (splitList " " .) 1 }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- if and $facts.redis (include "bodega.redisSecret" $root) }}
- name: redis
  secret:
    secretName: {{ include "bodega.redisSecret" $root }}
    defaultMode: 0440
    items: [{key: {{ $root.Values.redis.passwordKey }}, path: password}]
{{- end }}
{{- if and $facts.redis (eq $root.Values.redis.mode "external") $root.Values.redis.external.tls.enabled $root.Values.redis.external.tls.caSecret.name }}
- name: redis-ca
  secret:
    secretName: {{ $root.Values.redis.external.tls.caSecret.name }}
    defaultMode: 0440
    items: [{key: {{ $root.Values.redis.external.tls.caSecret.key }}, path: ca.crt}]
{{- end }}
{{- if eq $service "user-service" }}
- name: auth-keys
  secret:
    secretName: {{ include "bodega.keysSecret" $root }}
    defaultMode: 0440
{{- if $root.Values.auth.bootstrapAdmin.email }}
- name: admin
  secret:
    secretName: {{ include "bodega.adminSecret" $root }}
    defaultMode: 0440
    items: [{key: {{ $root.Values.auth.bootstrapAdmin.passwordKey }}, path: password}]
{{- end }}
{{- end }}
{{- if include "bodega.mutual" $root }}
- name: tls
  secret:
    secretName: {{ include "bodega.certificateSecret" . }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{/* (list $ service facts) */}}
{{- define "bodega.volumes" -}}
{{- $root := index . 0 -}}{{- $service := index . 1 -}}
{{- $fullname := include "bodega.fullname" $root -}}
- name: settings
  configMap:
    name: {{ $fullname }}-{{ $service }}
- name: otel
  configMap:
    name: {{ $fullname }}-otel
{{- if eq $root.Values.collector.mode "native" }}
- name: collector
  configMap:
    name: {{ $fullname }}-collector
{{- end }}
{{- include "bodega.secretVolumes" (list $root $service) }}
{{- end }}
