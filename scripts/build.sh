#!/bin/sh
# Configures and builds into build/<preset>/; the binary is build/<preset>/nacre.
#
#   sh scripts/build.sh [preset] [target...]    presets: release (default), release-tests, debug, asan-ubsan, tsan, fuzz
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "build.sh: $*" >&2
  exit 1
}

preset=${1:-release}
case $preset in
  -h | --help)
    awk 'NR > 1 { if (!sub(/^# ?/, "")) exit; print }' scripts/build.sh
    exit 0
    ;;
  -*) fail "unknown option $preset" ;;
esac
[ $# -eq 0 ] || shift

# A cmake on the PATH may be a wrapper of some other package that does not work here: take the first that does.
cmake=""
for candidate in cmake /usr/bin/cmake; do
  if "$candidate" --version >/dev/null 2>&1; then
    cmake=$candidate
    break
  fi
done
[ -n "$cmake" ] || fail "cmake is missing; run sh scripts/setup.sh first"

"$cmake" --preset "$preset"
# -k 0 goes on after an error: one run tells everything that does not compile.
if [ $# -eq 0 ]; then
  "$cmake" --build "build/$preset" -j "$(nproc)" -- -k 0
else
  "$cmake" --build "build/$preset" -j "$(nproc)" --target "$@" -- -k 0
fi
