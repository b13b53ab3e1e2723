"""PyTorch judges nacre's training: the same network, variables, batches and order, for every preset.

Gradients come from one step of SGD at a rate so large that the step is the gradient, up to rounding. PyTorch runs in
double precision, so what differs is nacre's own error. A network with many relus behind batch normalization has sums so
near to zero that rounding decides whether they pass; there the bound is how far PyTorch in single precision is from itself
in double. Dropout is left out: its draws are nacre's own.
"""

import json
import subprocess

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import checkpoint
import data
import network

BATCH = 20
CLASSES = 10
SGD_RATE = 0.0002


@pytest.fixture(scope="session", autouse=True)
def reader(tmp_path_factory):
    checkpoint.generate_reader(tmp_path_factory.mktemp("flatbuffers"))


def presets(nacre):
    listed = json.loads(subprocess.run([nacre, "models", "--json"], check=True, capture_output=True).stdout)
    return [entry["name"] for entry in listed]


class Case:
    """A preset without dropout, as a model file, with data in its size."""

    def __init__(self, nacre, name, folder, images):
        self.nacre, self.folder = nacre, folder
        printed = subprocess.run([nacre, "models", name, "--classes", str(CLASSES)], check=True, capture_output=True)
        self.model = json.loads(printed.stdout)
        for layer in self.model["layers"]:
            if layer["op"] == "Dropout":
                layer["rate"] = 0.0
        self.model.pop("recipe")
        (folder / "model.json").write_text(json.dumps(self.model))
        source = self.model["input"]
        pixels, self.labels = data.fashion(images, source["height"], source["channels"])
        data.write_idx(folder / "data", pixels, self.labels)
        self.images = pixels.astype(np.float64) / 255.0

    def train(self, run, steps, *options):
        """Losses of the steps, and the variables after them."""
        folder = self.folder / run
        subprocess.run(
            [self.nacre, "train", "--model", self.folder / "model.json", "--data", self.folder / "data", "--out", folder,
             "--batch-size", str(BATCH), "--steps", str(steps), "--no-shuffle", "--augment", "none", *options],
            check=True, capture_output=True)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [line["loss"] for line in lines if "loss" in line], checkpoint.read(folder / "checkpoints" / "latest")

    def start(self):
        _, variables = self.train("start", 1, "--optimizer", "sgd", "--learning-rate", "0")
        for name, value in variables.items():  # the step has moved the statistics; nothing in training reads them
            assert np.isfinite(value).all(), name
        return variables

    def batch(self, step):
        rows = (np.arange(BATCH) + step * BATCH) % len(self.labels)
        return self.images[rows], torch.from_numpy(self.labels[rows].astype(np.int64))


def judge_losses(case, start, steps, optimizer, dtype):
    judge = network.Network(case.model, start, dtype)
    stepper = optimizer(judge.trainable().values())
    losses = []
    for step in range(steps):
        images, labels = case.batch(step)
        stepper.zero_grad()
        loss = F.cross_entropy(judge.logits(images), labels)
        loss.backward()
        stepper.step()
        losses.append(loss.item())
    return losses


def test_gradients_of_one_step(nacre, preset, tmp_path):
    case = Case(nacre, preset, tmp_path, BATCH)
    start = case.start()
    rate = 1000.0
    _, after = case.train("step", 1, "--optimizer", "sgd", "--learning-rate", str(rate))
    gradients = []
    for dtype in (torch.float64, torch.float32):
        judge = network.Network(case.model, start, dtype)
        images, labels = case.batch(0)
        F.cross_entropy(judge.logits(images), labels).backward()
        gradients.append({name: variable.grad.double().numpy() for name, variable in judge.trainable().items()})
    expected, single = gradients
    error = lambda name, gradient: np.linalg.norm(gradient - expected[name]) / np.linalg.norm(expected[name])
    worst = {name: error(name, (start[name].astype(np.float64) - after[name]) / rate) for name in expected}
    assert len(worst) >= 8
    name = max(worst, key=worst.get)
    judge_errors = {name: error(name, single[name]) for name in single}
    print(f"{preset}: largest relative error {worst[name]:.1e} ({name}) of {len(worst)} variables"
          f" (PyTorch's own in single: {max(judge_errors.values()):.1e})")
    assert all(np.isfinite(value) for value in worst.values())
    above = {name: value for name, value in worst.items() if value > 1e-4}
    assert all(value <= min(2e-2, max(judge_errors.values())) for value in above.values()), above


def test_first_ten_losses(nacre, preset, tmp_path):
    case = Case(nacre, preset, tmp_path, 10 * BATCH)
    losses, _ = case.train("run", 10, "--optimizer", "sgd", "--learning-rate", str(SGD_RATE))
    start = case.start()
    expected, single = (judge_losses(case, start, 10, lambda v: torch.optim.SGD(v, SGD_RATE), dtype)
                        for dtype in (torch.float64, torch.float32))
    error, judge_error = (max(abs(a - b) / b for a, b in zip(curve, expected)) for curve in (losses, single))
    print(f"{preset}: largest relative difference of a loss {error:.1e} (PyTorch's own in single: {judge_error:.1e})")
    assert len(losses) == 10
    assert error <= max(2e-5, 2 * judge_error)


def test_the_loss_falls_alike(nacre, preset, tmp_path):
    """Adam over some epochs. Two right engines drift apart; how far is told by PyTorch in single and in double."""
    steps, rate = 60, 0.001
    case = Case(nacre, preset, tmp_path, 15 * BATCH)
    losses, _ = case.train("run", steps, "--optimizer", "adam", "--learning-rate", str(rate))
    start = case.start()
    curves = [judge_losses(case, start, steps, lambda v: torch.optim.Adam(v, rate), dtype)
              for dtype in (torch.float64, torch.float32)]
    for at in range(0, steps, 6):
        print(f"{preset} step {at + 1:3}: nacre {losses[at]:.4f}  PyTorch {curves[0][at]:.4f} (double) {curves[1][at]:.4f} (single)")
    ends = [np.mean(curve[-15:]) for curve in (losses, *curves)]
    print(f"{preset}: mean of the last 15: nacre {ends[0]:.4f}  PyTorch {ends[1]:.4f} {ends[2]:.4f}")
    assert ends[0] < 0.6 * np.mean(losses[:3]), "the loss must fall"
    assert abs(ends[0] - ends[1]) <= max(4 * abs(ends[2] - ends[1]), 0.15 * ends[1])
