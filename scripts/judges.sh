#!/bin/sh
# Other frameworks judge nacre: runs tests/judges, with their packages in a virtual environment outside the clone.
#
#   sh scripts/judges.sh [NACRE] [PYTEST-OPTION...]    (default: build/release-tests/nacre)
#
# The environment is made once, in $NACRE_JUDGES or ~/.cache/nacre/judges, and again when the requirements change.
set -eu
cd "$(dirname "$0")/.."
case ${1:-} in
  -h | --help)
    awk 'NR > 1 { if (!sub(/^# ?/, "")) exit; print }' scripts/judges.sh
    exit 0
    ;;
esac
nacre=${1:-build/release-tests/nacre}
[ $# -eq 0 ] || shift
[ -x "$nacre" ] || { echo "judges.sh: $nacre is missing; sh scripts/build.sh release-tests builds it" >&2; exit 1; }

environment=${NACRE_JUDGES:-${XDG_CACHE_HOME:-$HOME/.cache}/nacre/judges}
requirements=tests/judges/requirements.txt
if ! cmp -s "$requirements" "$environment/requirements.txt"; then
  # Only what is such an environment is made anew, whatever NACRE_JUDGES names.
  if [ -e "$environment" ] && [ ! -e "$environment/pyvenv.cfg" ]; then
    echo "judges.sh: $environment is there and no virtual environment; not touched" >&2
    exit 1
  fi
  rm -rf "$environment"
  /usr/bin/python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --requirement "$requirements"
  cp "$requirements" "$environment/"
fi
exec "$environment/bin/python" -B -m pytest -p no:cacheprovider -q -rA tests/judges --nacre="$nacre" "$@"
