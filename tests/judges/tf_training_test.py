"""TensorFlow judges the training: nacre starts from a checkpoint that TensorFlow wrote, and takes the same steps.

A sum that is near zero, or near another in a pool, may fall on either side in two right engines, and then a gradient differs by
thousandths. So gradients are compared with those of TensorFlow in double precision: what differs is nacre's own error. After
some steps two engines have drifted apart, with Adam by signs of gradients near zero too: there the yardstick is how far PyTorch
gets from TensorFlow, both in single precision, in the same test. Where a tie falls is chance, so there are three starts, and
one of them may have a tie that the fast paths decide otherwise (Winograd's round twice as much), if the reference does not.
"""

import numpy as np
import pytest
import tensorflow as tf
import torch

import data
import network
import tf_network
from case import BATCH, CLASSES, Case

STEPS = 20
v1 = tf_network.v1

# Of each optimizer the learning rate, TensorFlow's and PyTorch's. A rate of 0.0003 is large enough for ties to fall in every
# start, so that PyTorch's distance is no matter of luck.
OPTIMIZERS = {
    "sgd": (0.0003, v1.train.GradientDescentOptimizer, torch.optim.SGD),
    "adam": (0.0001, v1.train.AdamOptimizer, torch.optim.Adam),
}


class Start:
    """face96 with variables that TensorFlow drew, and its checkpoint."""

    def __init__(self, nacre, folder, seed):
        self.case = Case(nacre, "face96", folder, STEPS * BATCH, change=data.coloured)
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
def starts(nacre, tmp_path_factory):
    return [Start(nacre, tmp_path_factory.mktemp("face96"), seed) for seed in (1, 2, 3)]


def distance(values, expected):
    """Largest relative L2 distance of a variable, and its name."""
    assert len(expected) == 14
    relative = lambda a, b: np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b)
    return max((relative(values[name], expected[name]), name) for name in expected)


def test_gradients_of_one_step(starts, monkeypatch):
    rate = 1000.0  # so large that the step is the gradient, up to rounding
    alike = 0
    for start in starts:
        (_, expected), (_, single) = (start.network(start=start.values, dtype=dtype).gradients(*start.case.batch(0))
                                      for dtype in (tf.float64, tf.float32))

        def judged_distance(run):
            _, after = start.nacre(run, 1, "sgd", rate)
            own = {name: (start.values[name].astype(np.float64) - after[name]) / rate for name in after}
            error, name = distance(own, expected)
            print(f"face96: gradients of {run} within {error:.1e} of TensorFlow's ({name}; TensorFlow's own in single: "
                  f"{distance(single, expected)[0]:.1e})")
            return error

        if judged_distance("step") <= 1e-4:
            alike += 1
            continue
        # A fast path may round a sum to the other side of an edge; the reference then must not.
        with monkeypatch.context() as patch:
            patch.setenv("NACRE_ISA", "reference")
            assert judged_distance("reference") <= 1e-4
    assert alike >= len(starts) - 1


def test_first_ten_losses(starts):
    """At a rate of which the first step lowers the loss by a hundredth, to first order."""
    start = starts[0]
    loss, gradients = start.network(start=start.values).gradients(*start.case.batch(0))
    rate = float(f"{0.01 * loss / sum(np.square(gradient).sum() for gradient in gradients.values()):.2g}")
    losses, _ = start.nacre("losses", 10, "sgd", rate)
    expected, standing = (start.tensorflow(10, "sgd", r)[0] for r in (rate, 0.0))
    error, effect = (max(abs(a - b) / b for a, b in zip(curve, expected)) for curve in (losses, standing))
    print(f"face96: losses within {error:.1e} of TensorFlow's (without steps: {effect:.1e})")
    assert len(losses) == 10
    assert error <= 2e-5
    assert effect > 1e-2, "the steps must show in the losses"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_after_twenty_steps(starts, optimizer):
    own, yardstick = [], []
    for start in starts:
        rate = OPTIMIZERS[optimizer][0]
        _, expected = start.tensorflow(STEPS, optimizer, rate)
        own.append(distance(start.nacre(optimizer, STEPS, optimizer, rate)[1], expected)[0])
        yardstick.append(distance(start.pytorch(STEPS, optimizer, rate)[1], expected)[0])
    for a, b in zip(own, yardstick):
        print(f"face96: {STEPS} steps of {optimizer} end within {a:.1e} of TensorFlow's (PyTorch's within {b:.1e})")
    assert sum(own) <= 2 * sum(yardstick)
