"""Contestants that take turns: what is compared runs in one alternation after the other, never side by side."""

import json
import os
import pathlib
import statistics
import subprocess
import sys

WORKER = pathlib.Path(__file__).with_name("worker.py")


class Failed(Exception):
    """A contestant could not do its work."""


def equal_terms(threads):
    """How every contestant is started: as many CPUs, and threads by each name that a library reads."""
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
    cpus = sorted(os.sched_getaffinity(0))[:threads]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    return {
        "env": os.environ | quiet | {name: str(threads) for name in names},
        "preexec_fn": lambda: os.sched_setaffinity(0, cpus)}


def output_of(command, threads):
    """What a program that must succeed prints."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **equal_terms(threads))
    if done.returncode != 0:
        raise Failed(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout


class Peer:
    """A process that answers lines of JSON with lines of JSON: worker.py, or a program that does the same."""

    def __init__(self, name, command, threads, log):
        self.name = name
        self._log = log
        with open(log, "w") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, **equal_terms(threads))
        self.facts = self._answer()

    @classmethod
    def of_module(cls, name, module, spec, folder):
        command = [sys.executable, "-B", str(WORKER), module, json.dumps(spec)]
        return cls(name, command, spec["threads"], folder / f"{name.replace(' ', '-')}.log")

    def run(self, warm_up, steps, **turn):
        """Least and median milliseconds of a step."""
        ms = self.ask(warm_up=warm_up, steps=steps, **turn)["ms"]
        return min(ms), statistics.median(ms)

    def ask(self, **turn):
        print(json.dumps(turn), file=self._process.stdin, flush=True)
        return self._answer()

    def peak_mb(self):
        """The most memory that it has held so far."""
        status = pathlib.Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / 1e6

    def close(self):
        self._process.stdin.close()
        self._process.wait()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            end = pathlib.Path(self._log).read_text().strip().splitlines()[-3:]
            raise Failed(f"{self.name}: {' / '.join(end)}")
        return json.loads(line)


class Nacre:
    """`nacre bench ...`: a process of its own each turn, which warms up by itself. `key` is what it times."""

    def __init__(self, command, key, threads):
        self.name = "nacre"
        self._command, self._key, self._threads = command, key, threads
        self.facts = {}

    def run(self, _, steps):
        told = json.loads(output_of([*self._command, "--steps", steps, "--threads", self._threads, "--json"], self._threads))
        self.facts = {key: told[key] for key in ("isa", "live_cells") if key in told}
        return told[f"{self._key}_ms_min"], told[f"{self._key}_ms_median"]

    def close(self):
        pass


def alternate(contestants, alternations, warm_up, steps, say):
    """Turn by turn. Name -> {"min_ms", "median_ms", "turns", "facts"}.

    The minimum is over all steps; the median is that of the turns' medians. In `turns` stand both of each turn.
    """
    turns = {contestant.name: [] for contestant in contestants}
    for i in range(alternations):
        for contestant in contestants:
            turns[contestant.name].append(contestant.run(warm_up, steps))
        say(f"  {i + 1}/{alternations}: " + ", ".join(f"{name} {of[-1][1]:.2f}" for name, of in turns.items()) + " ms")
    return {
        contestant.name: {
            "min_ms": min(turn[0] for turn in turns[contestant.name]),
            "median_ms": statistics.median(turn[1] for turn in turns[contestant.name]),
            "turns": turns[contestant.name],
            "facts": contestant.facts,
        }
        for contestant in contestants
    }


def contest(nacre, peers, shape, say):
    """`alternate` of nacre and those of `peers` (functions that start one) that start; the others are told in "failed"."""
    contestants, failed = [nacre], {}
    try:
        for name, start in peers.items():
            try:
                contestants.append(start())
            except Failed as reason:
                failed[name] = str(reason)
                say(f"  left out: {reason}")
        return {"results": alternate(contestants, *shape, say), "failed": failed}
    finally:
        for contestant in contestants:
            contestant.close()
