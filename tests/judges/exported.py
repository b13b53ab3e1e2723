"""Networks that nacre has trained, exported and made SavedModels of, with images and what nacre predicts for them."""

import functools
import json
import pathlib
import tempfile

import numpy as np

import command
import data
import pictures

SIZES = [(96, 96), (40, 61), (133, 87), (28, 28), (200, 150), (7, 9), (64, 64)]


class Exported:
    """A network after a few steps on Fashion-MNIST: far from its start, and far from sure of anything.

    `name` is a preset's or a model file's beside this one; `fast` or `accurate` after it says how JPEGs are decoded.
    """

    def __init__(self, nacre, name, folder):
        self.nacre, self.folder = nacre, folder
        name, _, jpeg_dct = name.partition(" ")
        file = pathlib.Path(__file__).with_name(f"{name}.json")
        model = json.loads(file.read_text() if file.exists() else self._run("models", name))
        for layer in model["layers"]:
            if layer["op"] == "BatchNorm":
                layer["momentum"] = 0.5  # a few steps suffice to get away from mean 0 and variance 1
        source = model["input"]
        source |= {"jpeg_dct": jpeg_dct} if jpeg_dct else {}
        (folder / "model.json").write_text(json.dumps(model))
        self.height, self.width, self.channels = source["height"], source["width"], source["channels"]
        pixels, labels = data.fashion(100, max(self.height, self.width), self.channels)
        pixels = pixels[:, : self.height, : self.width]
        data.write_idx(folder / "data", pixels, labels)
        self._run("train", "--model", folder / "model.json", "--data", folder / "data", "--out", folder / "run",
                  "--batch-size", "20", "--steps", "8", "--optimizer", "adam", "--learning-rate", "0.0005",
                  "--warmup-steps", "0", "--lr-schedule", "constant")
        self.bundle = folder / "model.nacre"
        self._run("export", folder / "run", "--out", self.bundle)
        self.saved_model = str(self.convert("saved_model"))
        self.inside = json.loads(self._run("inspect", self.bundle, "--json"))
        self.native = pixels[:7]  # in the network's size
        self.pngs = [pictures.png(image[..., 0] if self.channels == 1 else image) for image in self.native]
        shown = [pictures.resized(pictures.photos(7, 96)[i], *size) for i, size in enumerate(SIZES)]
        self.jpegs = [pictures.jpeg(image, 75 + 3 * i, sampling)
                      for i, (image, sampling) in enumerate(zip(shown, ["420", "444", "422", "440", "grey", "420", "444"]))]

    def _run(self, *arguments):
        return command.run(self.nacre, *arguments)

    def convert(self, name, *options):
        """Makes a SavedModel, once; returns its folder."""
        folder = self.folder / name
        if not folder.exists():
            self._run("convert", self.bundle, "--to", "saved_model", "--out", folder, *options)
        return folder

    @functools.cached_property
    def floats(self):
        """The images of `pngs` as the network's input."""
        return self.native.astype(np.float32) * np.float32(1 / 255)

    def expected(self, encoded):
        """What nacre predicts for encoded images: [N, classes]."""
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder, str(i)) for i in range(len(encoded))]
            for path, image in zip(paths, encoded):
                path.write_bytes(image)
            lines = self._run("predict", self.bundle, *paths, "--json").splitlines()
        assert [pathlib.Path(json.loads(line)["file"]) for line in lines] == paths
        return np.array([json.loads(line)["prediction"] for line in lines])


def assert_close(predictions, expected):
    """Within 1e-5, of images whose predictions differ by much more than that."""
    assert predictions.shape == expected.shape
    assert len(expected) == 1 or np.ptp(expected, axis=0).max() > 0.01, "these images tell nothing"
    np.testing.assert_allclose(predictions, expected, rtol=0, atol=1e-5)
