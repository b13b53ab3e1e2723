"""Runs a model file with PyTorch: the same network, told by the same JSON."""

import torch
import torch.nn.functional as F


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def same_amounts(x, window, strides, dilation=(1, 1)):
    """Rows (above, below) and columns (left, right) that "same" adds: the odd one at the bottom or right."""
    amounts = []
    for size, k, s, d in zip(x.shape[2:], window, strides, dilation):
        reach = (k - 1) * d + 1
        total = max(0, (-(-size // s) - 1) * s + reach - size)
        amounts.append((total // 2, total - total // 2))
    return amounts


def _same_padding(x, window, strides, dilation, value):
    """Pads [N, C, H, W] as TensorFlow does."""
    (top, bottom), (left, right) = same_amounts(x, window, strides, dilation)
    return F.pad(x, (left, right, top, bottom), value=value)


def activate(x, name):
    return {"linear": lambda t: t, "relu": torch.relu, "relu6": F.relu6, "sigmoid": torch.sigmoid, "tanh": torch.tanh}[name](x)


class Network:
    """Variables carry nacre's names and layouts (kernels [kh, kw, in, out]); activations are [N, C, H, W] in here."""

    def __init__(self, model, variables, dtype):
        self.layers = model["layers"]
        self.dtype = dtype
        self.variables = {
            name: torch.tensor(value, dtype=dtype, requires_grad="moving_" not in name.rsplit("/", 1)[-1])
            for name, value in variables.items()
        }

    def trainable(self):
        return {name: v for name, v in self.variables.items() if v.requires_grad}

    def logits(self, images):
        """[N, classes] of images [N, H, W, C] in [0, 1], in training mode."""
        values = {}
        last = torch.tensor(images, dtype=self.dtype).permute(0, 3, 1, 2)
        for layer in self.layers:
            inputs = [values[name] for name in layer["inputs"]] if "inputs" in layer else [last]
            last = values[layer["name"]] = getattr(self, "_" + layer["op"].lower())(layer, inputs)
        return last

    def loss(self, images, labels):
        return F.cross_entropy(self.logits(images), torch.from_numpy(labels))

    def train(self, case, steps, optimizer):
        """The losses of `steps` batches of a case; `optimizer` makes one of a list of variables."""
        stepper = optimizer(self.trainable().values())
        losses = []
        for step in range(steps):
            stepper.zero_grad()
            loss = self.loss(*case.batch(step))
            loss.backward()
            stepper.step()
            losses.append(loss.item())
        return losses

    def _variable(self, layer, name):
        return self.variables.get(f"{layer['name']}/{name}")

    def _convolve(self, layer, x, kernel, groups):
        strides = _pair(layer.get("strides", 1))
        dilation = _pair(layer.get("dilation_rate", 1))
        if layer.get("padding", "valid") == "same":
            x = _same_padding(x, kernel.shape[2:], strides, dilation, 0.0)
        y = F.conv2d(x, kernel, self._variable(layer, "bias"), strides, 0, dilation, groups)
        return activate(y, layer.get("activation", "linear"))

    def _conv2d(self, layer, inputs):
        kernel = self._variable(layer, "kernel").permute(3, 2, 0, 1)
        return self._convolve(layer, inputs[0], kernel, layer.get("groups", 1))

    def _depthwiseconv2d(self, layer, inputs):
        kernel = self._variable(layer, "kernel")  # [kh, kw, channels, multiplier]
        height, width, channels, multiplier = kernel.shape
        kernel = kernel.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
        return self._convolve(layer, inputs[0], kernel, channels)

    def _dense(self, layer, inputs):
        y = inputs[0] @ self._variable(layer, "kernel")
        bias = self._variable(layer, "bias")
        return activate(y if bias is None else y + bias, layer.get("activation", "linear"))

    def _batchnorm(self, layer, inputs):
        return F.batch_norm(
            inputs[0], None, None, self._variable(layer, "gamma"), self._variable(layer, "beta"), True, 0.0,
            layer.get("epsilon", 1e-3))

    def _pool(self, layer, x, value):
        window = _pair(layer.get("pool_size", 2))
        strides = _pair(layer.get("strides", window if len(set(window)) > 1 else window[0]))
        if layer.get("padding", "valid") == "same":
            x = _same_padding(x, window, strides, (1, 1), value)
        return x, window, strides

    def _maxpool2d(self, layer, inputs):
        return F.max_pool2d(*self._pool(layer, inputs[0], float("-inf")))

    def _avgpool2d(self, layer, inputs):
        x, window, strides = self._pool(layer, inputs[0], 0.0)
        inside, _, _ = self._pool(layer, torch.ones_like(inputs[0]), 0.0)
        return F.avg_pool2d(x, window, strides) / F.avg_pool2d(inside, window, strides)

    def _globalavgpool2d(self, layer, inputs):
        return inputs[0].mean((2, 3))

    def _flatten(self, layer, inputs):
        return inputs[0].permute(0, 2, 3, 1).flatten(1)

    def _add(self, layer, inputs):
        return sum(inputs[1:], inputs[0])

    def _concat(self, layer, inputs):
        return torch.cat(inputs, 1)

    def _dropout(self, layer, inputs):
        assert layer["rate"] == 0, "its draws cannot be repeated here"
        return inputs[0]

    def _zeropad2d(self, layer, inputs):
        top, bottom, left, right = layer["padding"]
        return F.pad(inputs[0], (left, right, top, bottom))

    def _relu(self, layer, inputs):
        return torch.relu(inputs[0])

    def _elu(self, layer, inputs):
        return F.elu(inputs[0], layer.get("alpha", 1.0))

    def _leakyrelu(self, layer, inputs):
        return F.leaky_relu(inputs[0], layer.get("negative_slope", 0.3))

    def _relu6(self, layer, inputs):
        return F.relu6(inputs[0])

    def _tanh(self, layer, inputs):
        return torch.tanh(inputs[0])

    def _sigmoid(self, layer, inputs):
        return torch.sigmoid(inputs[0])
