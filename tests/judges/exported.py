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
SAMPLINGS = ["420", "444", "422", "440", "grey", "420", "411"]

# What Fashion-MNIST has, not in the order of their bytes, and not all of them ASCII.
LABELS = ["T-shirt/top", "Trouser", "Pullover", "Robe d\u2019\u00e9t\u00e9", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
          "Ankle boot"]

# Those that are trained for real, by their recipes but for the options: how many images there are, and the accuracy that must
# be reached on the tenth of them that is held out.
TRAINED = {
    "face96": (1200, ["--batch-size", 40, "--steps", 120], 0.5),
    "fashion28": (3000, ["--batch-size", 50, "--steps", 150, "--warmup-steps", 10], 0.75),
    "residual32": (1200, ["--batch-size", 40, "--steps", 40, "--warmup-steps", 5], 0.4),
}
# The others, after a few steps: far from their start, and far from sure of anything.
FEW_STEPS = (100, ["--batch-size", 20, "--steps", 8, "--optimizer", "adam", "--learning-rate", 0.0005, "--warmup-steps", 0,
                   "--lr-schedule", "constant"], None)

# A word after a name: another input contract than the preset's.
CONTRACTS = {
    "fast": {"jpeg_dct": "fast"},
    "exact": {"resize": "exact"},
    "scaled": {"scale": 2.5 / 255},
}


class Exported:
    """A network trained on Fashion-MNIST; `name` is a preset's or a model file's beside this one, and a word of CONTRACTS.

    Of images there are 7 in each of: `native` (pixels in the network's size), `floats` and `native_pngs` (the same ones, as
    the network takes them, and encoded), `pngs` (of all kinds and sizes), `jpegs` (of all samplings and sizes).
    """

    def __init__(self, nacre, name, folder):
        self.nacre, self.folder, self._expected = nacre, folder, {}
        count, options, self.accuracy_wanted = TRAINED.get(name, FEW_STEPS)
        name, _, contract = name.partition(" ")
        file = pathlib.Path(__file__).with_name(f"{name}.json")
        model = json.loads(file.read_text() if file.exists() else self._run("models", name))
        for layer in model["layers"]:
            if layer["op"] == "BatchNorm":
                layer["momentum"] = 0.5  # a few steps suffice to get away from mean 0 and variance 1
        source = model["input"] | (CONTRACTS[contract] if contract else {})
        (folder / "model.json").write_text(json.dumps(model | {"input": source}))
        self.height, self.width, self.channels = source["height"], source["width"], source["channels"]
        self.scale, self.exact = source.get("scale", 1 / 255), source.get("resize") == "exact"
        pixels, labels = data.fashion(count, max(self.height, self.width), self.channels)
        pixels = np.ascontiguousarray(pixels[:, : self.height, : self.width])
        data.write_idx(folder / "data", pixels, labels)
        (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS), encoding="utf-8")
        if self.accuracy_wanted:
            options = [*options, "--validation", 0.1, "--validate-every", 10]
        self._run("train", "--model", folder / "model.json", "--data", folder / "data", "--labels", folder / "labels.txt",
                  "--out", folder / "run", *options)
        if self.accuracy_wanted:
            self._assert_learned(name)
        self.bundle = folder / "model.nacre"
        self._run("export", folder / "run", "--out", self.bundle)
        self.saved_model = str(self.convert("saved_model"))
        self.inside = json.loads(self._run("inspect", self.bundle, "--json"))
        assert self.inside["labels"] == LABELS
        self.native = pixels[:7]
        self.native_pngs = [pictures.png(image[..., 0] if self.channels == 1 else image) for image in self.native]
        sizes = [(self.height, self.width)] * 7 if self.exact else SIZES
        photos = pictures.photos(7, 96)
        self.jpegs = [pictures.jpeg(pictures.resized(photo, *size), 75 + 3 * i, sampling)
                      for i, (photo, size, sampling) in enumerate(zip(photos, sizes, SAMPLINGS))]
        self.pngs = pictures.pngs([pictures.resized(photo, *size) for photo, size in zip(photos, reversed(sizes))])

    def _run(self, *arguments):
        return command.run(self.nacre, *arguments)

    def _assert_learned(self, name):
        lines = [json.loads(line) for line in (self.folder / "run" / "metrics.jsonl").read_text().splitlines()]
        accuracy = max(line["validation_accuracy"] for line in lines if "validation_accuracy" in line)
        print(f"{name}: trained to {accuracy:.3f} of the images held out, before TensorFlow gets it")
        assert accuracy >= self.accuracy_wanted

    def convert(self, name, *options):
        """Makes a SavedModel, once; returns its folder."""
        folder = self.folder / name
        if not folder.exists():
            self._run("convert", self.bundle, "--to", "saved_model", "--out", folder, *options)
        return folder

    @functools.cached_property
    def floats(self):
        """The images of `native_pngs` as the network's input."""
        return self.native.astype(np.float32) * np.float32(self.scale)

    def encoded_batches(self):
        """Lists of encoded images: of each kind, of both, and alone."""
        return self.jpegs, self.pngs, self.jpegs[:1], self.pngs[:1], self.jpegs[:3] + self.pngs[3:], self.native_pngs

    def expected(self, encoded):
        """What nacre predicts for encoded images: [N, classes]."""
        key = tuple(encoded)
        if key not in self._expected:
            self._expected[key] = self._predict(encoded)
        return self._expected[key]

    def _predict(self, encoded):
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
