"""PyTorch judges nacre's training: the same network, variables, batches and order, for every preset.

Gradients come from one step of SGD at a rate so large that the step is the gradient, up to rounding. PyTorch runs in
double precision, so what differs is nacre's own error. Dropout is left out: its draws are nacre's own.

A sum within rounding of zero may fall on either side of a relu, and then the gradients of two right engines differ by
thousandths. Deep networks on a batch of 20 images have millions of such sums, and some are that near. Hence

- batches of 2 images, where there are few: the bound is strict for every start at which PyTorch in single precision agrees with
  itself in double, so that no tie is in sight, if not of the fast paths (Winograd's round twice as much) then of the reference; the
  others (with mobilenet96 there are no such) are tried until three are alike on the fast paths;
- batches of 20, where the parallel code is at work: strict for the presets with smooth functions in the place of relu and
  max pooling (case.smooth), of which nothing can fall on either side;
- and the networks as they are on 20 images: at most as far as PyTorch in single precision is from itself, and 0.02.

Over longer runs two right engines drift apart. The yardstick is how far PyTorch in single precision is from itself in double
after the same steps.
"""

import json

import numpy as np
import torch

import command
import network
from case import BATCH, Case, smooth

SMALL_BATCH = 2
STARTS, STARTS_ALIKE = 10, 3  # so many at most are looked at; so many must be alike
NO_TIE = 5e-5

# By what part the first step of ten lowers the loss, to first order. Behind many batch normalizations a longer way carries
# some sum over a relu's edge, where there is one.
FIRST_STEP = 0.01
SHORT_FIRST_STEP = {"residual32": 1e-3, "mobilenet96": 3e-4}


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


def distance(gradients, expected):
    """Largest relative L2 distance of a variable's gradient, and its name."""
    assert gradients.keys() == expected.keys() and len(expected) >= 8
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    relative = lambda name: np.linalg.norm(gradients[name] - expected[name]) / np.linalg.norm(expected[name])
    return max((relative(name), name) for name in expected)


def own_gradients(case, start, names):
    rate = 1000.0
    _, after = case.train("step", 1, "--optimizer", "sgd", "--learning-rate", rate, "--overwrite")
    return {name: (start[name].astype(np.float64) - after[name]) / rate for name in names}


def judged_distance(case, start, expected):
    own = distance(own_gradients(case, start, expected), expected)
    print(f"{case.name}: gradients of {case.batch_size} images (seed {case.seed}) within {own[0]:.1e} of PyTorch's ({own[1]})")
    return own[0]


def test_gradients_of_one_step(nacre, network_name, tmp_path, monkeypatch):
    alike = 0
    for seed in range(1, STARTS + 1):
        case = Case(nacre, network_name, tmp_path / str(seed), SMALL_BATCH, SMALL_BATCH, seed)
        start = case.start()
        (_, expected), (_, single) = (judge_gradients(case, start, dtype) for dtype in (torch.float64, torch.float32))
        yardstick = distance(single, expected)[0]
        print(f"{case.name}: PyTorch in single is {yardstick:.1e} from itself in double")
        own = judged_distance(case, start, expected)
        alike += own <= 1e-4
        if own > 1e-4 and yardstick <= NO_TIE:
            # A fast path may round a sum to the other side of a relu's edge; the reference then must not.
            with monkeypatch.context() as patch:
                patch.setenv("NACRE_ISA", "reference")
                assert judged_distance(case, start, expected) <= 1e-4
        if alike == STARTS_ALIKE:
            return
    raise AssertionError(f"only {alike} of {STARTS} starts are alike")


def test_gradients_of_a_larger_batch(nacre, preset, tmp_path):
    case = Case(nacre, preset, tmp_path, BATCH)
    start = case.start()
    (_, expected), (_, single) = (judge_gradients(case, start, dtype) for dtype in (torch.float64, torch.float32))
    yardstick = distance(single, expected)[0]
    print(f"{preset}: PyTorch in single is {yardstick:.1e} from itself in double")
    assert judged_distance(case, start, expected) <= max(1e-4, min(2e-2, yardstick))


def assert_losses_alike(case, start, loss, gradients, first_step, resolution):
    """Ten steps of SGD, of which the first lowers the loss by the part `first_step`, to first order.

    What the steps change is `resolution` times the error at least.
    """
    square = sum(np.square(gradient).sum() for gradient in gradients.values())
    rate = float(f"{first_step * loss / square:.2g}")
    losses, _ = case.train("run", 10, "--optimizer", "sgd", "--learning-rate", rate)
    assert len(losses) == 10
    expected = judge_losses(case, start, 10, lambda variables: torch.optim.SGD(variables, rate), torch.float64)
    judge = network.Network(case.model, start, torch.float64)
    with torch.no_grad():
        standing = [judge.loss(*case.batch(step)).item() for step in range(10)]
    error, effect = (max(abs(a - b) / b for a, b in zip(curve, expected)) for curve in (losses, standing))
    print(f"{case.name}: ten losses at rate {rate:g} within {error:.1e} of PyTorch's (without steps: {effect:.1e})")
    assert error <= 2e-5
    assert effect >= max(first_step / 4, resolution * error), "the steps must show in the losses"


def test_without_ties(nacre, preset, tmp_path):
    case = Case(nacre, preset, tmp_path, 10 * BATCH, alter=smooth)
    start = case.start()
    loss, gradients = judge_gradients(case, start, torch.float64)
    assert judged_distance(case, start, gradients) <= 1e-4
    assert_losses_alike(case, start, loss, gradients, FIRST_STEP, 100)


def test_first_ten_losses(nacre, preset, tmp_path):
    case = Case(nacre, preset, tmp_path, 10 * BATCH)
    start = case.start()
    loss, gradients = judge_gradients(case, start, torch.float64)
    assert_losses_alike(case, start, loss, gradients, SHORT_FIRST_STEP.get(preset, FIRST_STEP), 20)


def test_the_loss_falls_alike(nacre, preset, tmp_path):
    """Adam over some epochs. Two right engines drift apart; how far is told by PyTorch in single and in double."""
    steps, rate = 60, 0.001
    case = Case(nacre, preset, tmp_path, 15 * BATCH)
    losses, _ = case.train("run", steps, "--optimizer", "adam", "--learning-rate", str(rate))
    start = case.start()
    curves = [judge_losses(case, start, steps, lambda v: torch.optim.Adam(v, rate), dtype)
              for dtype in (torch.float64, torch.float32)]
    for at in range(0, steps, 3):
        print(f"{preset}: step {at + 1:3}: nacre {losses[at]:.4f}  PyTorch {curves[0][at]:.4f} (double) {curves[1][at]:.4f} (single)")
    ends = [np.mean(curve[-15:]) for curve in (losses, *curves)]
    print(f"{preset}: mean of the last 15: nacre {ends[0]:.4f}  PyTorch {ends[1]:.4f} {ends[2]:.4f}")
    assert ends[0] < 0.6 * np.mean(losses[:3]), "the loss must fall"
    assert abs(ends[0] - ends[1]) <= max(4 * abs(ends[2] - ends[1]), 0.15 * ends[1])
