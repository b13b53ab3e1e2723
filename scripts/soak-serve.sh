#!/bin/sh
# Swaps versions of a model under load: no request may fail, every answer must be one model's or the other's, and the server's
# memory must not grow. Prints what it saw, and fails when that does not hold.
#
#   sh scripts/soak-serve.sh A.nacre B.nacre IMAGE [SWAPS] [NACRE_SERVE_OPTIONS...]
#
# A and B are bundles of other answers for IMAGE; SWAPS is 1000 unless given. NACRE names the program (build/release/nacre).
set -eu
[ $# -ge 3 ] || {
  sed -n 's/^# \{0,1\}//p' "$0" | sed 1d >&2
  exit 2
}
nacre=${NACRE:-"$(dirname "$0")/../build/release/nacre"}
[ -x "$nacre" ] || { echo "soak-serve.sh: $nacre is missing; sh scripts/build.sh builds it" >&2; exit 1; }
folder=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
a=$1 b=$2 image=$3
shift 3
swaps=1000
case ${1:-} in
  [0-9]*) swaps=$1 && shift ;;
esac

mkdir "$folder/base" "$folder/base/1"
cp "$a" "$folder/base/1/model.nacre"
port=$((20000 + $$ % 20000))
"$nacre" serve --address=127.0.0.1 --port=0 --rest_api_port="$port" --model_name=m --model_base_path="$folder/base" \
  --file_system_poll_wait_seconds=0.05 "$@" 2>"$folder/log" &
server=$!

python3 - "$folder" "$port" "$server" "$a" "$b" "$image" "$swaps" <<'PYTHON' || { tail -n 5 "$folder/log" >&2; exit 1; }
import base64, http.client, json, os, shutil, sys, threading, time

folder, port, server, a, b, image, swaps = sys.argv[1:]
port, server, swaps = int(port), int(server), int(swaps)
body = json.dumps({"instances": [{"b64": base64.b64encode(open(image, "rb").read()).decode()}]})


def rss():
    time.sleep(2)  # what is drained is given back at the next look
    with open(f"/proc/{server}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def ask(connection, method, target, text=None):
    connection.request(method, target, text)
    reply = connection.getresponse()
    return reply.status, reply.read()


def connect():
    return http.client.HTTPConnection("127.0.0.1", port, timeout=30)


def wait_for(version):
    for _ in range(3000):
        try:
            status, text = ask(connect(), "GET", f"/v1/models/m/versions/{version}")
            if status == 200 and b'"AVAILABLE"' in text:
                return
        except OSError:
            pass
        time.sleep(0.01)
    sys.exit(f"version {version} did not go live")


def publish(version):
    hidden = f"{folder}/base/.new"
    os.mkdir(hidden)
    shutil.copy([b, a][version % 2], f"{hidden}/model.nacre")
    os.rename(hidden, f"{folder}/base/{version}")
    wait_for(version)
    shutil.rmtree(f"{folder}/base/{version - 1}")


wait_for(1)
answers = [None, ask(connect(), "POST", "/v1/models/m:predict", body)[1]]
publish(2)
answers[0] = ask(connect(), "POST", "/v1/models/m:predict", body)[1]
if answers[0] == answers[1]:
    sys.exit("the two bundles say the same of the image: a mixture could not be told")

stop = threading.Event()
counts = {"answers": 0, "failures": 0, "mixtures": 0}
lock = threading.Lock()


def load():
    connection = connect()
    while not stop.is_set():
        try:
            status, text = ask(connection, "POST", "/v1/models/m:predict", body)
            key = "failures" if status != 200 else "answers" if text in answers else "mixtures"
        except (OSError, http.client.HTTPException):
            connection, key = connect(), "failures"
        with lock:
            counts[key] += 1


clients = [threading.Thread(target=load) for _ in range(4)]
for client in clients:
    client.start()
for version in range(3, 23):
    publish(version)
before = rss()
for version in range(23, 23 + swaps):
    publish(version)
    if version % 100 == 0:
        print(f"{version - 22} swaps: RSS {rss()} kB", flush=True)
after = rss()
stop.set()
for client in clients:
    client.join()
print(f"{swaps} swaps: {counts['answers']} answers, {counts['failures']} failures, {counts['mixtures']} mixtures; "
      f"RSS before {before} kB, after {after} kB ({after / before:.2f}x)")
sys.exit(counts["failures"] > 0 or counts["mixtures"] > 0 or after > 1.1 * before)
PYTHON
