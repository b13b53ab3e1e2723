"""A model file as PyTorch likes it best: kernels in its own layout, channels_last or planes, no padding that adds nothing."""

import torch
import torch.nn.functional as F

import network


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


class Network(network.Network):
    """`planes`: for engines that keep [N, C, H, W]; the dense kernel behind Flatten is turned so that Flatten moves nothing."""

    def __init__(self, model, variables, training, planes=False):
        super().__init__(model, variables, torch.float32)
        self.training, self._planes, self._turned = training, planes, False
        ops = {layer["name"]: layer["op"] for layer in self.layers}
        for name, value in self.variables.items():
            layer, _, variable = name.partition("/")
            self.variables[name] = self._own(ops[layer], variable, value.detach()).requires_grad_(
                training and value.requires_grad)
        if planes:
            self._turn_dense(model["input"])

    def _own(self, op, variable, value):
        if variable != "kernel":
            return value
        if op == "Dense":
            return value.t().contiguous()
        if op == "DepthwiseConv2D":
            height, width, channels, multiplier = value.shape
            value = value.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
        else:
            value = value.permute(3, 2, 0, 1)
        return value.contiguous(memory_format=torch.contiguous_format if self._planes else torch.channels_last)

    def _turn_dense(self, source):
        self._flattened = {}
        with torch.no_grad():
            self.scores(torch.zeros(1, source["channels"], source["height"], source["width"]))
        for flatten, layer in zip(self.layers, self.layers[1:]):
            if flatten["op"] == "Flatten":
                assert layer["op"] == "Dense"
                channels, height, width = self._flattened[flatten["name"]]
                name = f"{layer['name']}/kernel"
                kernel = self.variables[name].reshape(-1, height, width, channels).permute(0, 3, 1, 2)
                self.variables[name] = kernel.flatten(1).contiguous()
        self._turned = True

    def scores(self, x):
        """[N, classes] of [N, C, H, W] (in memory as channels_last, unless `planes`)."""
        values = {}
        for layer in self.layers:
            inputs = [values[name] for name in layer["inputs"]] if "inputs" in layer else [x]
            x = values[layer["name"]] = getattr(self, "_" + layer["op"].lower())(layer, inputs)
        return x

    def _conv2d(self, layer, inputs):
        return self._convolve(layer, inputs[0], self._variable(layer, "kernel"), layer.get("groups", 1))

    def _depthwiseconv2d(self, layer, inputs):
        return self._convolve(layer, inputs[0], self._variable(layer, "kernel"), inputs[0].shape[1])

    def _convolve(self, layer, x, kernel, groups):
        strides, padding = _pair(layer.get("strides", 1)), (0, 0)
        if layer.get("padding", "valid") == "same":
            (top, bottom), (left, right) = network.same_amounts(x, kernel.shape[2:], strides)
            if (top, left) == (bottom, right):
                padding = (top, left)
            else:
                x = F.pad(x, (left, right, top, bottom))
        y = F.conv2d(x, kernel, self._variable(layer, "bias"), strides, padding, 1, groups)
        return network.activate(y, layer.get("activation", "linear"))

    def _dense(self, layer, inputs):
        y = F.linear(inputs[0], self._variable(layer, "kernel"), self._variable(layer, "bias"))
        return network.activate(y, layer.get("activation", "linear"))

    def _batchnorm(self, layer, inputs):
        of = [self._variable(layer, name) for name in ("moving_mean", "moving_variance", "gamma", "beta")]
        return F.batch_norm(inputs[0], *of, self.training, 1 - layer.get("momentum", 0.99), layer.get("epsilon", 1e-3))

    def _pool(self, layer, x, value):
        window = _pair(layer.get("pool_size", 2))
        strides = _pair(layer.get("strides", window))
        same = layer.get("padding", "valid") == "same"
        if same and any(sum(amount) for amount in network.same_amounts(x, window, strides)):
            return super()._pool(layer, x, value)
        return x, window, strides

    def _avgpool2d(self, layer, inputs):
        if layer.get("padding", "valid") == "same":
            return super()._avgpool2d(layer, inputs)
        return F.avg_pool2d(*self._pool(layer, inputs[0], 0.0))

    def _flatten(self, layer, inputs):
        if not self._planes:
            return super()._flatten(layer, inputs)
        self._flattened[layer["name"]] = tuple(inputs[0].shape[1:])
        return (inputs[0] if self._turned else inputs[0].permute(0, 2, 3, 1)).flatten(1)

    def _dropout(self, layer, inputs):
        return F.dropout(inputs[0], layer["rate"], self.training)
