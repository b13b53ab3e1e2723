#!/bin/sh
# Trains a preset by its own recipe on Fashion-MNIST, measures it on the 10,000 test pictures, and fails below a bound.
#
#   sh scripts/accuracy.sh [PRESET [BOUND [OPTION-OF-TRAIN...]]]
#
# Without arguments: fashion28_accurate and 0.935, which takes about 12 minutes on two cores. What is measured is the run's last
# checkpoint: its best one was chosen by the same test pictures. The run is left in runs/accuracy-PRESET. NACRE names another
# program than build/release/nacre, which is built otherwise.
set -eu
cd "$(dirname "$0")/.."

preset=${1:-fashion28_accurate}
bound=${2:-0.935}
[ $# -le 2 ] && set -- || shift 2
data=/usr/share/datasets/fashion-mnist
run=runs/accuracy-$preset
if [ -z "${NACRE:-}" ]; then
  sh scripts/build.sh release
  NACRE=build/release/nacre
fi

started=$(date +%s)
"$NACRE" train --model "$preset" --data "$data" --out "$run" --overwrite "$@"
trained=$(date +%s)
"$NACRE" eval "$run/checkpoints/latest" --data "$data"
accuracy=$("$NACRE" eval "$run/checkpoints/latest" --data "$data" --json | sed -n 's/^{"accuracy":\([0-9.e+-]*\),.*/\1/p')

printf '\n%s: accuracy %s (at least %s is expected), trained in %s s\n' "$preset" "$accuracy" "$bound" "$((trained - started))"
awk -v found="$accuracy" -v bound="$bound" 'BEGIN { exit !(found != "" && found + 0 >= bound + 0) }' || {
  echo "FAILED: $preset reaches $accuracy, less than $bound" >&2
  exit 1
}
