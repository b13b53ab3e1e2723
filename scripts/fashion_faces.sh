#!/bin/sh
# Writes Fashion-MNIST as 96x96 colour JPEGs with a CSV, a stand-in for a set of faces: OUT/train.csv and OUT/test.csv.
#
#   sh scripts/fashion_faces.sh OUT [TRAIN-COUNT [TEST-COUNT]]    (default 2000 and 500)
#
# DATA=DIR takes another folder of IDX files; TOOL=FILE another idx_to_images than build/release's.
set -eu
project=$(cd "$(dirname "$0")/.." && pwd)

case ${1:--h} in
  -h | --help)
    awk 'NR > 1 { if (!sub(/^# ?/, "")) exit; print }' "$0"
    exit 0
    ;;
esac
out=$1
data=${DATA:-/usr/share/datasets/fashion-mnist}
tool=${TOOL:-$project/build/release/examples/idx_to_images}
[ -d "$data" ] || { echo "fashion_faces.sh: $data is missing; sh scripts/setup.sh installs it" >&2; exit 1; }
[ -x "$tool" ] || { echo "fashion_faces.sh: $tool is missing; sh scripts/build.sh builds it" >&2; exit 1; }

labels=$project/examples/faces/fashion_labels.txt
"$tool" --data "$data" --labels "$labels" --out "$out" --split train --count "${2:-2000}"
"$tool" --data "$data" --labels "$labels" --out "$out" --split test --count "${3:-500}"
