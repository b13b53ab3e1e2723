#!/bin/sh
# Other frameworks judge nacre: runs tests/judges, with their packages in virtual environments outside the clone.
#
#   sh scripts/judges.sh [pytorch|tensorflow|serving|all] [NACRE] [PYTEST-OPTION...]    (default: all, build/release-tests/nacre)
#   sh scripts/judges.sh --environment serving    makes that environment and prints its python
#
# An environment is made once, in ~/.cache/nacre/judges (PyTorch's, or $NACRE_JUDGES), ~/.cache/nacre/judges-tensorflow
# ($NACRE_JUDGES-tensorflow) and ~/.cache/nacre/judges-serving, which adds to TensorFlow's (Serving's messages read the warm-up
# records), and again when its requirements change.
# The judge of serving starts the nacre-serve beside NACRE.
set -eu
cd "$(dirname "$0")/.."
judges=all
environments=${NACRE_JUDGES:-${XDG_CACHE_HOME:-$HOME/.cache}/nacre/judges}

. scripts/environment.sh

site_packages() {
  "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
}

prepare_serving() {
  prepare_environment "$environments-tensorflow" tests/judges/requirements-tensorflow.txt &&
    prepare_environment "$environments-serving" tests/judges/requirements-serving.txt --no-deps &&
    site_packages "$environments-tensorflow" >"$(site_packages "$environments-serving")/tensorflow.pth"
}

if [ "${1:-} ${2:-}" = "--environment serving" ]; then
  prepare_serving >&2
  echo "$environments-serving/bin/python"
  exit 0
fi
case ${1:-} in
  -h | --help)
    awk 'NR > 1 { if (!sub(/^# ?/, "")) exit; print }' scripts/judges.sh
    exit 0
    ;;
  pytorch | tensorflow | serving | all)
    judges=$1
    shift
    ;;
esac
nacre=${1:-build/release-tests/nacre}
[ $# -eq 0 ] || shift
[ -x "$nacre" ] || { echo "judges.sh: $nacre is missing; sh scripts/build.sh release-tests builds it" >&2; exit 1; }

# judge FOLDER TEST-OR-PYTEST-OPTION...
judge() {
  environment=$1
  shift
  "$environment/bin/python" -B -m pytest -p no:cacheprovider -q -rA --nacre="$nacre" "$@"
}

# What TensorFlow tells of itself hides what matters.
export TF_CPP_MIN_LOG_LEVEL=2
status=0
if [ "$judges" = all ] || [ "$judges" = pytorch ]; then
  { prepare_environment "$environments" tests/judges/requirements-pytorch.txt &&
    judge "$environments" tests/judges/pytorch_test.py tests/judges/peers_test.py "$@"; } || status=$?
fi
if [ "$judges" = all ] || [ "$judges" = tensorflow ]; then
  { prepare_serving && judge "$environments-serving" tests/judges/tf_*_test.py "$@"; } || status=$?
fi
if [ "$judges" = all ] || [ "$judges" = serving ]; then
  { prepare_serving && judge "$environments-serving" tests/judges/serving_*_test.py "$@"; } || status=$?
fi
exit "$status"
