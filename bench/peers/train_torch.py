"""Training steps of PyTorch, channels_last, with its fused optimizers."""

import torch
import torch.nn.functional as F

import start
import torch_network


class Peer:
    def __init__(self, spec):
        torch.set_num_threads(spec["threads"])
        self._network = torch_network.Network(*start.load(spec), training=True)
        images, labels = start.noise(spec)
        self._images = torch.from_numpy(images).permute(0, 3, 1, 2)  # so channels_last
        self._labels = torch.from_numpy(labels)
        self._optimizer = optimizer(self._network.trainable(), spec["recipe"])

    def facts(self):
        return {"version": torch.__version__, "loss": self._loss}

    def step(self):
        self._optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self._network.scores(self._images), self._labels)
        loss.backward()
        self._optimizer.step()
        self._loss = loss.item()


def optimizer(variables, recipe):
    """The recipe's; weight decay is of kernels only, as in nacre."""
    decay = recipe.get("weight-decay", 0)
    groups = [{"params": [v for name, v in variables.items() if name.endswith("/kernel") == kernels],
               "weight_decay": decay if kernels else 0} for kernels in (True, False)]
    groups = [group for group in groups if group["params"]]
    if recipe["optimizer"] == "adam":
        return torch.optim.Adam(groups, lr=recipe["learning-rate"], fused=True)
    return torch.optim.SGD(
        groups, lr=recipe["learning-rate"], momentum=recipe.get("momentum", 0), nesterov=recipe.get("nesterov", False),
        fused=True)
