"""Fashion-MNIST in the size that a network takes, as IDX files that nacre trains on."""

import gzip
import os
import pathlib
import struct

import numpy as np
import torch
import torch.nn.functional as F

SOURCE = pathlib.Path(os.environ.get("NACRE_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))


def _read(path):
    with gzip.open(path) as file:
        data = file.read()
    rank = data[3]
    shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def fashion(count, size, channels):
    """The first `count` training images as uint8 [count, size, size, channels] (colours: three tints), and labels.

    Noise, as a camera's, keeps the black background from being all one value: there max pooling would choose between
    equals, and two right engines may choose differently.
    """
    (images,) = SOURCE.glob("train-images-idx3-ubyte*")
    (labels,) = SOURCE.glob("train-labels-idx1-ubyte*")
    pixels = torch.from_numpy(_read(images)[:count].astype(np.float32))[:, None]
    if size != 28:
        pixels = F.interpolate(pixels, (size, size), mode="bilinear", align_corners=False)
    tints = torch.tensor([1.0, 0.8, 0.6])[:channels].reshape(1, channels, 1, 1)
    noise = torch.rand((count, channels, size, size), generator=torch.Generator().manual_seed(1))
    pixels = (pixels * tints * 0.9 + noise * 25).round().to(torch.uint8).permute(0, 2, 3, 1)
    return pixels.contiguous().numpy(), _read(labels)[:count].copy()


def coloured(pixels):
    """uint8 pictures [..., height, width, 3], brighter, with colours that run over them: no two regions are alike."""
    y, x = np.mgrid[0 : pixels.shape[-3], 0 : pixels.shape[-2]].astype(np.float32)
    waves = np.stack([np.sin(x / 5 + y / 9), np.sin(x / 11 - y / 4), np.cos(x / 3 + y / 6)], axis=-1)
    return np.clip(pixels + 60 * waves + 40, 0, 255).astype(np.uint8)


def write_idx(folder, pixels, labels):
    folder.mkdir(parents=True)
    header = bytes([0, 0, 8, 4]) + struct.pack(">4I", *pixels.shape)
    (folder / "train-images-idx4-ubyte").write_bytes(header + pixels.tobytes())
    (folder / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + struct.pack(">I", len(labels)) + labels.tobytes())
