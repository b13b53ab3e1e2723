"""Where every contestant starts from: a preset as a model file, nacre's own initial variables, and images of noise."""

import json
import pathlib

import numpy as np

import checkpoint
import command
import data

SEED = 1


class Start:
    """A preset with `classes` classes, in a folder: model.json, variables.npz and, when asked for, exported forms."""

    def __init__(self, nacre, preset, classes, folder):
        self.nacre, self.preset, self.classes, self.folder = nacre, preset, classes, folder
        folder.mkdir(parents=True)
        self.model = json.loads(command.run(nacre, "models", preset, "--classes", classes))
        self.recipe = self.model.get("recipe", {})
        self.model_file = folder / "model.json"
        self.model_file.write_text(json.dumps(self.model))
        source = self.model["input"]
        self.shape = (source["height"], source["width"], source["channels"])
        self.parameters = 0

    def train_briefly(self):
        """A step at rate 0: the initial variables, in a checkpoint that can be exported too."""
        run = self.folder / "run"
        if run.exists():
            return
        pixels = np.random.default_rng(SEED).integers(0, 256, (self.classes, *self.shape), np.uint8)
        data.write_idx(self.folder / "data", pixels, np.arange(self.classes, dtype=np.uint8))
        bare = self.folder / "bare.json"
        bare.write_text(json.dumps({key: value for key, value in self.model.items() if key != "recipe"}))
        command.run(
            self.nacre, "train", "--model", bare, "--data", self.folder / "data", "--out", run, "--steps", 1,
            "--batch-size", self.classes, "--optimizer", "sgd", "--learning-rate", 0, "--seed", SEED, "--events", "none")

    @property
    def variables(self):
        """Path of variables.npz: nacre's names and layouts."""
        path = self.folder / "variables.npz"
        if not path.exists():
            self.train_briefly()
            variables = checkpoint.read(self.folder / "run" / "checkpoints" / "latest")
            variables = {name: value for name, value in variables.items() if name.count("/") == 1}
            np.savez(path, **variables)
        return path

    @property
    def bundle(self):
        path = self.folder / "model.nacre"
        if not path.exists():
            self.train_briefly()
            command.run(self.nacre, "export", self.folder / "run", "--out", path)
        return path

    @property
    def saved_model(self):
        path = self.folder / "saved_model"
        if not path.exists():
            command.run(self.nacre, "convert", self.bundle, "--to", "saved_model", "--default-signature", "float", "--out", path)
        return path

    def spec(self, batch, threads, **more):
        """What a worker is told."""
        return {
            "model": str(self.model_file), "variables": str(self.variables), "classes": self.classes, "batch": batch,
            "threads": threads, "recipe": self.recipe, **more}


def load(spec):
    """A worker's model and variables."""
    with np.load(spec["variables"]) as file:
        return json.loads(pathlib.Path(spec["model"]).read_text()), {name: file[name] for name in file.files}


def noise(spec):
    """Images [batch, H, W, C] from 0 to 1 and labels: random, the same in every worker."""
    source = json.loads(pathlib.Path(spec["model"]).read_text())["input"]
    random = np.random.default_rng(SEED)
    images = random.random((spec["batch"], source["height"], source["width"], source["channels"]), np.float32)
    return images, (np.arange(spec["batch"]) % spec["classes"]).astype(np.int64)
