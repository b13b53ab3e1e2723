#!/bin/sh
# Everything that must hold: installs what it needs, builds, runs all tests in a release build and under the sanitizers (of
# addresses, undefined behaviour and threads), lets PyTorch and TensorFlow judge (scripts/judges.sh), and checks formatting,
# headers, scripts and clang-tidy. Goes on after a failure; the last line is `N passed, N failed`, and what was left out.
#
#   sh scripts/test.sh [--no-sanitizers] [--no-tidy] [--no-judges]    leaves out a part, and says so
#
# Counted are test cases, and one for each build or check. Logs are in build/test-logs/.
set -u
cd "$(dirname "$0")/.." || exit 1

# Debian's tools come first, whatever else the PATH holds: the checks are made for their versions.
export PATH="/usr/bin:/bin:$PATH"

sanitizers=yes
tidy=yes
judges=yes
for argument in "$@"; do
  case $argument in
    --no-sanitizers) sanitizers=no ;;
    --no-tidy) tidy=no ;;
    --no-judges) judges=no ;;
    -h | --help)
      awk 'NR > 1 { if (!sub(/^# ?/, "")) exit; print }' scripts/test.sh
      exit 0
      ;;
    *)
      echo "test.sh: unknown option $argument (there are --no-sanitizers, --no-tidy and --no-judges)" >&2
      exit 2
      ;;
  esac
done

passed=0
failed=0
failures=""
started=$(date +%s)
logs=build/test-logs
folders="engine layers image train serialize runtime serve cli bench tests examples"

# check NAME COMMAND...: counts one, and shows the end of the log when it fails.
check() {
  name=$1
  shift
  log=$logs/$name.log
  begun=$(date +%s)
  if "$@" >"$log" 2>&1; then
    passed=$((passed + 1))
    printf 'ok      %-28s %4d s\n' "$name" "$(($(date +%s) - begun))"
  else
    failed=$((failed + 1))
    failures="$failures $name"
    printf 'FAILED  %-28s %4d s   (%s)\n' "$name" "$(($(date +%s) - begun))" "$log"
    grep -E 'error:|FAILED:' "$log" | sort -u | head -n 20 || true
    tail -n 25 "$log"
    return 1
  fi
}

# run_tests NAME PRESET [CTEST-OPTION...]: counts each test case as ctest does. A case that is skipped or cannot run has failed.
run_tests() {
  name=tests-$1
  preset=$2
  shift 2
  log=$logs/$name.log
  begun=$(date +%s)
  status=0
  ctest --preset "$preset" -j "$(nproc)" "$@" >"$log" 2>&1 || status=$?
  all=$(sed -n 's/.*tests failed out of \([0-9][0-9]*\).*/\1/p' "$log" | tail -n 1)
  bad=$(sed -n 's/.* \([0-9][0-9]*\) tests failed out of .*/\1/p' "$log" | tail -n 1)
  skipped=$(grep -cE '^ *[0-9]+/[0-9]+ Test .*\*\*\*(Skipped|Not Run \(Disabled\))' "$log")
  if [ -z "$all" ] || [ -z "$bad" ]; then
    all=1
    bad=1
  fi
  bad=$((bad + skipped))
  # ctest may fail without a failed case, such as when there are no cases at all.
  [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || { all=$((all + 1)); bad=1; }
  passed=$((passed + all - bad))
  failed=$((failed + bad))
  if [ "$bad" -eq 0 ]; then
    printf 'ok      %-28s %4d s   %d cases\n' "$name" "$(($(date +%s) - begun))" "$all"
  else
    failures="$failures $name"
    printf 'FAILED  %-28s %4d s   %d of %d cases   (%s)\n' "$name" "$(($(date +%s) - begun))" "$bad" "$all" "$log"
    grep -E '\*\*\*(Failed|Exception|Timeout|Skipped|Not Run)' "$log" | head -n 60
    grep -E -A 4 ': Failure$|ERROR: |runtime error: ' "$log" | head -n 120
    [ "$all" -gt 1 ] || tail -n 15 "$log"
  fi
}

# run_judges pytorch|tensorflow|serving: counts each case as pytest does.
run_judges() {
  log=$logs/judges-$1.log
  begun=$(date +%s)
  status=0
  sh scripts/judges.sh "$1" build/release-tests/nacre >"$log" 2>&1 || status=$?
  count() { tail -n 1 "$log" | sed -n "s/.*\b\([0-9][0-9]*\) $1.*/\1/p"; }
  good=$(count passed)
  bad=$(($(count failed | grep . || echo 0) + $(count error | grep . || echo 0) + $(count skipped | grep . || echo 0)))
  [ "$status" -eq 0 ] && [ -n "$good" ] || [ "$bad" -gt 0 ] || bad=1
  passed=$((passed + ${good:-0}))
  failed=$((failed + bad))
  if [ "$bad" -eq 0 ]; then
    printf 'ok      %-28s %4d s   %d cases\n' "judges-$1" "$(($(date +%s) - begun))" "$good"
    grep -E '^[a-z0-9_]+: .*(nacre|PyTorch|TensorFlow)' "$log" || true
  else
    failures="$failures judges-$1"
    printf 'FAILED  %-28s %4d s   (%s)\n' "judges-$1" "$(($(date +%s) - begun))" "$log"
    tail -n 60 "$log"
  fi
}

sources() {
  find $folders -type f \( -name '*.h' -o -name '*.cc' \) | sort
}

format_is_kept() {
  sources | xargs clang-format-14 --dry-run -Werror
}

scripts_are_sound() {
  for script in scripts/*.sh .ci/run; do
    sh -n "$script" || return 1
    [ -x "$script" ] || { echo "$script: is not executable"; return 1; }
  done
}

mkdir -p "$logs"
export OMP_WAIT_POLICY=passive
sh scripts/setup.sh --tests || {
  echo "0 passed, 1 failed"
  exit 1
}

check scripts scripts_are_sound
check format format_is_kept
check build-release-tests sh scripts/build.sh release-tests
run_tests release release-tests
check headers sh scripts/build.sh release-tests header_hygiene
[ "$judges" = no ] || run_judges pytorch
[ "$judges" = no ] || run_judges tensorflow
[ "$judges" = no ] || run_judges serving
[ "$tidy" = no ] || check clang-tidy /usr/bin/python3 scripts/tidy.py
if [ "$sanitizers" = yes ]; then
  check build-asan-ubsan sh scripts/build.sh asan-ubsan
  run_tests asan-ubsan asan-ubsan
  # What runs on several threads: the engine and training whole, the layers where they are divided, the server but for what
  # asks it through gRPC's own client, which is not instrumented and looks like races.
  check build-tsan sh scripts/build.sh tsan engine_tests train_tests layers_tests runtime_tests serve_tests
  run_tests tsan tsan -L '^(engine|train)$'
  run_tests tsan-layers tsan -L '^(layers|runtime)$' -R Threads
  run_tests tsan-serve tsan -L '^serve$' -E 'Grpc(Connections|Inference|Predict|ServerTest|Ssl|Services)|GrpcCrowd'
fi

left_out=""
[ "$judges" = yes ] || left_out="$left_out, PyTorch and TensorFlow as judges"
[ "$tidy" = yes ] || left_out="$left_out, clang-tidy"
[ "$sanitizers" = yes ] || left_out="$left_out, the sanitizers"
echo
[ -z "$failures" ] || echo "failed:$failures"
echo "test.sh took $(($(date +%s) - started)) s"
echo "$passed passed, $failed failed${left_out:+ (left out: ${left_out#, })}"
[ "$failed" -eq 0 ]
