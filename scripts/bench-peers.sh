#!/bin/sh
# Compares nacre with TensorFlow, PyTorch (oneDNN), JAX, ONNX Runtime, OpenVINO, ncnn, LiteRT and dlib, by turns in one run, and
# writes docs/benchmarks.md, its charts in docs/images and the raw figures in docs/benchmarks.json. On an idle machine, please.
#
#   sh scripts/bench-peers.sh [--only PART]... [--quick] [--alternations N] [--threads N] [--page-only]
#
# PART is training, pipeline, inference, convolutions, start, growth, or accuracy, which takes many minutes and runs only when it is
# named; other parts of the page stay as they are. --quick takes few steps: to see that all runs, not to measure. --page-only writes
# the page again from the raw figures. At least five alternations (default), two threads (default).
#
# Installs Debian packages (setup.sh --peers) and, once, a virtual environment in ~/.cache/nacre/peers ($NACRE_PEERS), and again
# when bench/peers/requirements.txt changes. Builds nacre's release-tests.
set -eu
cd "$(dirname "$0")/.."
case ${1:-} in
  -h | --help)
    awk 'NR > 1 { if (!sub(/^# ?/, "")) exit; print }' scripts/bench-peers.sh
    exit 0
    ;;
esac
. scripts/environment.sh
environment=${NACRE_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/nacre/peers}

sh scripts/setup.sh --peers
sh scripts/build.sh release-tests nacre conv_bench
prepare_environment "$environment" bench/peers/requirements.txt

worker=$environment/dlib_worker
if [ ! -e "$worker" ] || [ bench/peers/dlib_worker.cc -nt "$worker" ]; then
  # For this very CPU, as no Debian package is; dlib's matrix products are OpenBLAS's.
  g++ -std=c++17 -O3 -march=native bench/peers/dlib_worker.cc -o "$worker.new" -ldlib -lopenblas -lpthread
  mv "$worker.new" "$worker"
fi
exec "$environment/bin/python" -B bench/peers/compare.py --build build/release-tests --dlib "$worker" "$@"
