"""Runs nacre and its peers by turns and writes what was found: see scripts/bench-peers.sh."""

import argparse
import datetime
import importlib
import json
import os
import pathlib
import platform
import sys
import tempfile
import traceback

FOLDER = pathlib.Path(__file__).resolve().parent
PROJECT = FOLDER.parents[1]
sys.path[:0] = [str(FOLDER), str(PROJECT / "tests" / "judges")]
sys.dont_write_bytecode = True

# What is run when nothing is chosen, and what only when it is named.
USUAL = ["training", "pipeline", "inference", "convolutions", "start", "growth"]
LONG = ["accuracy"]
FEWEST = 5  # alternations: fewer say nothing on a machine that is never quite idle


def machine(threads):
    cpu = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    flags = next(line for line in open("/proc/cpuinfo") if line.startswith("flags")).split()
    return {
        "cpu": cpu[0], "cpus": os.cpu_count(), "threads": threads, "kernel": platform.release(),
        "isa": [flag for flag in ("avx2", "fma", "avx512f") if flag in flags], "load": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(prog="bench-peers.sh")
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--dlib", required=True, type=pathlib.Path)
    parser.add_argument("--only", action="append", choices=USUAL + LONG)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--alternations", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--page-only", action="store_true")
    options = parser.parse_args()
    if options.alternations < FEWEST:
        parser.error(f"--alternations: at least {FEWEST}")

    import checkpoint
    import context
    import page

    results_file = PROJECT / "docs" / "benchmarks.json"

    def known():
        return json.loads(results_file.read_text()) if results_file.exists() else {}

    with tempfile.TemporaryDirectory(prefix="nacre-peers-") as folder:
        folder = pathlib.Path(folder)
        checkpoint.generate_reader(folder / "flatbuffers")
        given = context.Context(
            nacre=(options.build / "nacre").resolve(), benches=(options.build / "bench").resolve(), dlib=options.dlib,
            folder=folder, threads=options.threads, alternations=options.alternations, quick=options.quick,
            say=lambda text: print(text, file=sys.stderr, flush=True))
        broken = []
        for name in [] if options.page_only else options.only or USUAL:
            about = machine(options.threads) | {
                "date": datetime.date.today().isoformat(), "quick": options.quick, "alternations": options.alternations}
            try:
                found = importlib.import_module(f"compare_{name}").run(given)
            except Exception:  # the other parts are worth having all the same
                traceback.print_exc()
                broken.append(name)
                continue
            about["load_after"] = os.getloadavg()[0]
            # After each part, so that a long run that is interrupted has not been for nothing.
            results = known() | {name: {"about": about, "found": found}}
            results_file.write_text(json.dumps(results, indent=1) + "\n")
            page.write(PROJECT / "docs", results)
    page.write(PROJECT / "docs", known())
    if broken:
        sys.exit(f"bench-peers.sh: broke off: {', '.join(broken)}")


if __name__ == "__main__":
    main()
