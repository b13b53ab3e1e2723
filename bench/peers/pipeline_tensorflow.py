"""TensorFlow's training with its own input pipeline: tf.data decodes JPEGs and augments them while the step runs."""

import pathlib

import tensorflow as tf

import start
import tensorflow_network


def augmented(image):
    """face96's recipe: flip,brightness=0.5,contrast=0.2:2.0,hue=0.08,saturation=0.2:2.0."""
    image = tf.image.random_flip_left_right(image)
    image = tf.image.random_brightness(image, 0.5)
    image = tf.image.random_contrast(image, 0.2, 2.0)
    image = tf.image.random_hue(image, 0.08)
    return tf.image.random_saturation(image, 0.2, 2.0)


class Peer:
    """A step of this is a block of spec["block"] training steps: single ones would come in bursts, as batches are ready."""

    def __init__(self, spec):
        tensorflow_network.use_threads(spec["threads"])
        network = tensorflow_network.Network(*start.load(spec), spec["classes"])
        optimizer = tensorflow_network.Optimizer(network.trainable(), spec["recipe"])
        self._step, self._block = tensorflow_network.training_step(network, optimizer), spec["block"]
        files = sorted(pathlib.Path(spec["images"]).glob("*/*.jpg"))
        labels = [int(file.parent.name) for file in files]

        def image_of(file, label):
            image = tf.io.decode_jpeg(tf.io.read_file(file), channels=3, dct_method="INTEGER_ACCURATE")
            return augmented(tf.image.convert_image_dtype(image, tf.float32)), label

        options = tf.data.Options()
        options.threading.private_threadpool_size = spec["threads"]
        data = tf.data.Dataset.from_tensor_slices(([str(file) for file in files], labels)).shuffle(len(files)).repeat()
        data = data.map(image_of, num_parallel_calls=spec["threads"], deterministic=False)
        self._batches = iter(data.batch(spec["batch"], drop_remainder=True).prefetch(2).with_options(options))

    def facts(self):
        return {"version": tf.__version__}

    def step(self):
        for _ in range(self._block):
            self._loss = float(self._step(*next(self._batches)))
