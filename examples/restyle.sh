#!/bin/sh
# Restyle one photo with curl: submit it, ask for the status until the job has ended, save the picture.
#
#     sh examples/restyle.sh room.jpg boho result.jpg
#
# The service is at REROOM_URL, else at http://localhost:8000.
set -eu
photo=$1 style=$2 out=$3
service=${REROOM_URL:-http://localhost:8000}

# The first value of a text field of the JSON on stdin; jq -r .FIELD does it properly.
field() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

# With --fail-with-body curl prints the problem's JSON and exits with 22.
submitted=$(curl -sS --fail-with-body -F "file=@$photo" -F "style=$style" \
    -F 'preferences={"prompt": "sage green walls", "seed": 7}' "$service/transform/submit") ||
    { echo "$submitted" >&2; exit 1; }
job=$(echo "$submitted" | field job_id)

while :; do
    status=$(curl -sS --fail-with-body "$service/transform/status/$job") || { echo "$status" >&2; exit 1; }
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
