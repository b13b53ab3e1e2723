"""Predictions of TensorFlow, from nacre's own SavedModel, frozen: variables are constants."""

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import start
import tensorflow_network


class Peer:
    def __init__(self, spec):
        tensorflow_network.use_threads(spec["threads"])
        loaded = tf.saved_model.load(spec["saved_model"])
        self._predict = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
        self._images = tf.constant(start.noise(spec)[0])

    def facts(self):
        return {"version": tf.__version__, "first": self._output.numpy()[0].tolist()}

    def step(self):
        (self._output,) = self._predict(self._images)
