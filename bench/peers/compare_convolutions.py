"""Single convolutions with a bias: conv_bench's "plain" ones beside oneDNN's through PyTorch, batch 16."""

import json
import math
import re
import statistics

import alternation

BATCH = 16
NAME = re.compile(r"plain (conv|depthwise) (\d+)x\d+ (\d+)(?:>(\d+))? k(\d+)(?: s(\d+))?/(\w+)/")
# conv_bench's passes: in training, and of backward with or without the input's gradient.
PASSES = {"forward": "forward", "variables": "kernel gradient", "backward": "both gradients"}
NOTE = (
    "Batch 16, with a bias, no activation. oneDNN is called by PyTorch, channels_last. nacre computes a layer's gradients in one "
    "go: \"input gradient\" is the difference of its backward passes with and without it, turn by turn. First layers (1 or 3 "
    "channels) need none. PyTorch pads strided convolutions on both sides where nacre, as TensorFlow, pads below and right: the "
    "same work.")


def run(context):
    bench = [str(context.benches / "conv_bench")]
    chosen = f"^plain .*/(forward|variables|backward)/batch:{BATCH}/threads:{context.threads}/"
    listed = alternation.output_of([*bench, "--benchmark_list_tests", f"--benchmark_filter={chosen}"], context.threads)
    cases = [case_of(line) for line in listed.splitlines()]
    # A first layer's two backward passes are the same.
    cases = [case for case in cases if not (case["pass"] == "both gradients" and case["channels"] < 4)]
    cases += [dict(case) | {"pass": "input gradient"} for case in cases if case["pass"] == "both gradients"]
    context.say(f"convolutions: {len(cases)} cases")
    peer = alternation.Peer.of_module("oneDNN", "conv_torch", {"threads": context.threads, "cases": cases}, context.folder)
    ours, theirs = {}, {}
    try:
        for i in range(context.alternations):
            told = measure(bench, chosen, context)
            for k, case in enumerate(cases):
                mine = told.get(case["bench"])
                if case["pass"] == "input gradient":
                    alone = told[case["bench"].replace("/backward/", "/variables/")]
                    mine = [both - kernel for both, kernel in zip(mine, alone)]
                ours.setdefault(k, []).append(mine)
                theirs.setdefault(k, []).append(peer.run(2, context.steps(20, 2), case=k))
            context.say(f"  {i + 1}/{context.alternations}")
    finally:
        peer.close()
    found = [
        {key: case[key] for key in ("name", "class", "pass")} | {"nacre": summary(ours[k]), "oneDNN": summary(theirs[k])}
        for k, case in enumerate(cases)]
    # On a busy machine a difference of two times may be none.
    kept = [case for case in found if case["nacre"]["min_ms"] > 0 and case["nacre"]["median_ms"] > 0]
    lost = len(found) - len(kept)
    note = NOTE + (f" Left out because the difference was not above zero: {lost}." if lost else "")
    return {"note": note, "cases": kept, "means": means(kept), "version": peer.facts["version"]}


def case_of(line):
    """A line of conv_bench's list as the peer needs it."""
    kind, size, channels, filters, kernel, stride, of = NAME.match(line).groups()
    channels, kernel, stride = int(channels), int(kernel), int(stride or 1)
    if kind == "depthwise":
        sort = "depthwise"
    elif stride > 1:
        sort = "strided"
    else:
        sort = "1x1" if kernel == 1 else "3x3 and 5x5, stride 1"
    return {
        "bench": line, "name": line.split("/")[0].removeprefix("plain "), "class": sort, "pass": PASSES[of], "batch": BATCH,
        "size": int(size), "channels": channels, "filters": int(filters or channels), "kernel": kernel, "stride": stride,
        "depthwise": kind == "depthwise"}


def measure(bench, chosen, context):
    """Name -> least and median milliseconds of conv_bench's repetitions, in a process of its own."""
    told = alternation.output_of(
        [*bench, f"--benchmark_filter={chosen}", "--benchmark_format=json", f"--benchmark_repetitions={context.steps(10, 2)}",
         f"--benchmark_min_time={context.steps(0.01, 0.001)}"], context.threads)
    scale = {"ns": 1e-6, "us": 1e-3, "ms": 1.0}
    times = {}
    for run_ in json.loads(told)["benchmarks"]:
        if run_["run_type"] == "iteration":
            times.setdefault(run_["run_name"], []).append(run_["real_time"] * scale[run_["time_unit"]])
    return {name: [min(ms), statistics.median(ms)] for name, ms in times.items()}


def summary(turns):
    return {"min_ms": min(turn[0] for turn in turns), "median_ms": statistics.median(turn[1] for turn in turns), "turns": turns}


def means(cases):
    """Geometric means of the ratios by class and pass."""
    groups = {}
    for case in cases:
        groups.setdefault((case["class"], case["pass"]), []).append(case)
    return [
        {"class": of[0], "pass": of[1], "shapes": len(group)} | {
            key: math.exp(statistics.mean(math.log(case["oneDNN"][f"{key}_ms"] / case["nacre"][f"{key}_ms"]) for case in group))
            for key in ("min", "median")}
        for of, group in groups.items()]
