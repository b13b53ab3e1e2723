"""What TensorFlow and Keras write becomes bundles that answer alike: `nacre convert --to bundle`.

Networks have random weights, statistics of batch norm too; each is made once, by TensorFlow itself.
"""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import command
import pictures
from exported import assert_close

v1 = tf.compat.v1
CLASSES = 5
SIDE = 32
SHARPNESS = {"separable": 3}  # what the last kernel is multiplied by, so that images differ in their answers


def randomize(model, seed=1):
    """Weights that are far from their start, but keep activations in bounds."""
    numbers = np.random.default_rng(seed)
    for variable in model.variables:
        if not variable.dtype.startswith("float"):
            continue
        value = np.asarray(variable)
        noise = numbers.normal(size=value.shape).astype(np.float32)
        if variable.path.endswith(("moving_variance", "gamma")):
            value = value + 0.2 * np.abs(noise)
        elif value.ndim > 1:
            value = noise * np.sqrt(2 / np.prod(value.shape[:-1]))
        else:
            value = 0.1 * noise
        variable.assign(value)
    last = [layer for layer in model.layers if layer.weights][-1]
    last.kernel.assign(SHARPNESS.get(model.name, 1) * np.asarray(last.kernel))
    return model


def settle(model, pixels):
    """Gives batch norm the statistics of these images: others might let no signal through."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(pixels, training=True)


def plain():
    return keras.Sequential([
        keras.Input((SIDE, SIDE, 3)), layers.Rescaling(1 / 255.0), layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(), layers.Conv2D(16, 3, strides=2), layers.ReLU(), layers.AveragePooling2D(2), layers.Flatten(),
        layers.Dropout(0.5), layers.Dense(32, activation="relu"), layers.Dense(CLASSES, activation="softmax")])


def residual():
    """Ends in scores, not in a softmax."""
    source = keras.Input((SIDE, SIDE, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(source)))
    for filters, strides in [(8, 1), (16, 2)]:
        y = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        y = layers.Activation("relu")(layers.BatchNormalization(center=False)(y))
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
        if strides > 1:
            x = layers.BatchNormalization(scale=False)(layers.Conv2D(filters, 1, strides=strides)(x))
        x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(source, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def separable():
    """In the manner of MobileNet, with its usual scaling to -1 ... 1, groups, and what else nacre has."""
    source = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(source)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    for filters, strides in [(16, 1), (24, 2)]:
        if strides == 2:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same" if strides == 1 else "valid", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        x = layers.BatchNormalization()(layers.Conv2D(filters, 1, use_bias=False)(x))
        x = layers.Activation("relu6")(x)
    x = layers.LeakyReLU(negative_slope=0.2)(layers.SeparableConv2D(24, 3, padding="same")(x))
    x = layers.Conv2D(24, 3, groups=2, padding="same", activation="tanh")(layers.ELU()(x))
    x = layers.Concatenate()([x, layers.Activation("sigmoid")(x)])
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Activation("softmax")(layers.Reshape((CLASSES,))(layers.Conv2D(CLASSES, 1)(x)))
    return keras.Model(source, x, name="separable")


def bent():
    """On levels, of which only the mean that it takes away tells; dilations, ELU with an alpha, a softmax of 1 x 1."""
    return keras.Sequential([
        keras.Input((SIDE, SIDE, 3)), layers.ZeroPadding2D(1),
        layers.Normalization(mean=[123.0, 116.0, 103.0], variance=[3000.0, 3200.0, 3400.0]),
        layers.Conv2D(8, 3, padding="same", dilation_rate=2, activation="relu"), layers.Conv2D(12, (3, 2), dilation_rate=(2, 3)),
        layers.ELU(0.5), layers.GlobalAveragePooling2D(keepdims=True), layers.Conv2D(CLASSES, 1), layers.Softmax(),
        layers.Flatten()], name="bent")


NETWORKS = {"plain": plain, "residual": residual, "separable": separable, "bent": bent}
SCALES_ITSELF = {"plain", "separable", "bent"}


def factor(name):
    """From levels of 0 to 255 to what the network takes."""
    return np.float32(1 if name in SCALES_ITSELF else 1 / 255)


@pytest.fixture(scope="module")
def network():
    made = {}

    def make(name):
        if name not in made:
            made[name] = randomize(NETWORKS[name]())
            settle(made[name], np.stack(photos()).astype(np.float32) * factor(name))
        return made[name]

    return make


def to_bundle(nacre, folder, *options):
    bundle = pathlib.Path(str(folder) + ".nacre")
    command.run(nacre, "convert", folder, "--to", "bundle", "--out", bundle, *options)
    command.run(nacre, "verify", bundle)
    return bundle


def predict(nacre, bundle, folder, encoded):
    """[N, classes]"""
    paths = [folder / f"image{i}" for i in range(len(encoded))]
    for path, image in zip(paths, encoded):
        path.write_bytes(image)
    lines = command.run(nacre, "predict", bundle, *paths, "--json").splitlines()
    return np.array([json.loads(line)["prediction"] for line in lines])


def photos(height=SIDE, width=SIDE, count=6):
    return [pictures.resized(photo, height, width) for photo in pictures.photos(count, 96)]


def probabilities(answer):
    answer = np.asarray(answer, np.float64)
    if np.allclose(answer.sum(axis=1), 1, atol=1e-4):
        return answer
    odds = np.exp(answer - answer.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("way", ["export", "save"])
@pytest.mark.parametrize("name", NETWORKS)
def test_keras(nacre, network, tmp_path, name, way):
    model, folder = network(name), tmp_path / "model"
    if way == "export":
        model.export(folder, verbose=False)
    else:
        tf.saved_model.save(model, str(folder))
    images = photos()
    expected = probabilities(model(np.stack(images).astype(np.float32) * factor(name)))
    answers = predict(nacre, to_bundle(nacre, folder), tmp_path, [pictures.png(image) for image in images])
    assert_close(answers, expected)


class Decoding(tf.Module):
    """A network behind a decoder, as people put them together for serving."""

    def __init__(self, model, decode, finish):
        super().__init__()
        self.model, self.decode, self.finish = model, decode, finish

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, images):
        def load(image):
            return self.finish(tf.image.resize(self.decode(image), [SIDE, SIDE]))

        return {"scores": self.model(tf.map_fn(load, images, fn_output_signature=tf.float32))}


def to_units(image):
    return image / 255.0


DECODERS = {
    "jpeg": lambda image: tf.io.decode_jpeg(image, channels=3),
    "signed": lambda image: tf.io.decode_jpeg(image, channels=3),
    "even": lambda image: tf.io.decode_jpeg(image, channels=3),
    "negative": lambda image: tf.io.decode_jpeg(image, channels=3),
    "accurate": lambda image: tf.io.decode_jpeg(image, channels=3, dct_method="INTEGER_ACCURATE"),
    "image": lambda image: tf.io.decode_image(image, channels=3, expand_animations=False),
    "floats": lambda image: tf.image.convert_image_dtype(tf.io.decode_png(image, channels=3), tf.float32),
}


FINISHES = {
    "floats": lambda image: image,
    "signed": lambda image: image / 127.5 - 1.0,
    "even": lambda image: (image / 255.0 - [0.485, 0.456, 0.406]) / [0.6, 0.7, 0.8],
    "negative": lambda image: 1.0 - image / 255.0,
}


@pytest.mark.parametrize("decoder", DECODERS)
def test_decoders(nacre, network, tmp_path, decoder):
    module = Decoding(network("residual"), DECODERS[decoder], FINISHES.get(decoder, to_units))
    folder = tmp_path / "model"
    tf.saved_model.save(module, str(folder), signatures=module.__call__)
    images = photos(64, 50)
    encoded = [pictures.jpeg(image, 80) for image in images[:3]] + [pictures.png(image) for image in images[3:]]
    expected = probabilities(module(tf.constant(encoded))["scores"])
    assert_close(predict(nacre, to_bundle(nacre, folder), tmp_path, encoded), expected)


@pytest.mark.parametrize("first", [lambda images: images[0], lambda images: tf.reshape(images, [])], ids=["index", "reshape"])
def test_one_image(nacre, network, tmp_path, first):
    """Without a loop: tf.image.resize of one image, and a batch made of it by [None]."""
    module = tf.Module()
    module.model = network("residual")
    module.answer = tf.function(
        lambda images: module.model(
            to_units(tf.image.resize(tf.io.decode_jpeg(first(images), channels=3), [SIDE, SIDE]))[None]),
        input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.answer)
    encoded = [pictures.jpeg(image, 80) for image in photos(64, 50)]
    expected = probabilities(np.concatenate([module.answer(tf.constant([image])) for image in encoded]))
    assert_close(predict(nacre, to_bundle(nacre, tmp_path / "model"), tmp_path, encoded), expected)


def classic(folder, resource):
    """The classic workflow: unnamed variables in name scopes, tf.add, one decoded image of no static size."""
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        images = v1.placeholder(tf.string, name="images")
        image = tf.image.convert_image_dtype(tf.image.decode_jpeg(images[0], channels=3), tf.float32)
        x, channels = tf.expand_dims(image, 0), 3

        def variable(shape, deviation=0.3):
            return v1.Variable(v1.truncated_normal(shape, stddev=deviation, seed=len(graph.get_operations())),
                               use_resource=resource)

        for number, (kernel, filters) in enumerate([(3, 8), (3, 16), (5, 16)], 1):
            with v1.name_scope(f"conv_{number}"):
                weights, biases = variable([kernel, kernel, channels, filters]), variable([filters])
                x = tf.nn.relu(tf.add(tf.nn.conv2d(x, weights, [1, 1, 1, 1], "SAME"), biases))
                x, channels = tf.nn.max_pool2d(x, 2, 2, "SAME"), filters
        for name, units in [("fc1", 32), ("final_out", CLASSES)]:
            with v1.name_scope(name):
                size = 4 * 4 * 16 if name == "fc1" else 32
                x = tf.add(tf.matmul(tf.reshape(x, [-1, size]), variable([size, units])), variable([units]))
                x = tf.nn.relu(x) if name == "fc1" else x
        prediction = tf.nn.softmax(x, name="prediction")
        session.run(v1.global_variables_initializer())
        kinds = {operation.type for operation in graph.get_operations()}
        assert ("VarHandleOp" in kinds, "VariableV2" in kinds) == (resource, not resource)
        builder = v1.saved_model.builder.SavedModelBuilder(str(folder))
        info = v1.saved_model.utils.build_tensor_info
        signature = v1.saved_model.build_signature_def(
            {"image": info(images)}, {"prediction": info(prediction)}, "tensorflow/serving/predict")
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
        encoded = [pictures.jpeg(image, 85) for image in photos()]
        return encoded, np.concatenate([session.run(prediction, {images: [image]}) for image in encoded])


@pytest.mark.parametrize("resource", [False, True], ids=["ref", "resource"])
def test_classic(nacre, tmp_path, resource):
    encoded, expected = classic(tmp_path / "model", resource)
    refused = command.refused(nacre, "convert", tmp_path / "model", "--to", "bundle", "--out", tmp_path / "x.nacre")
    assert refused.returncode == 3 and "--input-size" in refused.stderr
    bundle = to_bundle(nacre, tmp_path / "model", "--input-size", f"{SIDE}x{SIDE}")
    assert_close(predict(nacre, bundle, tmp_path, encoded), expected)
    inside = json.loads(command.run(nacre, "inspect", bundle, "--json"))
    assert {"conv_1/kernel", "conv_1/bias", "final_out/bias"} <= {variable["name"] for variable in inside["variables"]}
    assert inside["input"]["jpeg_dct"] == "fast"


@pytest.mark.parametrize("version", [1, 2])
def test_loops_of_graphs(nacre, tmp_path, version):
    """tf.map_fn in graphs, with TF1's control flow and with TF2's; dropout with a rate that is fed, 0 by default."""
    (v1.enable_control_flow_v2 if version == 2 else v1.disable_control_flow_v2)()
    try:
        with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
            images = v1.placeholder(tf.string, [None], name="images")

            def load(image):
                return tf.image.resize(tf.image.convert_image_dtype(tf.image.decode_jpeg(image, channels=3), tf.float32),
                                       [SIDE, SIDE])

            x = tf.map_fn(load, images, fn_output_signature=tf.float32)
            ops = {operation.type for operation in graph.get_operations()}
            assert ("TensorListStack" in ops, "TensorArrayGatherV3" in ops) == (version == 2, version == 1)
            kernel = v1.get_variable("c/kernel", [3, 3, 3, 8], initializer=v1.truncated_normal_initializer(0, 0.3, seed=1))
            x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME")), 4, 4, "VALID")
            x = v1.nn.dropout(tf.reshape(x, [-1, 8 * 8 * 8]), rate=v1.placeholder_with_default(0.0, []))
            weights = v1.get_variable("d/kernel", [512, CLASSES], initializer=v1.truncated_normal_initializer(0, 0.3, seed=2))
            scores = tf.matmul(x, weights)
            session.run(v1.global_variables_initializer())
            v1.saved_model.simple_save(session, str(tmp_path / "model"), {"images": images}, {"scores": scores})
            encoded = [pictures.jpeg(image, 85) for image in photos(50, 70)]
            expected = probabilities(session.run(scores, {images: encoded}))
    finally:
        v1.enable_control_flow_v2()
    assert_close(predict(nacre, to_bundle(nacre, tmp_path / "model"), tmp_path, encoded), expected)


@pytest.mark.parametrize("name,side,tolerance", [("MobileNetV2", 96, 1e-5), ("ResNet50", 64, 1e-4)])
def test_applications(nacre, tmp_path, name, side, tolerance):
    keras.utils.set_random_seed(1)  # the same network whatever ran before
    model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=10)
    images = photos(side, side, 4)
    pixels = np.stack(images).astype(np.float32) * np.float32(1 / 255)
    settle(model, pixels)
    folder = tmp_path / "model"
    model.export(folder, verbose=False)
    expected = model(pixels).numpy()
    answers = predict(nacre, to_bundle(nacre, folder), tmp_path, [pictures.png(image) for image in images])
    assert np.ptp(expected, axis=0).max() > 10 * tolerance, "these images tell nothing"
    np.testing.assert_allclose(answers, expected, rtol=0, atol=tolerance)


def test_what_nacre_lacks_is_named(nacre, tmp_path):
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), layers.Conv2DTranspose(4, 3), layers.Flatten(),
                              layers.Dense(CLASSES, activation="softmax")])
    model.export(tmp_path / "model", verbose=False)
    refused = command.refused(nacre, "convert", tmp_path / "model", "--to", "bundle", "--out", tmp_path / "x.nacre")
    assert refused.returncode == 6 and refused.stderr.count("\n") == 1
    assert "conv2d_transpose" in refused.stderr and "(Conv2DBackpropInput)" in refused.stderr
    inside = json.loads(command.run(nacre, "inspect", tmp_path / "model", "--json"))
    assert inside["kind"] == "saved_model" and "Conv2DBackpropInput" in inside["unrecognized"]
    assert "serving_default" in {signature["name"] for signature in inside["signatures"]}


def test_inspect_and_diff_of_saved_models(nacre, network, tmp_path):
    for name in ("a", "b"):
        network("plain").export(tmp_path / name, verbose=False)
    inside = json.loads(command.run(nacre, "inspect", tmp_path / "a", "--json"))
    assert [layer["op"] for layer in inside["layers"]][:2] == ["Conv2D", "MaxPool2D"]
    for other in (tmp_path / "b", to_bundle(nacre, tmp_path / "a")):
        difference = json.loads(command.run(nacre, "diff", tmp_path / "a", other, "--json"))
        assert difference["identical"] and difference["variables"]
    verified = command.run(nacre, "verify", tmp_path / "a")
    assert "foreign: structure and checksums alone" in verified


def test_random_layers_are_named(nacre, tmp_path):
    """Keras keeps them in what it exports: the SavedModel itself answers differently from call to call."""
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), layers.Rescaling(1 / 255.0), layers.RandomFlip(),
                              layers.RandomRotation(0.1), layers.Flatten(), layers.Dense(CLASSES, activation="softmax")])
    model.export(tmp_path / "model", verbose=False)
    refused = command.refused(nacre, "convert", tmp_path / "model", "--to", "bundle", "--out", tmp_path / "x.nacre")
    assert refused.returncode == 6 and "draws random numbers" in refused.stderr


def test_preprocessing_that_nacre_lacks_is_named_before_a_size_is_asked_for(nacre, tmp_path):
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Resizing(24, 24, crop_to_aspect_ratio=True),
                              layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(CLASSES)])
    model.export(tmp_path / "model", verbose=False)
    refused = command.refused(nacre, "convert", tmp_path / "model", "--to", "bundle", "--out", tmp_path / "x.nacre")
    assert refused.returncode == 6 and "node" in refused.stderr and "--input-size" not in refused.stderr
