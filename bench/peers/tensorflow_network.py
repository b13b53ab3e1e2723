"""A model file in TensorFlow 2: a function that is traced, over variables with nacre's names and values."""

import tensorflow as tf

import tf_network


def use_threads(threads):
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


class Network(tf_network.Network):
    """The layers' formulas are those of tf_network; variables and what it lacks are here."""

    def __init__(self, model, variables, classes):
        self.layers, self._classes = model["layers"], classes
        self.variables = {
            name: tf.Variable(value, trainable="moving_" not in name, name=name) for name, value in variables.items()}

    def trainable(self):
        return {name: v for name, v in self.variables.items() if v.trainable}

    def scores(self, x, training):
        self._training = training
        values = {}
        for layer in self.layers:
            inputs = [values[name] for name in layer["inputs"]] if "inputs" in layer else [x]
            take = getattr(self, "_" + layer["op"].lower())
            x = values[layer["name"]] = take(layer, inputs if layer["op"] == "Add" else inputs[0])
        return x

    def _variable(self, layer, name, shape):
        return self.variables[f"{layer['name']}/{name}"]

    def _conv2d(self, layer, x):
        if layer.get("use_bias", True):
            return super()._conv2d(layer, x)
        strides, kernel = layer.get("strides", 1), self._variable(layer, "kernel", None)
        return self._activate(layer, tf.nn.conv2d(x, kernel, strides, layer.get("padding", "valid").upper()))

    def _depthwiseconv2d(self, layer, x):
        strides = layer.get("strides", 1)
        kernel = self._variable(layer, "kernel", None)
        y = tf.nn.depthwise_conv2d(x, kernel, [1, strides, strides, 1], layer.get("padding", "valid").upper())
        return y + self._variable(layer, "bias", None) if layer.get("use_bias", True) else y

    def _batchnorm(self, layer, x):
        mean, variance, gamma, beta = (
            self._variable(layer, name, None) for name in ("moving_mean", "moving_variance", "gamma", "beta"))
        epsilon, momentum = layer.get("epsilon", 1e-3), layer.get("momentum", 0.99)
        if not self._training:
            return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, epsilon, is_training=False)[0]
        y, of_batch, spread = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=epsilon, is_training=True)
        mean.assign_sub((mean - of_batch) * (1 - momentum))
        variance.assign_sub((variance - spread) * (1 - momentum))
        return y

    def _avgpool2d(self, layer, x):
        window = layer.get("pool_size", 2)
        return tf.nn.avg_pool2d(x, window, layer.get("strides", window), layer.get("padding", "valid").upper())

    def _globalavgpool2d(self, layer, x):
        return tf.reduce_mean(x, [1, 2])

    def _add(self, layer, inputs):
        return tf.add_n(inputs)

    def _dropout(self, layer, x):
        return tf.nn.dropout(x, layer["rate"]) if self._training and layer["rate"] else x

    def _relu(self, layer, x):
        return tf.nn.relu(x)

    def _relu6(self, layer, x):
        return tf.nn.relu6(x)

    def _tanh(self, layer, x):
        return tf.tanh(x)


class Optimizer:
    """The recipe's update of all variables by TensorFlow's own fused kernels, one for a variable."""

    def __init__(self, variables, recipe):
        self._variables, self._recipe = variables, recipe
        self._slots = {name: [tf.Variable(tf.zeros_like(v)) for _ in range(2)] for name, v in variables.items()}
        self._powers = [tf.Variable(1.0), tf.Variable(1.0)]

    def apply(self, gradients):
        rate = tf.convert_to_tensor(self._recipe["learning-rate"], tf.float32)  # or a variable
        decay = self._recipe.get("weight-decay", 0)
        adam = self._recipe["optimizer"] == "adam"
        if adam:
            powers = [power.assign(power * beta) for power, beta in zip(self._powers, (0.9, 0.999))]
        for (name, variable), gradient in zip(self._variables.items(), gradients):
            if decay and name.endswith("/kernel"):
                gradient += decay * variable
            first, second = (slot.handle for slot in self._slots[name])
            if adam:
                tf.raw_ops.ResourceApplyAdam(
                    var=variable.handle, m=first, v=second, beta1_power=powers[0], beta2_power=powers[1], lr=rate, beta1=0.9,
                    beta2=0.999, epsilon=1e-8, grad=gradient)
            else:
                tf.raw_ops.ResourceApplyMomentum(
                    var=variable.handle, accum=first, lr=rate, grad=gradient, momentum=self._recipe.get("momentum", 0.0),
                    use_nesterov=self._recipe.get("nesterov", False))


def training_step(network, optimizer):
    """A traced function (images, labels) -> loss that makes a step."""

    @tf.function(autograph=False)
    def step(images, labels):
        with tf.GradientTape() as tape:
            scores = network.scores(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=scores))
        optimizer.apply(tape.gradient(loss, list(network.trainable().values())))
        return loss

    return step
