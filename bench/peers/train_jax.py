"""Training steps of JAX: one compiled function of all state."""

import jax
import jax.numpy as jnp
from jax import lax

import start


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


class Network:
    """Scores of [N, H, W, C]. `moved` gathers what batch norm's averages become."""

    def __init__(self, model):
        self._layers = model["layers"]

    def scores(self, variables, x, key):
        self._variables, self._key, self.moved = variables, key, {}
        values = {}
        for layer in self._layers:
            inputs = [values[name] for name in layer["inputs"]] if "inputs" in layer else [x]
            x = values[layer["name"]] = getattr(self, "_" + layer["op"].lower())(layer, *inputs)
        return x

    def _get(self, layer, name):
        return self._variables.get(f"{layer['name']}/{name}")

    def _biased(self, layer, y):
        bias = self._get(layer, "bias")
        y = y if bias is None else y + bias
        return jax.nn.relu(y) if layer.get("activation") == "relu" else y

    def _conv2d(self, layer, x):
        return self._biased(layer, lax.conv_general_dilated(
            x, self._get(layer, "kernel"), _pair(layer.get("strides", 1)), layer.get("padding", "valid").upper(),
            dimension_numbers=("NHWC", "HWIO", "NHWC")))

    def _dense(self, layer, x):
        return self._biased(layer, x @ self._get(layer, "kernel"))

    def _batchnorm(self, layer, x):
        mean, variance, momentum = x.mean((0, 1, 2)), x.var((0, 1, 2)), layer.get("momentum", 0.99)
        for name, value in (("moving_mean", mean), ("moving_variance", variance)):
            self.moved[f"{layer['name']}/{name}"] = momentum * self._get(layer, name) + (1 - momentum) * value
        scale = self._get(layer, "gamma") * lax.rsqrt(variance + layer.get("epsilon", 1e-3))
        return (x - mean) * scale + self._get(layer, "beta")

    def _maxpool2d(self, layer, x):
        return self._pool(layer, x, -jnp.inf, lax.max)

    def _avgpool2d(self, layer, x):
        height, width = _pair(layer.get("pool_size", 2))
        return self._pool(layer, x, 0.0, lax.add) / (height * width)

    def _pool(self, layer, x, start_value, join):
        window = _pair(layer.get("pool_size", 2))
        strides = _pair(layer.get("strides", window))
        return lax.reduce_window(
            x, start_value, join, (1, *window, 1), (1, *strides, 1), layer.get("padding", "valid").upper())

    def _globalavgpool2d(self, layer, x):
        return x.mean((1, 2))

    def _flatten(self, layer, x):
        return x.reshape(x.shape[0], -1)

    def _dropout(self, layer, x):
        kept = 1 - layer["rate"]
        return jnp.where(jax.random.bernoulli(self._key, kept, x.shape), x / kept, 0)

    def _add(self, layer, *inputs):
        return sum(inputs[1:], inputs[0])

    def _relu(self, layer, x):
        return jax.nn.relu(x)

    def _tanh(self, layer, x):
        return jnp.tanh(x)


class Peer:
    def __init__(self, spec):
        model, variables = start.load(spec)
        images, labels = start.noise(spec)
        network, recipe = Network(model), spec["recipe"]
        self._images, self._labels = jnp.asarray(images), jnp.asarray(labels)
        self._state = {
            "variables": {name: jnp.asarray(value) for name, value in variables.items()},
            "first": {name: jnp.zeros_like(value) for name, value in variables.items()},
            "second": {name: jnp.zeros_like(value) for name, value in variables.items()},
            "step": jnp.zeros((), jnp.float32),
        }

        def loss_of(variables, key):
            scores = network.scores(variables, self._images, key)
            rows = jnp.arange(len(labels))
            return -jax.nn.log_softmax(scores)[rows, self._labels].mean(), network.moved

        def step(state):
            key = jax.random.fold_in(jax.random.key(start.SEED), state["step"].astype(jnp.int32))
            (loss, moved), gradients = jax.value_and_grad(loss_of, has_aux=True)(state["variables"], key)
            after = {"variables": {}, "first": {}, "second": {}, "step": state["step"] + 1}
            for name, value in state["variables"].items():
                changed = update(recipe, name, value, gradients[name], state["first"][name], state["second"][name], after["step"])
                after["variables"][name], after["first"][name], after["second"][name] = changed
            after["variables"] |= moved
            return after, loss

        self._step = jax.jit(step, donate_argnums=0)

    def facts(self):
        return {"version": jax.__version__, "loss": self._loss}

    def step(self):
        self._state, loss = self._step(self._state)
        self._loss = float(loss)


def update(recipe, name, value, gradient, first, second, step):
    """Adam, or SGD with momentum, of one variable: what it and its two slots become."""
    rate = recipe["learning-rate"]
    if name.endswith("/kernel"):
        gradient += recipe.get("weight-decay", 0) * value
    if recipe["optimizer"] == "adam":
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient * gradient
        rate = rate * jnp.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        return value - rate * first / (jnp.sqrt(second) + 1e-8), first, second
    first = recipe.get("momentum", 0) * first + gradient
    moved = gradient + recipe.get("momentum", 0) * first if recipe.get("nesterov") else first
    return value - rate * moved, first, second
