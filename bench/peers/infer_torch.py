"""Predictions of PyTorch: channels_last, traced and frozen, so that batch norm is folded and no Python runs between layers."""

import pathlib

import torch

import start
import torch_network


class Traced(torch.nn.Module):
    def __init__(self, spec):
        super().__init__()
        self._network = torch_network.Network(*start.load(spec), training=False)

    def forward(self, x):
        return torch.softmax(self._network.scores(x), 1)


class Peer:
    def __init__(self, spec):
        torch.set_num_threads(spec["threads"])
        self._images = torch.from_numpy(start.noise(spec)[0]).permute(0, 3, 1, 2)  # so channels_last
        with torch.inference_mode():
            self._predict = torch.jit.freeze(torch.jit.trace(Traced(spec).eval(), self._images))
        # For those who want it as a file (compare_start.py).
        torch.jit.save(self._predict, pathlib.Path(spec["model"]).with_name(f"batch{spec['batch']}.pt"))

    def facts(self):
        return {"version": torch.__version__, "first": self._output[0].tolist()}

    def step(self):
        with torch.inference_mode():
            self._output = self._predict(self._images)
