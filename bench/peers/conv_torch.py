"""oneDNN's convolutions as PyTorch calls them, channels_last. Cases and passes are chosen turn by turn."""

import torch
import torch.nn.functional as F

# Which of the gradients of input, kernel and bias.
MASKS = {"kernel gradient": [False, True, True], "both gradients": [True, True, True], "input gradient": [True, False, False]}


class Peer:
    def __init__(self, spec):
        torch.set_num_threads(spec["threads"])
        self._cases = spec["cases"]
        self.choose(0)

    def facts(self):
        return {"version": torch.__version__}

    def choose(self, index):
        case = self._cases[index]
        torch.manual_seed(1)
        channels, filters, kernel = case["channels"], case["filters"], case["kernel"]
        groups = channels if case["depthwise"] else 1
        x = torch.rand(case["batch"], channels, case["size"], case["size"]).to(memory_format=torch.channels_last)
        w = torch.rand(filters, channels // groups, kernel, kernel).to(memory_format=torch.channels_last)
        b = torch.rand(filters)
        geometry = [case["stride"]] * 2, [kernel // 2] * 2, [1, 1]
        if case["pass"] == "forward":
            self.step = lambda: F.conv2d(x, w, b, *geometry, groups)
        else:
            grad = torch.rand_like(F.conv2d(x, w, b, *geometry, groups))
            mask = MASKS[case["pass"]]
            self.step = lambda: torch.ops.aten.convolution_backward(
                grad, x, w, [filters], *geometry, False, [0, 0], groups, mask)
