{{/* What templates share. Parts of names: api, worker, triton, redis. */}}

{{- define "reroom.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of all objects. */}}
{{- define "reroom.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: reroom
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* What finds pods: takes (list $ part). They can never change. */}}
{{- define "reroom.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: reroom
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Finds the pods of API and workers. */}}
{{- define "reroom.servers" -}}
matchLabels:
  app.kubernetes.io/name: reroom
  app.kubernetes.io/instance: {{ .Release.Name }}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: [api, worker]}
{{- end -}}

{{/* An object's name and labels: takes (list $ part), or (list $ part suffix) for a further object of the part. */}}
{{- define "reroom.metadata" -}}
{{- $ := index . 0 -}}
name: {{ include "reroom.name" $ }}-{{ index . 1 }}{{ if gt (len .) 2 }}-{{ index . 2 }}{{ end }}
labels:
  {{- include "reroom.labels" $ | nindent 2 }}
  app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* An image: takes (list $ its-values). Redis comes from where it is published, and has a tag of its own. */}}
{{- define "reroom.image" -}}
{{- $ := index . 0 -}}
{{- $image := index . 1 -}}
{{- $name := $image.repository -}}
{{- if and $.Values.image.registry (hasPrefix "reroom-" $name) -}}
{{- $name = printf "%s/%s" (trimSuffix "/" $.Values.image.registry) $name -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (coalesce $image.tag $.Values.image.tag $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "reroom.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "reroom.name" .) -}}
{{- end -}}

{{- define "reroom.publicUrl" -}}
{{- if .Values.publicUrl -}}
{{- .Values.publicUrl -}}
{{- else if .Values.ingress.enabled -}}
https://{{ .Values.ingress.host }}
{{- else -}}
http://127.0.0.1:8000
{{- end -}}
{{- end -}}

{{- define "reroom.redis.host" -}}
{{- if .Values.redis.enabled }}{{ include "reroom.name" . }}-redis{{ else }}{{ .Values.redis.external.host }}{{ end -}}
{{- end -}}

{{- define "reroom.redis.port" -}}
{{- if .Values.redis.enabled }}6379{{ else }}{{ .Values.redis.external.port }}{{ end -}}
{{- end -}}

{{/* The URL, whose $(REDIS_PASSWORD) Kubernetes replaces by that variable of the same container. */}}
{{- define "reroom.redis.url" -}}
{{- $at := printf "%s:%s" (include "reroom.redis.host" .) (include "reroom.redis.port" .) -}}
{{- if .Values.redis.enabled -}}
redis://:$(REDIS_PASSWORD)@{{ $at }}/0
{{- else -}}
{{- with .Values.redis.external -}}
{{ ternary "rediss" "redis" .tls }}://{{ .username }}:$(REDIS_PASSWORD)@{{ $at }}/{{ .database }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* How many Tritons of this chart there may be at once. */}}
{{- define "reroom.triton.count" -}}
{{- if not .Values.triton.enabled }}0{{ else if .Values.keda.enabled }}{{ .Values.keda.triton.max }}{{ else }}{{ .Values.triton.replicas }}{{ end -}}
{{- end -}}

{{/* REROOM_TRITON_URL: one name for each Triton that may ever run, see triton.yaml. */}}
{{- define "reroom.triton.urls" -}}
{{- $urls := .Values.triton.urls -}}
{{- range until (include "reroom.triton.count" . | int) -}}
{{- $urls = append $urls (printf "%s-triton-%d:8001" (include "reroom.name" $) .) -}}
{{- end -}}
{{- join "," $urls -}}
{{- end -}}

{{- define "reroom.storageClaim" -}}
{{- .Values.storage.volume.existingClaim | default (printf "%s-storage" (include "reroom.name" .)) -}}
{{- end -}}

{{/* What every pod has. Takes (list $ part values-of-the-part user). */}}
{{- define "reroom.pod" -}}
{{- $ := index . 0 -}}
{{- $part := index . 1 -}}
{{- $values := index . 2 -}}
{{- $user := index . 3 -}}
serviceAccountName: {{ include "reroom.serviceAccount" $ }}
automountServiceAccountToken: false
# A Service named "reroom" would set REROOM_PORT=tcp://… for every pod beside it.
enableServiceLinks: false
# A small PID 1 that reaps what decoders and models leave, as `init: true` in docker/compose.yml.
shareProcessNamespace: true
securityContext:
  runAsNonRoot: true
  runAsUser: {{ $user }}
  runAsGroup: {{ $user }}
  fsGroup: {{ $user }}
  fsGroupChangePolicy: OnRootMismatch
  # It lets a process filter its own system calls, which the decoder of photos needs, and needs no more than that.
  seccompProfile:
    type: RuntimeDefault
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "reroom.selector" (list $ $part) | nindent 8 }}
  {{- end }}
{{- with $.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Labels and annotations of pods. Takes (list $ part values-of-the-part annotations). */}}
{{- define "reroom.podMetadata" -}}
{{- $ := index . 0 -}}
{{- $values := index . 2 -}}
labels:
  {{- include "reroom.labels" $ | nindent 2 }}
  app.kubernetes.io/component: {{ index . 1 }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) $values.podAnnotations (index . 3) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "reroom.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "reroom.secretEnv" -}}
{{- $ := index . 0 -}}
- name: {{ index . 1 }}
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.existingSecret }}
      key: {{ index . 2 }}
{{- end -}}

