"""A peer in a process of its own, which stays alive and takes steps when it is told: `worker.py MODULE SPEC`.

SPEC is JSON for the module's class Peer. On standard input comes a line {"warm_up": W, "steps": N} for each turn, the answer is
a line {"ms": [...], "facts": {...}}, of the N steps; "case": K in it chooses what a step is. The first line that it writes are
the facts, what the peer says of itself after a first step.
"""

import importlib
import json
import os
import pathlib
import sys
import time

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parents[1] / "tests" / "judges")]


def main():
    module, spec = sys.argv[1], json.loads(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints must not come between the answers

    def say(answer):
        print(json.dumps(answer), file=answers, flush=True)

    peer = importlib.import_module(module).Peer(spec)
    peer.step()
    say(peer.facts())
    for line in sys.stdin:
        turn = json.loads(line)
        if "case" in turn:
            peer.choose(turn["case"])
        times = []
        for i in range(turn["warm_up"] + turn["steps"]):
            begin = time.perf_counter_ns()
            peer.step()
            times.append((time.perf_counter_ns() - begin) / 1e6)
        say({"ms": times[turn["warm_up"] :], "facts": peer.facts()})


if __name__ == "__main__":
    main()
