"""TensorFlow judges the training: nacre starts from a checkpoint that TensorFlow wrote, and takes the same steps.

TensorFlow computes in single precision as nacre does. Two right engines drift apart after the first steps (near-ties of max
pooling, gradients near zero whose sign decides for Adam), so for longer runs the yardstick is how far PyTorch gets from
TensorFlow in the same test.
"""

import numpy as np
import pytest
import torch

import network
import tf_network
from case import BATCH, CLASSES, Case

STEPS = 20
v1 = tf_network.v1

# Of each optimizer nacre's options, TensorFlow's and PyTorch's.
OPTIMIZERS = {
    "sgd": (0.01, v1.train.GradientDescentOptimizer, torch.optim.SGD),
    "adam": (0.0001, v1.train.AdamOptimizer, torch.optim.Adam),
}


class Start:
    """face96 with variables that TensorFlow drew, and its checkpoint."""

    def __init__(self, nacre, folder, seed):
        self.case = Case(nacre, "face96", folder, STEPS * BATCH, seed=seed)
        first = self.network(seed=seed)
        self.prefix = first.save(folder / "tensorflow" / "model.ckpt")
        self.values = first.values()

    def network(self, **options):
        return tf_network.Network(self.case.model, CLASSES, **options)

    def nacre(self, run, steps, optimizer, rate):
        """Losses, and the variables afterwards."""
        return self.case.train(run, steps, "--init-from", self.prefix, "--optimizer", optimizer, "--learning-rate", rate)

    def tensorflow(self, steps, optimizer, rate):
        judge = self.network(start=self.values, optimizer=lambda: OPTIMIZERS[optimizer][1](rate))
        return [judge.train(*self.case.batch(step)) for step in range(steps)], judge.values()

    def pytorch(self, steps, optimizer, rate):
        judge = network.Network(self.case.model, self.values, torch.float32)
        losses = judge.train(self.case, steps, lambda variables: OPTIMIZERS[optimizer][2](variables, rate))
        return losses, {name: value.detach().numpy() for name, value in judge.variables.items()}


@pytest.fixture(scope="module")
def start(nacre, tmp_path_factory):
    return Start(nacre, tmp_path_factory.mktemp("face96"), seed=1)


def distance(values, expected, origin=None):
    """Largest relative L2 distance of a variable (of what it moved from `origin`, if given), and its name."""
    assert len(expected) == 14
    moved = lambda of, name: of[name].astype(np.float64) - (0.0 if origin is None else origin[name])
    return max((np.linalg.norm(moved(values, name) - moved(expected, name)) / np.linalg.norm(moved(expected, name)), name)
               for name in expected)


def test_gradients_of_one_step(start):
    rate = 1000.0  # so large that the step is the gradient, up to rounding
    _, after = start.nacre("step", 1, "sgd", rate)
    loss, gradients = start.network(start=start.values).gradients(*start.case.batch(0))
    own = {name: (start.values[name].astype(np.float64) - after[name]) / rate for name in gradients}
    error = distance(own, gradients)
    print(f"face96: loss {loss:.4f}, largest relative distance of a gradient from TensorFlow's {error}")
    assert error[0] <= 1e-4


def test_first_ten_losses(start):
    losses, _ = start.nacre("losses", 10, "sgd", OPTIMIZERS["sgd"][0])
    expected, _ = start.tensorflow(10, "sgd", OPTIMIZERS["sgd"][0])
    standing, _ = start.tensorflow(10, "sgd", 0.0)
    error, effect = (max(abs(a - b) / b for a, b in zip(curve, expected)) for curve in (losses, standing))
    print(f"face96: largest relative difference of a loss from TensorFlow's {error:.1e} (without steps: {effect:.1e})")
    assert len(losses) == 10
    assert error <= 2e-5
    assert effect > 1e-2, "the steps must show in the losses"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_after_twenty_steps(start, optimizer):
    rate = OPTIMIZERS[optimizer][0]
    _, expected = start.tensorflow(STEPS, optimizer, rate)
    _, again = start.tensorflow(STEPS, optimizer, rate)
    _, own = start.nacre(optimizer, STEPS, optimizer, rate)
    _, yardstick = start.pytorch(STEPS, optimizer, rate)
    for o in (None, start.values):
        print(distance(own, expected, o), distance(yardstick, expected, o), distance(start.values, expected, o), distance(again, expected, o), distance(own,yardstick,o))
    own_distance, judge_distance = distance(own, expected), distance(yardstick, expected)
    assert own_distance[0] <= 2 * judge_distance[0], own_distance
