"""Measures nacre-serve: beside the engine alone and beside Python servers, in one run, turn by turn, with one loader.

    compare.py BUILD IMAGE-FOLDER MODELS --seconds S --rounds R --out TABLE.md

MODELS holds 1/model.nacre, saved_model/ and model.onnx of one network; scripts/bench-serve.sh makes them.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time

CONNECTIONS = 8
WORKERS = 2
START_SECONDS = 120
SLOW = 1000  # connections that never finish their request
UNFINISHED = {  # what those have sent
    "rest": b"POST /v1/models/face96:predict HTTP/1.1\r\nContent-Le",
    # The preface of HTTP/2, SETTINGS, and the beginning of a frame of headers.
    "grpc": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x40\1\4\0\0\0\1\0",
}
SHARE = 0.7  # of the throughput, for latency
BURSTS = 15  # at that share, of a second each and in each round
LONE_RATE = 20  # requests a second: the server sleeps in between
TURNS = 5  # of a server and the engine alone, in each round
WARM_UP = 0.1  # seconds of a turn that do not count


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def running(command, port, environment=None, before=None):
    """A server from its first open port until it has ended; `before`: what its process does first."""
    with open(os.devnull, "w") as nowhere:
        process = subprocess.Popen(command, stdout=nowhere, stderr=nowhere, env={**os.environ, **(environment or {})}, preexec_fn=before)
    try:
        for _ in range(START_SECONDS * 50):
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def slow_clients(port, unfinished):
    """So many clients whose request stays unfinished."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4 * SLOW) if most > 0 else 4 * SLOW, most))
    with contextlib.ExitStack() as open_ones:
        for _ in range(SLOW):
            client = open_ones.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(unfinished)
        yield


