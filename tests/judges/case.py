"""A preset that nacre and a judge train on the same images in the same order."""

import json
import pathlib

import numpy as np

import checkpoint
import command
import data

BATCH = 20
CLASSES = 10


def smooth(layer):
    """Puts what bends in the place of what has an edge: a sum near zero, or near another in a pool, then makes no choice."""
    if layer["op"] in ("ReLU", "ReLU6"):
        layer["op"] = "ELU"
    elif layer["op"] == "MaxPool2D":
        layer["op"] = "AvgPool2D"
    if layer.get("activation") in ("relu", "relu6"):
        layer["activation"] = "tanh"


class Case:
    """A preset, or a model file beside this one, without dropout, with data in its size.

    `alter` may change a layer, and `change` the images.
    """

    def __init__(self, nacre, name, folder, images, batch=BATCH, seed=0, alter=lambda layer: None, change=lambda pixels: pixels):
        self.nacre, self.name, self.folder, self.batch_size, self.seed = nacre, name, folder, batch, seed
        folder.mkdir(exist_ok=True)
        file = pathlib.Path(__file__).with_name(f"{name}.json")
        self.model = json.loads(file.read_text() if file.exists() else command.run(nacre, "models", name, "--classes", CLASSES))
        for layer in self.model["layers"]:
            if layer["op"] == "Dropout":
                layer["rate"] = 0.0
            alter(layer)
        self.model.pop("recipe", None)
        (folder / "model.json").write_text(json.dumps(self.model))
        source = self.model["input"]
        pixels, labels = data.fashion(images, max(source["height"], source["width"]), source["channels"])
        pixels = np.ascontiguousarray(change(pixels[:, : source["height"], : source["width"]]))
        data.write_idx(folder / "data", pixels, labels)
        self._images, self._labels = pixels.astype(np.float64) / 255.0, labels.astype(np.int64)

    def train(self, run, steps, *options):
        """Losses of the steps, and the variables after them."""
        folder = self.folder / run
        command.run(
            self.nacre, "train", "--model", self.folder / "model.json", "--data", self.folder / "data", "--out", folder,
            "--batch-size", self.batch_size, "--seed", self.seed, "--steps", steps, "--no-shuffle", "--augment", "none",
            *options)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [line["loss"] for line in lines if "loss" in line], checkpoint.read(folder / "checkpoints" / "latest")

    def start(self):
        _, variables = self.train("start", 1, "--optimizer", "sgd", "--learning-rate", "0")
        for name, value in variables.items():  # the step has moved the statistics; nothing in training reads them
            assert np.isfinite(value).all(), name
        return variables

    def batch(self, step):
        """Images, 0 to 1 in double precision, and labels of a step."""
        rows = (np.arange(self.batch_size) + step * self.batch_size) % len(self._labels)
        return self._images[rows], self._labels[rows]
