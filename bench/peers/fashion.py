"""Fashion-MNIST whole, for peers that train on it, and the rate of nacre's cosine schedule."""

import gzip
import math
import struct

import numpy as np

import data


def _read(name):
    (path,) = data.SOURCE.glob(f"{name}*")
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        content = file.read()
    shape = struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def arrays():
    """images and test_images float32 [N, 28, 28, 1] from 0 to 1; labels and test_labels int64."""
    found = {}
    for prefix, name in (("", "train"), ("test_", "t10k")):
        found[prefix + "images"] = _read(f"{name}-images-idx3-ubyte")[..., None].astype(np.float32) / 255
        found[prefix + "labels"] = _read(f"{name}-labels-idx1-ubyte").astype(np.int64)
    return found


def rate(recipe, step, total):
    """A linear rise over the warm-up, then half a cosine to nothing (train/optimizer.h)."""
    warm_up = recipe.get("warmup-steps", 0)
    if step <= warm_up:
        return recipe["learning-rate"] * step / warm_up
    return recipe["learning-rate"] * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (total - warm_up)))
