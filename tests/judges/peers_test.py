"""What the comparison with other engines (bench/peers) computes and writes; the comparison itself is no test."""

import pathlib
import sys
import xml.etree.ElementTree as xml

import pytest

PEERS = pathlib.Path(__file__).resolve().parents[2] / "bench" / "peers"
sys.path.append(str(PEERS))

import alternation  # noqa: E402
import chart  # noqa: E402
import compare_convolutions  # noqa: E402
import page  # noqa: E402

# Answers as a worker does: each step of a turn takes the turn's number of milliseconds.
WORKER = """
import json, sys
print(json.dumps({"version": "7"}), flush=True)
for i, line in enumerate(sys.stdin, 1):
    print(json.dumps({"ms": [i] * json.loads(line)["steps"]}), flush=True)
"""


class Ours:
    name, facts = "nacre", {"live_cells": 0.25}

    def run(self, warm_up, steps):
        return 0.5, 1.0

    def close(self):
        pass


def peer(tmp_path, program, name="peer"):
    return lambda: alternation.Peer(name, [sys.executable, "-c", program], 1, tmp_path / "log")


def test_contestants_take_turns(tmp_path):
    said = []
    case = alternation.contest(Ours(), {"peer": peer(tmp_path, WORKER)}, (5, 1, 3), said.append)
    assert len(said) == 5 and not case["failed"]
    assert case["results"]["peer"]["turns"] == [(i, i) for i in range(1, 6)]
    assert (case["results"]["peer"]["min_ms"], case["results"]["peer"]["median_ms"]) == (1, 3)
    assert case["results"]["peer"]["facts"] == {"version": "7"}
    assert case["results"]["nacre"]["median_ms"] == 1.0


def test_a_peer_that_does_not_start_is_told(tmp_path):
    case = alternation.contest(
        Ours(), {"peer": peer(tmp_path, "raise SystemExit('no such model')")}, (5, 1, 3), lambda text: None)
    assert list(case["results"]) == ["nacre"]
    assert "no such model" in case["failed"]["peer"]


def test_names_of_conv_bench_are_read():
    case = compare_convolutions.case_of("plain conv 56x56 256>512 k1 s2/variables/batch:16/threads:2/real_time")
    assert {key: case[key] for key in ("size", "channels", "filters", "kernel", "stride", "class", "pass")} == {
        "size": 56, "channels": 256, "filters": 512, "kernel": 1, "stride": 2, "class": "strided", "pass": "kernel gradient"}
    case = compare_convolutions.case_of("plain depthwise 48x48 32 k3 s1/forward/batch:16/threads:2/real_time")
    assert (case["filters"], case["class"], case["pass"]) == (32, "depthwise", "forward")
    assert compare_convolutions.case_of("plain conv 12x12 64>128 k5/backward/x")["class"] == "3x3 and 5x5, stride 1"


def test_means_are_geometric():
    def case(ours, theirs):
        return {"class": "1x1", "pass": "forward", "nacre": {"min_ms": ours, "median_ms": ours},
                "oneDNN": {"min_ms": theirs, "median_ms": 2 * theirs}}

    (mean,) = compare_convolutions.means([case(1, 2), case(1, 8)])
    assert mean["shapes"] == 2
    assert mean["min"] == pytest.approx(4) and mean["median"] == pytest.approx(8)


def test_bars_are_as_long_as_their_values():
    root = xml.fromstring(chart.bars("A & B", "ms", [("one", [("nacre", 1.0), ("peer <x>", 4.0)])]))
    ours, theirs = (float(box.get("width")) for box in root.findall("{*}rect")[1:])
    assert theirs == pytest.approx(4 * ours, rel=1e-2)
    assert "peer <x>" in [text.text for text in root.findall("{*}text")]


def test_lines_rise_with_their_values():
    root = xml.fromstring(chart.lines("t", "x", "y", [("a", [(1, 1), (10, 10), (100, 100)]), ("b", [(1, 5), (100, 5)])]))
    straight, level = ([tuple(map(float, at.split(","))) for at in line.get("points").split()]
                       for line in root.findall("{*}polyline"))
    assert straight[0][1] > straight[1][1] > straight[2][1]
    assert straight[1][1] == pytest.approx((straight[0][1] + straight[2][1]) / 2, abs=0.2), "axes are logarithmic"
    assert level[0][1] == level[1][1]


@pytest.mark.parametrize(
    "value, text", [(0.0012345, "0.001"), (0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (12345.6, "12,346")])
def test_numbers(value, text):
    assert chart.number(value) == text


def test_the_page_says_when_figures_are_quick(tmp_path):
    result = {"min_ms": 1.0, "median_ms": 2.0, "turns": [], "facts": {}}
    theirs = {"min_ms": 3.0, "median_ms": 8.0, "turns": [], "facts": {"version": "7"}}
    about = {"date": "2026-01-01", "cpu": "c", "cpus": 2, "isa": ["avx2"], "threads": 2, "alternations": 5, "load": 9.0}
    found = {"net": {"results": {"nacre": result, "peer": theirs}, "failed": {"other": "no"}}}
    for quick in (True, False):
        page.write(tmp_path, {"training": {"about": about | {"quick": quick}, "found": found}})
        text = (tmp_path / "benchmarks.md").read_text()
        assert ("no measurements yet" in text) == quick
        assert "| peer 7 | 3.00 | 8.00 | 3.00 | 4.00 |" in text
        assert "other did not run: no" in text
    assert "net" in (tmp_path / "images" / "benchmarks-training.svg").read_text()
