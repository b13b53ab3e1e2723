"""Makes docs/benchmarks.md and its charts of docs/benchmarks.json."""

import chart

INTRO = """
nacre beside its peers, on the same machine, by turns: every contestant is a process that stays alive (nacre's is started anew each
turn and warms up); one alternation after the other, each takes its steps, then the next. The same network, batch, kind of images,
initial variables (dlib draws its own), optimizer and number of threads, all in single precision. *Minimum* is the least time of all
steps, *median* that of the turns' medians; *ratio* is the peer's divided by nacre's, of the minima and of the medians: above 1 nacre is
faster. Only ratios within one run count: machines differ. The raw figures of every turn are in [benchmarks.json](benchmarks.json);
`bench/peers` holds the programs.

`sh scripts/bench-peers.sh` measures this again and writes what stands between its marks (`--only NAME` one part, `--quick` fewer steps).
"""

# The page has other parts too.
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"

QUICK = """
> **These figures are no measurements yet.** {parts} taken in the quick form, with few steps, on a machine that was busy with
> other work (load {load}, {cpus} CPUs). They show that the comparisons run. `sh scripts/bench-peers.sh` on an idle machine replaces
> them.
"""


def _table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]) + "\n"


def _about(about):
    form = "quick form" if about["quick"] else "full form"
    return (f"{about['date']}, {about['cpu']} with {', '.join(about['isa'])}, {about['threads']} threads, "
            f"{about['alternations']} alternations, {form}, load {about['load']:.1f} before.\n")


def _ratio(value):
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _contests(found):
    """Tables of contests, and the groups of their bars."""
    text, groups = "", []
    for name, case in found.items():
        if name == "note":
            continue
        results = case["results"]
        ours = results["nacre"]
        rows = []
        for who, result in results.items():
            ratios = ("", "") if who == "nacre" else (
                _ratio(result["min_ms"] / ours["min_ms"]), _ratio(result["median_ms"] / ours["median_ms"]))
            label = " ".join(filter(None, [who, result["facts"].get("version")]))
            rows.append([label, chart.number(result["min_ms"]), chart.number(result["median_ms"]), *ratios])
        live = ours["facts"].get("live_cells")
        text += f"\n**{name}**" + ("" if live is None else f" ({100 * live:.0f} % of nacre's cells live after the steps)") + "\n\n"
        text += _table(["", "minimum, ms", "median, ms", "ratio of minima", "ratio of medians"], rows)
        for who, why in case["failed"].items():
            text += f"\n{who} did not run: {why}\n"
        groups.append((name, [(who, result["min_ms"]) for who, result in results.items()]))
    return text, groups


def _training(found):
    text, groups = _contests(found)
    return text, {"training": chart.bars("A training step", "least ms", groups)}


def _pipeline(found):
    text, groups = _contests(found)
    return text, {"pipeline": chart.bars("A training step with its input pipeline", "least ms", groups)}


def _inference(found):
    text, groups = _contests(found)
    return text, {"inference": chart.bars("Inference", "least ms a batch", groups)}


def _convolutions(found):
    means = [[of["class"], of["pass"], of["shapes"], _ratio(of["min"]), _ratio(of["median"])] for of in found["means"]]
    text = "Geometric means of the ratios:\n\n"
    text += _table(["class", "pass", "shapes", "ratio of minima", "ratio of medians"], means)
    text += "\n" + _table(
        ["convolution", "pass", "nacre, ms", "oneDNN, ms", "ratio of minima", "ratio of medians"],
        [[of["name"], of["pass"], chart.number(of["nacre"]["min_ms"]), chart.number(of["oneDNN"]["min_ms"]),
          _ratio(of["oneDNN"]["min_ms"] / of["nacre"]["min_ms"]), _ratio(of["oneDNN"]["median_ms"] / of["nacre"]["median_ms"])]
         for of in found["cases"]])
    groups = {}
    for of in found["cases"]:
        if of["pass"] == "forward":
            groups[of["name"]] = [("nacre", of["nacre"]["min_ms"]), ("oneDNN", of["oneDNN"]["min_ms"])]
    return text, {"convolutions": chart.bars("Convolutions, forward", "least ms", list(groups.items()))}


