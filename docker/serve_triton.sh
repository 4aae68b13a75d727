#!/bin/sh
# Starts the container's tritonserver: the options that it shares with the embedded stack, and the models of the image,
# or this machine's TensorRT plans of them where they fit (docs/gpu.md).
# It listens on the usual ports, 8000 (HTTP), 8001 (gRPC) and 8002 (metrics). Arguments are added to the command line.
# The container ends, for its restart policy to start it again, when Triton does or the process of a Python model dies.
set -euf
here=$(dirname "$0")
models="--model-repository=$REROOM_RELEASE/models"
# Without a folder for plans there is nothing to choose, and a choice that fails stops no service.
if [ -d "${REROOM_PLANS:-}" ]; then
    chosen=$(cd "$here" && python3 -m export.plans.serving "$REROOM_RELEASE" "$REROOM_PLANS" \
        --command 'docker compose run --rm triton-gpu sh /opt/reroom/plan_triton.sh') && models=$chosen
fi
# What a host serves of the releases in a folder stands in one of its own, where an agent may change it while Triton runs
# (docs/live-releases.md). Plans are made for one release, and are served as they are.
# A file that is not what was published is named here, and no server loads it (docs/releases.md).
prepare="python3 -I -S $here/checksums.py $REROOM_RELEASE"
if [ -n "${REROOM_SERVED:-}" ] && [ "$models" = "--model-repository=$REROOM_RELEASE/models" ]; then
    prepare="env PYTHONPATH=$here python3 -m export.releases.served $REROOM_SERVED --source ${REROOM_FOLLOW:-$REROOM_RELEASE} --"
    models="--model-repository=$REROOM_SERVED/served"
    export REROOM_RELEASE="$REROOM_SERVED"
fi
# An option a line, without spaces: they may be split.
# shellcheck disable=SC2046,SC2086
exec $prepare python3 -I -S "$here/watch_triton.py" tritonserver $(sed '/^#/d' "$here/tritonserver.options") \
    --model-repository="$here/model_repository" $models "$@"
