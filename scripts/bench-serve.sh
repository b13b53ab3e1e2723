#!/bin/sh
# Measures nacre-serve: its throughput beside that of the engine alone, latency at 70 % load, and FastAPI with TensorFlow and with
# ONNX Runtime, turn by turn on this machine, all with the same loader: one JPEG a request (base64 in JSON over REST), 8
# connections, the network face96. Writes the table into docs/benchmarks.md.
#
#   sh scripts/bench-serve.sh [SECONDS [ROUNDS]]    (default 10 and 3; each figure is the median of the rounds)
#
# Nothing else should run meanwhile. BUILD=DIR takes another build than build/release-tests; WRITE=no leaves the page as it is;
# ORDINARY=yes gives servers and loads no more weight than other processes have.
set -eu
cd "$(dirname "$0")/.."
case ${1:-} in
  -h | --help)
    awk 'NR > 1 { if (!sub(/^# ?/, "")) exit; print }' scripts/bench-serve.sh
    exit 0
    ;;
esac
seconds=${1:-10}
rounds=${2:-3}
build=${BUILD:-build/release-tests}
for program in nacre nacre-serve bench/serve_load examples/idx_to_images; do
  [ -x "$build/$program" ] || { echo "bench-serve.sh: $build/$program is missing; sh scripts/build.sh release-tests builds it" >&2; exit 1; }
done
export TF_CPP_MIN_LOG_LEVEL=3
ordinary=
[ "${ORDINARY:-no}" = no ] || ordinary=--ordinary
python=$(sh scripts/judges.sh --environment serving)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

TOOL=$build/examples/idx_to_images sh scripts/fashion_faces.sh "$folder/images" 400 100 >/dev/null
"$build/nacre" train --model face96 --data "$folder/images/train.csv" --out "$folder/run" --steps 20 --batch-size 20 >/dev/null 2>&1
mkdir -p "$folder/models/1"
"$build/nacre" export "$folder/run" --out "$folder/models/1/model.nacre" >/dev/null
"$build/nacre" convert "$folder/models/1/model.nacre" --to saved_model --out "$folder/models/saved_model" >/dev/null
"$python" -m tf2onnx.convert --saved-model "$folder/models/saved_model" --signature_def float_image --tag serve \
  --output "$folder/models/model.onnx" >/dev/null 2>&1

"$python" bench/load/compare.py "$build" "$folder/images" "$folder/models" --seconds "$seconds" --rounds "$rounds" \
  --out "$folder/table.md" $ordinary
[ "${WRITE:-yes}" = no ] || "$python" - "$folder/table.md" "$seconds" "$rounds" <<'PYTHON'
import os, pathlib, platform, re, sys

table, page = pathlib.Path(sys.argv[1]).read_text(), pathlib.Path("docs/benchmarks.md")
cpu = re.search("model name\\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
where = f"{cpu[1] if cpu else platform.machine()}, {len(os.sched_getaffinity(0))} CPUs; {sys.argv[2]} s each, median of {sys.argv[3]} rounds.\n\n"
begin, end = "<!-- serving: begin -->\n", "<!-- serving: end -->"
text = page.read_text()
page.write_text(text[: text.index(begin) + len(begin)] + where + table + text[text.index(end) :])
PYTHON