def _start(found):
    rows = [[of["name"], chart.number(of["min_ms"]), chart.number(of["median_ms"]), chart.number(of["peak_mb"])]
            for of in found["start"]]
    text = "\nFrom the start of the process to the first prediction of face96, and the most memory it held:\n\n"
    text += _table(["", "minimum, ms", "median, ms", "memory, MB"], rows)
    rows = [[of["name"], chart.number(of["peak_mb"])] for of in found["memory"]]
    text += "\nThe most memory of a process that trains face96, batch 100:\n\n" + _table(["", "MB"], rows)
    groups = [("start to first prediction, ms", [(of["name"], of["min_ms"]) for of in found["start"]]),
              ("its memory, MB", [(of["name"], of["peak_mb"]) for of in found["start"]]),
              ("memory of training, MB", [(of["name"], of["peak_mb"]) for of in found["memory"]])]
    return text, {"start": chart.bars("Start and memory", "each by itself", groups)}


def _accuracy(found):
    rows = [[of["name"], of["epochs"] or "-", chart.number(of["seconds"]), f"{of['accuracy']:.4f}"] for of in found["runs"]]
    return "\n" + _table(["", "epochs", "seconds", "test accuracy"], rows), {}


def _growth(found):
    text, charts = "", {}
    for of in found:
        series = of["series"]
        xs = [x for x, _ in series[0]["points"]]
        text += f"\n**{of['title']}**\n\n" + _table(
            [of["x"], *(f"{one['name']}, ms" for one in series)],
            [[f"{x:,}", *(chart.number(dict(map(tuple, one["points"]))[x]) for one in series)] for x in xs])
        text += f"\n![{of['title']}](images/benchmarks-{of['name']}.svg)\n"
        charts[of["name"]] = chart.lines(
            of["title"], of["x"], "ms", [(one["name"], [tuple(p) for p in one["points"]]) for one in series])
    return text, charts


PARTS = {
    "training": (
        "Training steps", "Forward, loss, backward and update on images of noise in memory, each preset by its own recipe.",
        _training),
    "pipeline": ("Training with its input pipeline", "", _pipeline),
    "inference": ("Inference", "From the network's input in memory to its probabilities, with first weights. nacre leaves out what zeros would add: in face96 46 % of what fc1 reads is zero, in mobilenet96 55 to 65 % of what its 1x1 convolutions read, as a relu leaves them.", _inference),
    "convolutions": ("Single convolutions", "", _convolutions),
    "start": ("Start and memory", "", _start),
    "accuracy": ("Time to an accuracy of 0.92 on Fashion-MNIST", "", _accuracy),
    "growth": ("How cost grows", "nacre alone.", _growth),
}


def write(docs, results):
    """The page and the charts of what there is in `results`."""
    text = INTRO
    quick = [name for name in PARTS if name in results and results[name]["about"]["quick"]]
    if quick:
        about = [results[name]["about"] for name in quick]
        parts = "All were" if len(quick) == len(results) else f"Those of {', '.join(PARTS[n][0].lower() for n in quick)} were"
        text += QUICK.format(parts=parts, load=f"{max(a['load'] for a in about):.0f}", cpus=about[0]["cpus"])
    (docs / "images").mkdir(exist_ok=True)
    for name, (title, doc, make) in PARTS.items():
        if name not in results:
            continue
        body, charts = make(results[name]["found"])
        note = results[name]["found"].get("note") if isinstance(results[name]["found"], dict) else None
        text += f"\n## {title}\n{doc}{' ' if doc else ''}{_about(results[name]['about'])}"
        text += f"\n{note}\n" if note else ""
        for chart_name, picture in charts.items():
            (docs / "images" / f"benchmarks-{chart_name}.svg").write_text(picture)
            if name != "growth":
                text += f"\n![{title}](images/benchmarks-{chart_name}.svg)\n"
        text += body
    page = docs / "benchmarks.md"
    old = page.read_text() if page.exists() else f"# Benchmarks\n\n{BEGIN}{END}\n"
    before, rest = old.split(BEGIN)
    page.write_text(before + BEGIN + text + END + rest.split(END)[1])