{{/* What a container beside Triton has that fetches releases from their place. */}}
{{- define "reroom.fetcher" -}}
{{- $place := .Values.triton.release.place -}}
image: {{ include "reroom.image" (list . .Values.api.image) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- with $place.endpoint }}
  - name: R2_ENDPOINT_URL
    value: {{ . | quote }}
  {{- end }}
  - name: REROOM_S3_REGION
    value: {{ $place.region | quote }}
  {{- range $name, $key := dict "R2_ACCESS_KEY_ID" "r2-access-key-id" "R2_SECRET_ACCESS_KEY" "r2-secret-access-key" }}
  - name: {{ $name }}
    valueFrom:
      secretKeyRef:
        name: {{ $place.secret | default $.Values.existingSecret }}
        key: {{ $key }}
  {{- end }}
  - name: POD_NAME
    valueFrom:
      fieldRef: {fieldPath: metadata.name}
securityContext:
  {{- include "reroom.containerSecurity" . | nindent 2 }}
resources:
  {{- toYaml $place.resources | nindent 2 }}
volumeMounts:
  - {name: releases, mountPath: /releases}
  - {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* The environment that API and workers share. */}}
{{- define "reroom.serverEnv" -}}
# Before REDIS_URL, which names it.
{{ include "reroom.secretEnv" (list . "REDIS_PASSWORD" "redis-password") }}
- name: REDIS_URL
  value: {{ include "reroom.redis.url" . | quote }}
- name: REROOM_REDIS_PREFIX
  value: {{ .Values.redis.prefix | quote }}
{{ include "reroom.secretEnv" (list . "REROOM_SIGNING_KEY" "signing-key") }}
- name: REROOM_TRITON_URL
  value: {{ include "reroom.triton.urls" . | quote }}
- name: API_BASE_URL
  value: {{ include "reroom.publicUrl" . | quote }}
- name: REROOM_MAX_UPLOAD_BYTES
  value: {{ .Values.api.maxUploadBytes | int64 | quote }}
- name: REROOM_WORKER_JOBS
  value: {{ .Values.worker.jobs | quote }}
- name: REROOM_SANDBOX
  value: {{ .Values.settings.REROOM_SANDBOX | default "require" | quote }}
{{- if eq .Values.storage.kind "s3" }}
- name: R2_BUCKET_NAME
  value: {{ .Values.storage.s3.bucket | quote }}
- name: R2_ENDPOINT_URL
  value: {{ .Values.storage.s3.endpoint | quote }}
- name: REROOM_S3_REGION
  value: {{ .Values.storage.s3.region | quote }}
- name: REROOM_S3_PREFIX
  value: {{ .Values.storage.s3.prefix | quote }}
{{ include "reroom.secretEnv" (list . "R2_ACCESS_KEY_ID" "r2-access-key-id") }}
{{ include "reroom.secretEnv" (list . "R2_SECRET_ACCESS_KEY" "r2-secret-access-key") }}
{{- else }}
- name: REROOM_STORAGE_DIR
  value: /var/lib/reroom
{{- end }}
{{- with .Values.metrics.port }}
- name: REROOM_METRICS_HOST
  value: 0.0.0.0
- name: REROOM_METRICS_PORT
  value: {{ . | quote }}
{{- end }}
{{- range $name, $value := omit .Values.settings "REROOM_SANDBOX" }}
- name: {{ $name }}
  {{- /* Helm reads whole numbers as floats, and would write 2e+07. */}}
  value: {{ ternary (printf "%.0f" ($value | float64)) (toString $value) (and (kindIs "float64" $value) (eq (floor $value) $value)) | quote }}
{{- end }}
{{- range $name, $key := .Values.secretSettings }}
{{ include "reroom.secretEnv" (list $ $name $key) }}
{{- end }}
{{- end -}}

{{- define "reroom.serverMounts" -}}
- name: tmp
  mountPath: /tmp
{{- if eq .Values.storage.kind "volume" }}
- name: storage
  mountPath: /var/lib/reroom
{{- end }}
{{- end -}}

{{- define "reroom.serverVolumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 512Mi
{{- if eq .Values.storage.kind "volume" }}
- name: storage
  persistentVolumeClaim:
    claimName: {{ include "reroom.storageClaim" . }}
{{- end }}
{{- end -}}
