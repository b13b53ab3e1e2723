#!/bin/sh
# What ships around the server: the unit for systemd, the container's start, its list of packages, and the examples of clients, run
# against a server that is started as the container starts it.
#
#   sh tests/packaging/serving.sh BUILD
set -eu
project=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
work=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

fail() {
  echo "serving.sh: $*" >&2
  exit 1
}

# The unit: all its settings are known, and systemd calls it well sealed off.
sed "s|/usr/bin/nacre-serve|$build/nacre-serve|" "$project/packaging/nacre-serve.service" >"$work/nacre-serve.service"
said=$(systemd-analyze verify --man=no "$work/nacre-serve.service" 2>&1) || fail "$said"
[ -z "$(echo "$said" | grep nacre-serve || true)" ] || fail "$said"
systemd-analyze security --offline=true --threshold=20 --no-pager "$work/nacre-serve.service" >"$work/security" 2>&1 ||
  fail "$(tail -n 1 "$work/security")"

# The container: what it runs is there, and every library has its package.
for step in $(sed -n 's/^RUN sh \([a-z/-]*\.sh\).*/\1/p' "$project/packaging/Containerfile"); do
  [ -f "$project/$step" ] || fail "Containerfile runs $step, which is not there"
done
sh "$project/packaging/runtime-packages.sh" "$build/nacre-serve" >"$work/packages"
grep -qx libc6 "$work/packages" && grep -qx libssl3 "$work/packages" || fail "packages: $(cat "$work/packages")"

# The container's start, with ports that are free here.
free_ports() {
  python3 -c 'import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))'
}
mkdir -p "$work/models/stripes/1"
cp "$project/tests/runtime/fixtures/v1.nacre" "$work/models/stripes/1/"
ports=$(free_ports)
grpc=${ports% *}
rest=${ports#* }
PATH=$build:$PATH MODEL_NAME=stripes MODEL_BASE_PATH=$work/models sh "$project/packaging/entrypoint.sh" \
  --port="$grpc" --rest_api_port="$rest" >"$work/log" 2>&1 &
server=$!
picture=$project/tests/runtime/fixtures/stripes.jpg
tries=0
until python3 -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$rest/v2/health/ready', timeout=5)" 2>/dev/null; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] && kill -0 "$server" 2>/dev/null || fail "the server does not become ready: $(cat "$work/log")"
  sleep 0.1
done

said=$(python3 "$project/examples/serving/predict.py" --url "http://127.0.0.1:$rest" --model stripes "$picture" "$picture")
[ "$said" = "$(printf '%s: vertical 97.4%%\n%s: vertical 97.4%%' "$picture" "$picture")" ] || fail "predict.py: $said"
said=$("$build/examples/predict_grpc" "127.0.0.1:$grpc" stripes "$picture")
[ "$said" = "$picture: vertical 97.4%" ] || fail "predict_grpc: $said"
! python3 "$project/examples/serving/predict.py" --url "http://127.0.0.1:$rest" --model none "$picture" 2>"$work/err" || fail "predict.py"
grep -q "Servable not found" "$work/err" || fail "predict.py: $(cat "$work/err")"
! "$build/examples/predict_grpc" "127.0.0.1:$grpc" none "$picture" 2>"$work/err" || fail "predict_grpc"
grep -q "Servable not found" "$work/err" || fail "predict_grpc: $(cat "$work/err")"

# The documentation's own lines.
cp "$picture" "$work/face.jpg"
grep '^curl ' "$project/docs/serving.md" | sed "s/localhost:8501/127.0.0.1:$rest/; s/faces/stripes/" >"$work/lines"
[ "$(wc -l <"$work/lines")" -ge 3 ] || fail "docs/serving.md has lost its examples"
while read -r line; do
  said=$(cd "$work" && sh -c "$line" 2>/dev/null) || fail "$line"
  case $said in
    *error_code* | *'"predictions"'* | *'"results"'*) ;;
    *) fail "$line: $said" ;;
  esac
done <"$work/lines"

# A short form of the soak: versions are swapped under load.
mkdir -p "$work/photos/a" "$work/photos/b"
cp "$picture" "$work/photos/a/"
cp "$picture" "$work/photos/b/"
"$build/nacre" train --model lenet5 --data "$work/photos" --steps 1 --batch-size 2 --out "$work/run" >"$work/said" 2>&1 ||
  fail "$(cat "$work/said")"
"$build/nacre" export "$work/run" --out "$work/other.nacre" >"$work/said" 2>&1 || fail "$(cat "$work/said")"
NACRE=$build/nacre sh "$project/scripts/soak-serve.sh" "$work/models/stripes/1/v1.nacre" "$work/other.nacre" "$picture" 20 \
  >"$work/said" 2>&1 || fail "$(cat "$work/said")"

kill "$server"
status=0
wait "$server" || status=$?
server=""
[ "$status" -eq 0 ] || fail "the server ended with $status: $(cat "$work/log")"
