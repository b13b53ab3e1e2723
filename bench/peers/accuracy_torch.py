"""PyTorch trains fashion28 by its recipe: a step is an epoch, and the test of all 10,000 images behind it."""

import torch
import torch.nn.functional as F

import fashion
import start
import torch_network
import train_torch


class Peer:
    def __init__(self, spec):
        torch.set_num_threads(spec["threads"])
        torch.manual_seed(start.SEED)
        self._recipe, self._batch = spec["recipe"], spec["batch"]
        self._network = torch_network.Network(*start.load(spec), training=True)
        self._optimizer = train_torch.optimizer(self._network.trainable(), self._recipe)
        self._data = {name: torch.from_numpy(value) for name, value in fashion.arrays().items()}
        for name in ("images", "test_images"):
            self._data[name] = self._data[name].permute(0, 3, 1, 2)  # so channels_last
        self._taken, self._accuracy, self._started = 0, 0.0, False

    def facts(self):
        return {"version": torch.__version__, "accuracy": self._accuracy}

    def step(self):
        if self._started:
            self._epoch()
        self._started = True  # the first call is before the clock runs
        self._network.training = False
        with torch.inference_mode():
            told = torch.cat([self._network.scores(part).argmax(1) for part in self._data["test_images"].split(500)])
        self._network.training = True
        self._accuracy = (told == self._data["test_labels"]).float().mean().item()

    def _epoch(self):
        order = torch.randperm(len(self._data["labels"]))
        steps = len(order) // self._batch
        for i in range(steps):
            rows = order[i * self._batch : (i + 1) * self._batch]
            self._taken += 1
            for group in self._optimizer.param_groups:
                group["lr"] = fashion.rate(self._recipe, self._taken, steps * self._recipe["epochs"])
            images = self._data["images"][rows]
            turned = torch.rand(len(rows), 1, 1, 1) < 0.5
            images = torch.where(turned, images.flip(3), images)
            self._optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(self._network.scores(images), self._data["labels"][rows]).backward()
            self._optimizer.step()
