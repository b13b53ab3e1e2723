"""Training steps of TensorFlow: one traced function."""

import tensorflow as tf

import start
import tensorflow_network


class Peer:
    def __init__(self, spec):
        tensorflow_network.use_threads(spec["threads"])
        network = tensorflow_network.Network(*start.load(spec), spec["classes"])
        optimizer = tensorflow_network.Optimizer(network.trainable(), spec["recipe"])
        self._step = tensorflow_network.training_step(network, optimizer)
        self._images, self._labels = (tf.constant(value) for value in start.noise(spec))

    def facts(self):
        return {"version": tf.__version__, "loss": self._loss}

    def step(self):
        self._loss = float(self._step(self._images, self._labels))
