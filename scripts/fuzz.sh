#!/bin/sh
# Builds the fuzz targets and runs each for a while; a crash is kept in build/fuzz/crashes/ and fails the run.
#
#   sh scripts/fuzz.sh [SECONDS-EACH]    (default 60)
set -eu
cd "$(dirname "$0")/.."
case ${1:-60} in
  *[!0-9]*)
    awk 'NR > 1 { if (!sub(/^# ?/, "")) exit; print }' scripts/fuzz.sh
    exit 2
    ;;
esac

sh scripts/setup.sh --tests
sh scripts/build.sh fuzz
mkdir -p build/fuzz/crashes
failed=0
for target in build/fuzz/tests/fuzz/fuzz_*; do
  [ -x "$target" ] && [ -f "$target" ] || continue
  name=${target##*/fuzz_}
  mkdir -p "build/fuzz/corpus/$name"
  seeds=tests/fuzz/seeds/$name
  [ "$name" != container ] || seeds=tests/serialize/fixtures
  "$target" -max_total_time="${1:-60}" -rss_limit_mb=4096 -timeout=20 -artifact_prefix="build/fuzz/crashes/$name-" \
    -print_final_stats=1 "build/fuzz/corpus/$name" "$seeds" || failed=$((failed + 1))
done
echo "fuzz.sh: $failed targets failed"
[ "$failed" -eq 0 ]
