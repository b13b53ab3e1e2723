"""Trains a model file with TensorFlow, in the way of TensorFlow 1: a graph, variables by name, a Session and a Saver."""

import pathlib

import tensorflow as tf

v1 = tf.compat.v1


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


class Network:
    """Variables carry nacre's names and begin with `start` (name -> array), or else with draws of TensorFlow's own.

    `optimizer` makes an optimizer of TensorFlow 1; without one there are neither slots nor steps. `partitioner` cuts
    variables into parts, and layers take turns on `devices` CPUs, as with parameter servers.
    """

    def __init__(self, model, classes, seed=1, start=None, optimizer=None, partitioner=None, devices=1, dtype=tf.float32):
        self._classes, self._start, self._partitioner, self._dtype = classes, start, partitioner, dtype
        with tf.Graph().as_default() as graph:
            v1.set_random_seed(seed)
            source = model["input"]
            self._images = v1.placeholder(dtype, [None, source["height"], source["width"], source["channels"]])
            self._labels = v1.placeholder(tf.int64, [None])
            logits = self._images
            for i, layer in enumerate(model["layers"]):
                with tf.device(f"/cpu:{i % devices}"), v1.variable_scope(layer["name"]):
                    logits = getattr(self, "_" + layer["op"].lower())(layer, logits)
            self._loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=self._labels, logits=logits))
            trainable = v1.trainable_variables()
            self._gradients = dict(zip(_names(trainable), v1.gradients(self._loss, trainable)))
            if optimizer:
                self._step = optimizer().minimize(self._loss, var_list=trainable)
            initialize = v1.global_variables_initializer()
            self._saver = v1.train.Saver(max_to_keep=3, sharded=devices > 1)
            self._variables = dict(zip(_names(v1.global_variables()), v1.global_variables()))
            self._trainable = _names(trainable)
        self._session = v1.Session(graph=graph, config=v1.ConfigProto(device_count={"CPU": devices}))
        self._session.run(initialize)

    def save(self, prefix, step=None, names=None):
        """Writes a checkpoint, and the state file beside it; returns the prefix with the step.

        `names`, from names of variables to others, says what is saved and how it is called; else all is, by its name.
        """
        pathlib.Path(prefix).parent.mkdir(parents=True, exist_ok=True)
        with self._session.graph.as_default():
            saver = self._saver
            if names:
                saver = v1.train.Saver({other: self._variables[name] for name, other in names.items()})
            return saver.save(self._session, str(prefix), global_step=step, write_meta_graph=False)

    def restore(self, prefix):
        with self._session.graph.as_default():
            self._saver.restore(self._session, str(prefix))

    def everything(self):
        """Name -> value of all variables, optimizer slots among them (of partitioned ones: each part)."""
        return self._session.run(self._variables)

    def values(self):
        """Name -> value of the variables that are trained."""
        return self._session.run({name: self._variables[name] for name in self._trainable})

    def gradients(self, images, labels):
        """Loss, and name -> gradient."""
        return self._session.run((self._loss, self._gradients), self._feed(images, labels))

    def train(self, images, labels):
        """A step; the loss before it."""
        return self._session.run((self._loss, self._step), self._feed(images, labels))[0]

    def _feed(self, images, labels):
        return {self._images: images, self._labels: labels}

    def _variable(self, layer, name, shape):
        if self._start is not None:
            initializer = v1.constant_initializer(self._start[f"{layer['name']}/{name}"])
        else:
            initializer = v1.truncated_normal_initializer(stddev=layer.get(f"{name}_stddev", 0.1))
        return tf.convert_to_tensor(
            v1.get_variable(name, shape, self._dtype, initializer, partitioner=self._partitioner))

    def _activate(self, layer, y):
        return {"linear": tf.identity, "relu": tf.nn.relu}[layer.get("activation", "linear")](y)

    def _conv2d(self, layer, x):
        kernel = self._variable(layer, "kernel", [*_pair(layer["kernel_size"]), x.shape[-1], layer["filters"]])
        y = tf.nn.conv2d(x, kernel, _pair(layer.get("strides", 1)), layer.get("padding", "valid").upper())
        return self._activate(layer, tf.nn.bias_add(y, self._variable(layer, "bias", [layer["filters"]])))

    def _dense(self, layer, x):
        units = self._classes if layer["units"] == "classes" else layer["units"]
        kernel = self._variable(layer, "kernel", [x.shape[-1], units])
        return self._activate(layer, x @ kernel + self._variable(layer, "bias", [units]))

    def _maxpool2d(self, layer, x):
        window = _pair(layer.get("pool_size", 2))
        return tf.nn.max_pool2d(x, window, layer.get("strides", window), layer.get("padding", "valid").upper())

    def _flatten(self, layer, x):
        return tf.reshape(x, [-1, x.shape[1] * x.shape[2] * x.shape[3]])

    def _dropout(self, layer, x):
        assert layer["rate"] == 0, "its draws cannot be repeated"
        return x


def _names(variables):
    return [variable.op.name for variable in variables]
