"""Reads nacre's checkpoints as docs/checkpoint-format.md describes them, independently of the engine."""

import hashlib
import pathlib
import struct
import subprocess
import sys

import numpy as np

PROJECT = pathlib.Path(__file__).resolve().parents[2]
HEADER = struct.Struct("<8sHHIQQQQQQ")
MAGIC = b"\x89NCK\r\n\x1a\n"


def generate_reader(folder):
    """Lets flatc write the Python classes of schemas/ into `folder`, and makes them importable."""
    schemas = sorted(str(path) for path in (PROJECT / "schemas").glob("*.fbs"))
    subprocess.run(["flatc", "--python", "-o", str(folder), *schemas], check=True)
    sys.path.insert(0, str(folder))


def read(path):
    """The tensors of a checkpoint: name -> float32 array."""
    from nacre.fb.Checkpoint import Checkpoint

    data = pathlib.Path(path).read_bytes()
    magic, major, _, zero, file_size, metadata_size, blob_size, _, zeros, _ = HEADER.unpack_from(data)
    assert (magic, major, zero, zeros) == (MAGIC, 1, 0, 0), path
    assert file_size == len(data), path
    assert hashlib.sha256(data[:-32]).digest() == data[-32:], path
    metadata = Checkpoint.GetRootAs(data[HEADER.size : HEADER.size + metadata_size], 0)
    blobs = len(data) - 40 - blob_size
    tensors = {}
    for i in range(metadata.TensorsLength()):
        tensor = metadata.Tensors(i)
        shape = [tensor.Dims(k) for k in range(tensor.DimsLength())]
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(data, "<f4", count, blobs + tensor.Offset()).reshape(shape)
        tensors[tensor.Name().decode()] = array
    return tensors
