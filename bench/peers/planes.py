"""Writes the network as ONNX [N, C, H, W], PyTorch's export: the form that ONNX Runtime, OpenVINO and ncnn are made for."""

import pathlib

import torch

import start
import torch_network


class Planes(torch.nn.Module):
    """Probabilities of [N, C, H, W]."""

    def __init__(self, spec):
        super().__init__()
        self._network = torch_network.Network(*start.load(spec), training=False, planes=True)

    def forward(self, x):
        return torch.softmax(self._network.scores(x), 1)


def onnx_file(spec):
    """Path of the network as ONNX of the spec's batch, made once."""
    path = pathlib.Path(spec["model"]).with_name(f"batch{spec['batch']}.onnx")
    if not path.exists():
        images = torch.from_numpy(start.noise(spec)[0]).permute(0, 3, 1, 2).contiguous()
        torch.onnx.export(Planes(spec).eval(), (images,), str(path), dynamo=False, input_names=["x"], output_names=["y"])
    return path


def planes(spec):
    return start.noise(spec)[0].transpose(0, 3, 1, 2).copy()


def ncnn_files(spec):
    """Paths of ncnn's two files of the network, made once by its own converter."""
    import pnnx

    folder = pathlib.Path(spec["model"]).parent
    param, weights = folder / "planes.ncnn.param", folder / "planes.ncnn.bin"
    if not param.exists():
        one = torch.from_numpy(planes(spec)[:1])
        pnnx.export(Planes(spec).eval(), str(folder / "planes.pt"), one, fp16=False)
    return param, weights
