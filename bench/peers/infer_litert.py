"""Predictions of LiteRT (once TensorFlow Lite) with XNNPACK, from nacre's own SavedModel."""

import pathlib
import subprocess
import sys

from ai_edge_litert.interpreter import Interpreter
import ai_edge_litert

import start

# In a process of its own: TensorFlow and its threads are not to be in the one that is timed.
CONVERT = """
import sys, tensorflow as tf
converter = tf.lite.TFLiteConverter.from_saved_model(sys.argv[1], signature_keys=["float_image"])
converted = converter.convert()
open(sys.argv[2], "wb").write(converted)
"""


class Peer:
    def __init__(self, spec):
        path = pathlib.Path(spec["model"]).with_name("model.tflite")
        if not path.exists():
            subprocess.run([sys.executable, "-c", CONVERT, spec["saved_model"], str(path)], check=True)
        self._interpreter = Interpreter(str(path), num_threads=spec["threads"])
        images, _ = start.noise(spec)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._interpreter.resize_tensor_input(self._input, images.shape)
        self._interpreter.allocate_tensors()
        self._images = images

    def facts(self):
        return {"version": ai_edge_litert.__version__, "first": self._interpreter.get_tensor(self._output)[0].tolist()}

    def step(self):
        self._interpreter.set_tensor(self._input, self._images)
        self._interpreter.invoke()
