"""PyTorch judges nacre's training: the same network, variables, batches and order, for every preset.

Gradients come from one step of SGD at a rate so large that the step is the gradient, up to rounding. PyTorch runs in
double precision, so what differs is nacre's own error. Dropout is left out: its draws are nacre's own.

A sum within rounding of zero may fall on either side of a relu, and then the gradients of two right engines differ by
thousandths. Deep networks on a batch of 20 images have millions of such sums, and some are that near. Hence two batches: of 2
images, where there are few, the bound is strict for the middle one of three starts; of 20, where the parallel code is at work,
it is how far PyTorch in single precision is from itself in double, at most 0.02.
"""

import json

import numpy as np
import torch

import command
import network
from case import BATCH, Case

SMALL_BATCH = 2

# By what part the first step of ten lowers the loss, to first order. Behind many batch normalizations a longer way carries
# some sum over a relu's edge; what is left is well above the bound.
FIRST_STEP = {"residual32": 1e-3, "mobilenet96": 3e-4}


def presets(nacre):
    return [entry["name"] for entry in json.loads(command.run(nacre, "models", "--json"))]


def judge_gradients(case, start, dtype):
    """Loss, and name -> gradient in double, of the first batch."""
    judge = network.Network(case.model, start, dtype)
    loss = judge.loss(*case.batch(0))
    loss.backward()
    return loss.item(), {name: variable.grad.double().numpy() for name, variable in judge.trainable().items()}


def judge_losses(case, start, steps, optimizer, dtype):
    return network.Network(case.model, start, dtype).train(case, steps, optimizer)


def gradient_errors(case):
    """Largest relative L2 error of a variable's gradient, and its name: nacre's, and PyTorch's in single precision."""
    start = case.start()
    rate = 1000.0
    _, after = case.train("step", 1, "--optimizer", "sgd", "--learning-rate", str(rate))
    _, expected = judge_gradients(case, start, torch.float64)
    _, single = judge_gradients(case, start, torch.float32)
    own = {name: (start[name].astype(np.float64) - after[name]) / rate for name in expected}
    assert len(own) >= 8
    assert all(np.isfinite(gradient).all() for gradient in own.values())
    error = lambda name, gradient: np.linalg.norm(gradient - expected[name]) / np.linalg.norm(expected[name])
    return (max((error(name, gradients[name]), name) for name in expected) for gradients in (own, single))


def test_gradients_of_one_step(nacre, preset, tmp_path):
    errors = []
    for seed in (1, 2, 3):
        own, single = gradient_errors(Case(nacre, preset, tmp_path / str(seed), SMALL_BATCH, SMALL_BATCH, seed))
        print(f"{preset}: largest relative error {own[0]:.1e} ({own[1]}) (PyTorch's own in single: {single[0]:.1e})")
        errors.append(own[0])
    assert sorted(errors)[1] <= 1e-4, errors


def test_gradients_of_a_larger_batch(nacre, preset, tmp_path):
    own, single = gradient_errors(Case(nacre, preset, tmp_path, BATCH))
    print(f"{preset}: largest relative error {own[0]:.1e} ({own[1]}) (PyTorch's own in single: {single[0]:.1e})")
    assert own[0] <= max(1e-4, min(2e-2, single[0])), own


def test_first_ten_losses(nacre, preset, tmp_path):
    case = Case(nacre, preset, tmp_path, 10 * BATCH)
    start = case.start()
    loss, gradients = judge_gradients(case, start, torch.float64)
    square = sum(np.square(gradient).sum() for gradient in gradients.values())
    rate = float(f"{FIRST_STEP.get(preset, 0.01) * loss / square:.2g}")
    losses, _ = case.train("run", 10, "--optimizer", "sgd", "--learning-rate", str(rate))
    expected, single, standing = (judge_losses(case, start, 10, lambda v: torch.optim.SGD(v, r), dtype)
                                  for r, dtype in ((rate, torch.float64), (rate, torch.float32), (0.0, torch.float64)))
    error, judge_error, effect = (max(abs(a - b) / b for a, b in zip(curve, expected)) for curve in (losses, single, standing))
    print(f"{preset}: largest relative difference of a loss {error:.1e} (PyTorch's own in single: {judge_error:.1e};"
          f" without steps: {effect:.1e})")
    assert len(losses) == 10
    assert error <= 2e-5
    assert effect > 1e-4, "the steps must show in the losses"


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
