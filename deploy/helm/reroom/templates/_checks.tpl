{{/* Values that a schema cannot refuse, since two of them must fit each other. Each gets one sentence. */}}
{{- define "reroom.checks" -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress.host: name the host that clients call, such as reroom.example.org, or set ingress.enabled to false" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.api.trustedProxies) -}}
{{- fail "api.trustedProxies: list the networks of the Ingress controller's pods, such as 10.0.0.0/8, or all clients would count as one" -}}
{{- end -}}
{{- if and (not .Values.redis.enabled) (not .Values.redis.external.host) -}}
{{- fail "redis.external.host: name the Redis to use, or set redis.enabled to true" -}}
{{- end -}}
{{- if not (include "reroom.triton.urls" .) -}}
{{- fail "triton.urls: list the Tritons to use as host:port, or let this chart run some (triton.enabled, triton.replicas)" -}}
{{- end -}}
{{- if and (eq .Values.storage.kind "s3") (not (and .Values.storage.s3.bucket .Values.storage.s3.endpoint)) -}}
{{- fail "storage.s3: set bucket and endpoint, or set storage.kind to volume" -}}
{{- end -}}
{{- if and (ne .Values.triton.release.from "image") (not .Values.triton.release.folder) -}}
{{- fail "triton.release.folder: name the release's folder in the volume, such as sd15" -}}
{{- end -}}
{{- if and (eq .Values.triton.release.from "claim") (not .Values.triton.release.claim) -}}
{{- fail "triton.release.claim: name the PersistentVolumeClaim that has the release" -}}
{{- end -}}
{{- if and (eq .Values.triton.release.from "place") (not .Values.triton.release.place.url) -}}
{{- fail "triton.release.place.url: name the place of the releases, such as s3://releases/sd15" -}}
{{- end -}}
{{- if and (eq .Values.triton.release.from "fetch") (not .Values.triton.release.fetch.image) -}}
{{- fail "triton.release.fetch.image: name the image that fetches the release into /releases" -}}
{{- end -}}
{{- range $part := list "worker" "triton" -}}
{{- $keda := index $.Values.keda $part -}}
{{- if gt (int $keda.min) (int $keda.max) -}}
{{- fail (printf "keda.%s: min (%d) is more than max (%d)" $part (int $keda.min) (int $keda.max)) -}}
{{- end -}}
{{- end -}}
{{- $known := .Files.Get "files/settings.md" -}}
{{- $own := dict "REDIS_URL" "redis" "REROOM_REDIS_PREFIX" "redis.prefix" "REROOM_SIGNING_KEY" "existingSecret" "REROOM_TRITON_URL" "triton" "API_BASE_URL" "publicUrl" "REROOM_MAX_UPLOAD_BYTES" "api.maxUploadBytes" "REROOM_WORKER_JOBS" "worker.jobs" "REROOM_METRICS_HOST" "metrics.port" "REROOM_METRICS_PORT" "metrics.port" "REROOM_DRAIN" "api.drainSeconds and worker.drainSeconds" "REROOM_KEY_PLANS" "plans" "REROOM_STYLES_FILE" "styles" "REROOM_API_PROCESSES" "api.processes" "REROOM_TRUSTED_PROXIES" "api.trustedProxies" "REROOM_HOST" "the chart itself" "REROOM_PORT" "the chart itself" "REROOM_HEARTBEAT_FILE" "the chart itself" "REROOM_C2PA_CHAIN" "worker.credentialsSecret" "REROOM_C2PA_KEY" "worker.credentialsSecret" "REROOM_STORAGE_DIR" "storage.volume" "R2_BUCKET_NAME" "storage.s3" "R2_ENDPOINT_URL" "storage.s3" "R2_ACCESS_KEY_ID" "existingSecret" "R2_SECRET_ACCESS_KEY" "existingSecret" "REROOM_S3_REGION" "storage.s3" "REROOM_S3_PREFIX" "storage.s3" "REROOM_PARTS_MB" "triton.partsMb" "REROOM_PARTS_SECONDS" "triton.partsSeconds" -}}
{{- range $where, $names := dict "settings" (keys .Values.settings) "secretSettings" (keys .Values.secretSettings) -}}
{{- range $names -}}
{{- if hasKey $own . -}}
{{- fail (printf "%s.%s: it follows from %s" $where . (index $own .)) -}}
{{- else if not (contains (printf "\n| `%s` |" .) $known) -}}
{{- fail (printf "%s.%s: there is no such setting; docs/settings.md lists them" $where .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range keys .Values.settings -}}
{{- if hasKey $.Values.secretSettings . -}}
{{- fail (printf "%s stands in settings and in secretSettings; keep one" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
