"""A preset that nacre and a judge train on the same images in the same order."""

import json

import numpy as np

import checkpoint
import command
import data

BATCH = 20
CLASSES = 10


class Case:
    """A preset without dropout, as a model file, with data in its size; `change` may alter the images."""

    def __init__(self, nacre, name, folder, images, batch=BATCH, seed=0, change=lambda pixels: pixels):
        self.nacre, self.folder, self.batch_size, self.seed = nacre, folder, batch, seed
        folder.mkdir(exist_ok=True)
        self.model = json.loads(command.run(nacre, "models", name, "--classes", CLASSES))
        for layer in self.model["layers"]:
            if layer["op"] == "Dropout":
                layer["rate"] = 0.0
        self.model.pop("recipe")
        (folder / "model.json").write_text(json.dumps(self.model))
        source = self.model["input"]
        pixels, labels = data.fashion(images, source["height"], source["channels"])
        pixels = change(pixels)
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
