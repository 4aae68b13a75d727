#!/bin/sh
# Restyle one photo with curl: submit it, ask for the status until the job has ended, save the picture.
#
#     sh examples/restyle.sh room.jpg boho result.jpg
#
# The service is at REROOM_URL, else at http://localhost:8000; REROOM_API_KEY is the key to it, if it needs one.
set -eu
photo=$1 style=$2 out=$3
service=${REROOM_URL:-http://localhost:8000}

# The first value of a text field of the JSON on stdin; jq -r .FIELD does it properly.
field() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

# curl with the key, which stands in no list of processes.
ask() { echo "header = \"X-API-Key: ${REROOM_API_KEY:-}\"" | curl -sS --fail-with-body --config - "$@"; }

# With --fail-with-body curl prints the problem's JSON and exits with 22.
submitted=$(ask -F "file=@$photo" -F "style=$style" \
    -F 'preferences={"prompt": "sage green walls", "seed": 7}' "$service/transform/submit") ||
    { echo "$submitted" >&2; exit 1; }
job=$(echo "$submitted" | field job_id)

while :; do
    status=$(ask "$service/transform/status/$job") || { echo "$status" >&2; exit 1; }
    state=$(echo "$status" | field status)
    echo "$state"
    case $state in
        completed) break ;;
        failed | cancelled) echo "$status" >&2; exit 1 ;;
    esac
    sleep 1
done

curl -sS --fail -o "$out" "$(echo "$status" | field result_url)"
echo "saved $out"
