#!/bin/sh
# Starts the container's tritonserver: the options that it shares with the embedded stack, and the models of the image.
# It listens on the usual ports, 8000 (HTTP), 8001 (gRPC) and 8002 (metrics). Arguments are added to the command line.
# The container ends, for its restart policy to start it again, when Triton does or the process of a Python model dies.
set -eu
here=$(dirname "$0")
# An option a line, without spaces: they may be split.
# shellcheck disable=SC2046
exec python3 -I -S "$here/watch_triton.py" tritonserver $(sed '/^#/d' "$here/tritonserver.options") \
    --model-repository="$here/model_repository" --model-repository="$REROOM_RELEASE/models" "$@"
