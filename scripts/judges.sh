#!/bin/sh
# Other frameworks judge nacre: runs tests/judges, with their packages in virtual environments outside the clone.
#
#   sh scripts/judges.sh [pytorch|tensorflow|all] [NACRE] [PYTEST-OPTION...]    (default: all, build/release-tests/nacre)
#
# An environment is made once, in ~/.cache/nacre/judges (PyTorch's, or $NACRE_JUDGES) and ~/.cache/nacre/judges-tensorflow
# ($NACRE_JUDGES-tensorflow), and again when its requirements change.
set -eu
cd "$(dirname "$0")/.."
judges=all
case ${1:-} in
  -h | --help)
    awk 'NR > 1 { if (!sub(/^# ?/, "")) exit; print }' scripts/judges.sh
    exit 0
    ;;
  pytorch | tensorflow | all)
    judges=$1
    shift
    ;;
esac
nacre=${1:-build/release-tests/nacre}
[ $# -eq 0 ] || shift
[ -x "$nacre" ] || { echo "judges.sh: $nacre is missing; sh scripts/build.sh release-tests builds it" >&2; exit 1; }
environments=${NACRE_JUDGES:-${XDG_CACHE_HOME:-$HOME/.cache}/nacre/judges}

. scripts/environment.sh

# judge FOLDER REQUIREMENTS TEST-OR-PYTEST-OPTION...
judge() {
  environment=$1
  prepare_environment "$1" "$2" || return 1
  shift 2
  "$environment/bin/python" -B -m pytest -p no:cacheprovider -q -rA --nacre="$nacre" "$@"
}

status=0
if [ "$judges" != tensorflow ]; then
  judge "$environments" tests/judges/requirements-pytorch.txt tests/judges/pytorch_test.py tests/judges/peers_test.py \
    "$@" || status=$?
fi
if [ "$judges" != pytorch ]; then
  # What TensorFlow tells of itself hides what matters.
  TF_CPP_MIN_LOG_LEVEL=2 \
    judge "$environments-tensorflow" tests/judges/requirements-tensorflow.txt tests/judges/tf_*_test.py "$@" || status=$?
fi
exit "$status"
