#!/bin/sh
# Makes this machine's TensorRT plans of the image's release, inside the container that will serve them: see docs/gpu.md.
# Arguments are those of `python -m export plan`.
set -eu
cd "$(dirname "$0")"
exec python3 -m export plan "$REROOM_RELEASE" --plans "$REROOM_PLANS" "$@"