def cpu_seconds(pid):
    """That a process has used until now."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def real_time():
    """Words before a command that is to have a CPU as soon as it is due, as on a machine of its own; none where that is not allowed."""
    words = ["chrt", "--fifo", "1"]
    if shutil.which("chrt") and subprocess.run([*words, "true"], capture_output=True).returncode == 0:
        return words
    print("no real-time priority: latency at a rate holds the loader's own waits for a CPU", file=sys.stderr)
    return []


def weigh_most():
    """Of this process, from now on: a session of its own, to which Linux gives as much of a CPU as it gives to any."""
    os.setsid()
    pathlib.Path("/proc/self/autogroup").write_text("-20")


def before_programs(ordinary):
    """What the process of a server or of a load does first, so that no other of the machine takes its CPU; None where that is not allowed."""
    if ordinary:
        return None
    try:
        subprocess.run(["true"], preexec_fn=weigh_most, check=True)
    except subprocess.SubprocessError:
        print("ordinary weight: latency holds what other processes of this machine take", file=sys.stderr)
        return None
    return weigh_most


class Bench:
    def __init__(self, options):
        self.before = before_programs(options.ordinary)
        self.real_time = real_time()
        self.build, self.models, self.options = options.build, options.models, options
        self.images = sorted(str(path) for path in options.images.glob("**/*.jpg"))[:64]
        assert self.images, f"{options.images} holds no .jpg"
        self.cpus = len(os.sched_getaffinity(0))

    def load(self, transport, *more, connections=CONNECTIONS, **limits):
        limits = {"seconds": self.options.seconds, **limits}
        words = [f"--{name.replace('_', '-')}={value}" for name, value in limits.items()]
        # As fast as it goes, the loader may wait: it asks for no more than it is given.
        before = self.real_time if "rate" in limits else []
        command = [*before, self.build / "bench" / "serve_load", transport, *self.images, f"--connections={connections}", *words, *more]
        report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, preexec_fn=self.before).stdout)
        assert report["errors"] == 0, report["first_error"]
        return report

    def bursts(self, transport, *more):
        """Reports at SHARE of the throughput, which is measured anew before each: the machine is not equally fast all the time."""
        reports = []
        for _ in range(BURSTS):
            full = self.load(transport, *more, seconds=0.7, warm_up=0.1)["requests_per_second"]
            reports.append(self.load(transport, *more, rate=SHARE * full, seconds=1, warm_up=0.2))
        return reports

    def engine(self, **limits):
        return self.load("engine", f"--bundle={self.models / '1' / 'model.nacre'}", connections=self.cpus, **limits)

    def beside_engine(self, process, transport, *more):
        """Medians of a server's turns, its CPU time, and its shares of what the engine alone does right after each turn: how fast
        the machine is changes from one second to the next."""
        before = cpu_seconds(process.pid)
        seconds = self.options.seconds / TURNS
        turns, shares = [], []
        for _ in range(TURNS):
            turns.append(self.load(transport, *more, seconds=seconds, warm_up=WARM_UP))
            shares.append(turns[-1]["requests_per_second"] / self.engine(seconds=seconds, warm_up=WARM_UP)["requests_per_second"])
        requests = sum(turn["requests"] for turn in turns) * (1 + WARM_UP / seconds)
        cpu_us = 1e6 * (cpu_seconds(process.pid) - before) / requests
        keys = ("requests_per_second", "p50_ms", "p99_ms", "loader_cpu_us")
        return {key: median(turns, key) for key in keys} | {"server_cpu_us": cpu_us, "shares": shares}

    @contextlib.contextmanager
    def nacre(self, *more):
        """Process and ports of gRPC and REST, when the model is there."""
        ports = free_port(), free_port()
        command = [self.build / "nacre-serve", f"--port={ports[0]}", f"--rest_api_port={ports[1]}", "--model_name=face96",
                   f"--model_base_path={self.models}", *more]
        with running(command, ports[0], before=self.before) as process:
            self.wait_for_model("127.0.0.1", ports[1])
            yield process, ports

    def wait_for_model(self, host, port):
        import urllib.request

        for _ in range(START_SECONDS * 10):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{host}:{port}/v2/health/ready", timeout=5):
                return
            time.sleep(0.1)
        raise AssertionError("nacre-serve does not become ready")

    def serve_and_load(self, transport, *more):
        """Throughput of `transport`, and bursts at SHARE of it, alone and beside slow clients."""
        with self.nacre(*more) as (process, ports):
            target = [f"--port={ports[0 if transport == 'grpc' else 1]}", "--model=face96"]
            first = self.load(transport, *target, connections=1, requests=1, warm_up=0)
            # As the first came: when nothing was to be done.
            lone = self.load(transport, *target, connections=1, seconds=2, rate=LONE_RATE, warm_up=0)
            alone = self.load(transport, *target, connections=1, seconds=2)
            full = self.beside_engine(process, transport, *target)
            full["first_ms"], full["lone_ms"], full["alone_ms"] = first["p50_ms"], lone["p50_ms"], alone["p50_ms"]
            full["bursts"] = self.bursts(transport, *target)
            with slow_clients(ports[0 if transport == "grpc" else 1], UNFINISHED[transport]):
                full["slow_bursts"] = self.bursts(transport, *target)
        return full

    def python(self, engine, source, threads=None):
        """Of workers that compute with so many threads each; with as many as the engine takes by itself if None."""
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "--app-dir", pathlib.Path(__file__).parent, "python_server:app",
                   f"--port={port}", f"--workers={WORKERS}", "--log-level=error"]
        environment = {"NACRE_ENGINE": engine, "NACRE_MODEL": str(self.models / source), "TF_CPP_MIN_LOG_LEVEL": "3"}
        if threads is not None:
            environment |= {"NACRE_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        with running(command, port, environment, self.before) as process:
            # The socket is open before the workers have loaded their engine; every worker gets its first requests here.
            self.load_all_workers(process, port, 3)
            return self.load_all_workers(process, port, self.options.seconds)

    def load_all_workers(self, process, port, seconds):
        """A worker that is awake accepts every connection that waits: those of a load that has kept one busy alone do not count."""
        for _ in range(20):
            children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            before = [cpu_seconds(child) for child in children]
            report = self.load("rest", f"--port={port}", "--model=face96", seconds=seconds)
            used = sorted(cpu_seconds(child) - was for child, was in zip(children, before))[-WORKERS:]
            if used[0] > used[-1] / 2:
                return report
        raise AssertionError("one worker has all connections, again and again")


def median(reports, key):
    return statistics.median(report[key] for report in reports)


def latency_cells(reports):
    """p50, p99, their ratio and the worst p99 of all rounds' bursts, and p99 beside slow clients.

    Medians: a stop of the whole machine spoils the burst that it falls into.
    """
    bursts, slow = ([burst for report in reports for burst in report.get(key, [])] for key in ("bursts", "slow_bursts"))
    if not bursts:
        return [""] * 5
    p50, p99 = median(bursts, "p50_ms"), median(bursts, "p99_ms")
    worst = max(burst["p99_ms"] for burst in bursts)
    return [f"{figure:.2f}" for figure in (p50, p99, p99 / p50, worst, median(slow, "p99_ms"))]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("models", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ordinary", action="store_true", help="servers and loads weigh no more than other processes")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    bench = Bench(options)
    measured = {
        "engine alone": bench.engine,
        "nacre-serve, REST": lambda: bench.serve_and_load("rest"),
        "nacre-serve, REST, batching": lambda: bench.serve_and_load("rest", "--enable_batching"),
        "nacre-serve, gRPC": lambda: bench.serve_and_load("grpc"),
        "nacre-serve, gRPC, batching": lambda: bench.serve_and_load("grpc", "--enable_batching"),
        "FastAPI + TensorFlow": lambda: bench.python("tensorflow", "saved_model"),
        "FastAPI + TensorFlow, one thread a worker": lambda: bench.python("tensorflow", "saved_model", 1),
        "FastAPI + ONNX Runtime": lambda: bench.python("onnxruntime", "model.onnx"),
        "FastAPI + ONNX Runtime, one thread a worker": lambda: bench.python("onnxruntime", "model.onnx", 1),
    }
    reports = {name: [] for name in measured}
    for _ in range(options.rounds):
        for name, measure in measured.items():
            reports[name].append(measure())
            print(f"{name}: {reports[name][-1]['requests_per_second']:.0f} requests/s", file=sys.stderr, flush=True)
    alone = median(reports["engine alone"], "requests_per_second")
    rest = median(reports["nacre-serve, REST"], "requests_per_second")
    waits = "" if bench.real_time else ", the loader's waits included"
    lines = ["| | requests/s | of the engine | REST is faster by | CPU µs, server | CPU µs, loader | p50 ms | p99 ms | "
             f"p50 at {100 * SHARE:.0f} %{waits} | p99 at {100 * SHARE:.0f} % | in p50 | p99 of the worst burst | p99 with {SLOW:,} slow clients | first | each by itself | one connection |",
             "|" + 16 * "---|"]
    for name, list_of in reports.items():
        rate = median(list_of, "requests_per_second")
        shares = [share for report in list_of for share in report.get("shares", [])] or [rate / alone]
        cell = lambda key, digits=2: f"{median(list_of, key):.{digits}f}" if key in list_of[0] else ""
        lines.append(f"| {name} | {rate:,.0f} | {100 * statistics.median(shares):.0f} % | {rest / rate:.1f} | {cell('server_cpu_us', 0)} | {cell('loader_cpu_us', 0)} | {cell('p50_ms')} | "
                     f"{cell('p99_ms')} | {' | '.join(latency_cells(list_of))} | {cell('first_ms')} | {cell('lone_ms')} | {cell('alone_ms')} |")
    table = "\n".join(lines) + "\n"
    print(table, end="")
    if options.out:
        options.out.write_text(table)


if __name__ == "__main__":
    main()
