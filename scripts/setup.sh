#!/bin/sh
# Installs the Debian packages that nacre is built from. Quick when they are there already.
#
#   sh scripts/setup.sh            what the build and the quickstart need
#   sh scripts/setup.sh --tests    also what the tests, sanitizers and code checks need
#   sh scripts/setup.sh --peers    also what the comparison with other engines needs (scripts/bench-peers.sh)
set -eu

build_packages="g++ cmake ninja-build make ccache mold pkg-config git ca-certificates
  libeigen3-dev libstb-dev libjpeg62-turbo-dev libflatbuffers-dev flatbuffers-compiler libhwy-dev libcli11-dev
  libfmt-dev nlohmann-json3-dev zlib1g-dev nettle-dev libxxhash-dev libprotobuf-dev protobuf-compiler
  libboost-dev libsimdjson-dev libnghttp2-dev libssl-dev
  dataset-fashion-mnist"
test_packages="libgtest-dev libgmock-dev libbenchmark-dev libgrpc++-dev protobuf-compiler-grpc clang-14 clang-tidy-14 clang-format-14
  libclang-rt-14-dev libomp-14-dev libleveldb-dev libsnappy-dev python3-minimal python3-venv python3-yaml gzip openssl systemd curl"
peer_packages="libbenchmark-dev libgrpc++-dev protobuf-compiler-grpc libgtest-dev libgmock-dev python3-venv libdlib-dev
  libopenblas-dev"

fail() {
  echo "setup.sh: $*" >&2
  exit 1
}

packages=$build_packages
for argument in "$@"; do
  case $argument in
    --tests) packages="$build_packages $test_packages" ;;
    --peers) packages="$build_packages $peer_packages" ;;
    -h | --help)
      awk 'NR > 1 { if (!sub(/^# ?/, "")) exit; print }' "$0"
      exit 0
      ;;
    *) fail "unknown option $argument (there are --tests and --peers)" ;;
  esac
done

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
  fail "needs a Debian-like system (dpkg-query and apt-get); on another one, install what cmake/dependencies.cmake asks for"

missing_packages() {
  # shellcheck disable=SC2086  # the list is split on purpose
  dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' $packages 2>/dev/null | sed -n 's/ ii *$//p' >"$installed" || true
  for package in $packages; do
    grep -qxF -e "$package" "$installed" || printf '%s ' "$package"
  done
}

installed=$(mktemp)
trap 'rm -f "$installed"' EXIT
missing=$(missing_packages)
if [ -z "$missing" ]; then
  echo "setup.sh: all packages are installed"
  exit 0
fi

as_root=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null ||
    fail "these packages are missing, and installing them needs root or sudo: $missing"
  as_root="sudo"
fi

apt() {
  # Package scripts must never wait for an answer, whatever the caller's environment says.
  $as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -y -q -o DPkg::Lock::Timeout=120 \
    -o Acquire::Retries=3 "$@"
}

install_missing() {
  # shellcheck disable=SC2086  # the list is split on purpose
  apt install --no-install-recommends -o Dpkg::Use-Pty=0 $missing
}

echo "setup.sh: installing $missing"
log=$(mktemp)
trap 'rm -f "$installed" "$log"' EXIT
# Package lists that are there are tried first: fetching them anew is slow, and seldom needed.
# shellcheck disable=SC2086
if ! apt-cache show $missing >/dev/null 2>&1 || ! install_missing >"$log" 2>&1; then
  apt update >"$log" 2>&1 || {
    tail -n 5 "$log" >&2
    fail "apt-get update failed (the lines above say why)"
  }
  install_missing >"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    fail "apt-get install failed (the lines above say why)"
  }
fi
missing=$(missing_packages)
[ -z "$missing" ] || fail "apt-get reported success, but these packages are not installed: $missing"
echo "setup.sh: done"
