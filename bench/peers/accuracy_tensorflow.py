"""TensorFlow trains fashion28 by its recipe: a step is an epoch, and the test of all 10,000 images behind it."""

import tensorflow as tf

import fashion
import start
import tensorflow_network


class Peer:
    def __init__(self, spec):
        tensorflow_network.use_threads(spec["threads"])
        self._recipe, self._batch = spec["recipe"], spec["batch"]
        self._network = tensorflow_network.Network(*start.load(spec), spec["classes"])
        self._rate = tf.Variable(0.0)
        recipe = self._recipe | {"learning-rate": self._rate}
        optimizer = tensorflow_network.Optimizer(self._network.trainable(), recipe)
        train = tensorflow_network.training_step(self._network, optimizer)
        self._data = {name: tf.constant(value) for name, value in fashion.arrays().items()}
        self._train = lambda images, labels: train(tf.image.random_flip_left_right(images), labels)
        self._test = tf.function(lambda images: tf.argmax(self._network.scores(images, training=False), 1))
        self._taken, self._accuracy, self._started = 0, 0.0, False

    def facts(self):
        return {"version": tf.__version__, "accuracy": self._accuracy}

    def step(self):
        if self._started:
            self._epoch()
        self._started = True  # the first call is before the clock runs
        told = tf.concat([self._test(part) for part in tf.split(self._data["test_images"], 20)], 0)
        self._accuracy = float(tf.reduce_mean(tf.cast(told == self._data["test_labels"], tf.float32)))

    def _epoch(self):
        order = tf.random.shuffle(tf.range(len(self._data["labels"])))
        steps = len(self._data["labels"]) // self._batch
        for i in range(steps):
            rows = order[i * self._batch : (i + 1) * self._batch]
            self._taken += 1
            self._rate.assign(fashion.rate(self._recipe, self._taken, steps * self._recipe["epochs"]))
            self._train(tf.gather(self._data["images"], rows), tf.gather(self._data["labels"], rows))
