"""TensorFlow loads the SavedModels that nacre writes, in all its ways, and predicts what nacre predicts."""

import json
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

import checkpoint
import command
from exported import LABELS, assert_close

v1 = tf.compat.v1
JUDGED = ["face96", "fashion28", "residual32"]  # by all consumers
OTHERS = ["every_layer", "fashion28_accurate", "lenet5", "mobilenet96", "vgg32"]
CONTRACTS = ["face96 fast", "fashion28 exact", "lenet5 scaled"]


@pytest.mark.parametrize("name", [*JUDGED, *OTHERS, *CONTRACTS])
def test_load(exported, name):
    model = exported(name)
    loaded = tf.saved_model.load(model.saved_model)
    assert set(loaded.signatures) == {"serving_default", "encoded_image", "float_image", "classify"}
    for key in ("serving_default", "encoded_image"):
        predict = loaded.signatures[key]
        for images in model.encoded_batches():
            assert_close(predict(image=tf.constant(images))["prediction"].numpy(), model.expected(images))
    predict = loaded.signatures["float_image"]
    for count in (1, 7):
        predictions = predict(image=tf.constant(model.floats[:count]))["prediction"].numpy()
        assert_close(predictions, model.expected(model.native_pngs[:count]))


def test_other_sizes_are_refused(exported, tmp_path):
    """By a contract without resizing, in the graph as by nacre."""
    model, other = exported("fashion28 exact"), exported("fashion28").jpegs[:1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="28"):
        tf.saved_model.load(model.saved_model).signatures["encoded_image"](image=tf.constant(other))
    (tmp_path / "other.jpg").write_bytes(other[0])
    refused = command.refused(model.nacre, "predict", model.bundle, tmp_path / "other.jpg")
    assert refused.returncode == 3 and "exactly 28 x 28" in refused.stderr


def test_every_layer_has_all_ops():
    documented = re.findall("^## (.*)$", (checkpoint.PROJECT / "docs" / "ops.md").read_text(), re.MULTILINE)
    layers = json.loads((checkpoint.PROJECT / "tests" / "judges" / "every_layer.json").read_text())["layers"]
    assert {layer["op"] for layer in layers} | {"Softmax", "Fused operators"} == set(documented)


@pytest.mark.parametrize("name", JUDGED)
def test_images_prepared_by_hand(exported, name):
    """As docs/tensorflow.md says, for who has the float signature alone."""
    model = exported(name)
    decoded = [tf.io.decode_jpeg(image, channels=model.channels, dct_method="INTEGER_ACCURATE") for image in model.jpegs]
    images = [tf.image.resize(tf.cast(image, tf.float32) * np.float32(1 / 255), [model.height, model.width])
              for image in decoded]
    predict = tf.saved_model.load(model.saved_model).signatures["float_image"]
    assert_close(predict(image=tf.stack(images))["prediction"].numpy(), model.expected(model.jpegs))


@pytest.mark.parametrize("name", JUDGED + OTHERS)
def test_variables(exported, name):
    """They are variables, and can be changed: not constants of the graph."""
    model = exported(name)
    loaded = tf.saved_model.load(model.saved_model)
    variables = {variable.name.removesuffix(":0"): variable for variable in loaded.variables}
    inside = {variable["name"]: variable["shape"] for variable in model.inside["variables"]}
    assert {name: variable.shape.as_list() for name, variable in variables.items()} == inside
    predict = loaded.signatures["serving_default"]
    before = predict(image=tf.constant(model.jpegs))["prediction"].numpy()
    variables["out/bias"].assign_add(tf.range(10.0))
    after = predict(image=tf.constant(model.jpegs))["prediction"].numpy()
    odds = before * np.exp(np.arange(10.0))
    np.testing.assert_allclose(after, odds / odds.sum(axis=1, keepdims=True), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", JUDGED)
def test_classify(exported, name):
    model = exported(name)
    classify = tf.saved_model.load(model.saved_model).signatures["classify"]
    for images in model.encoded_batches():
        answer = classify(inputs=tf.constant([example(image) for image in images]))
        assert_close(answer["scores"].numpy(), model.expected(images))
        assert answer["classes"].numpy().tolist() == [[label.encode() for label in LABELS]] * len(images)


def example(image):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
    return tf.train.Example(features=tf.train.Features(feature={"image": feature})).SerializeToString()


@pytest.mark.parametrize("name", JUDGED)
def test_tf1_loader(exported, name):
    model = exported(name)
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        meta = v1.saved_model.load(session, [tf.saved_model.SERVING], model.saved_model)
        batches = [(key, images) for key in ("serving_default", "encoded_image") for images in model.encoded_batches()]
        for key, value in [*batches, ("float_image", model.floats)]:
            signature = meta.signature_def[key]
            assert signature.method_name == "tensorflow/serving/predict"
            predictions = session.run(signature.outputs["prediction"].name, {signature.inputs["image"].name: value})
            assert_close(predictions, model.expected(model.native_pngs if value is model.floats else value))
        assert meta.signature_def["classify"].method_name == "tensorflow/serving/classify"
        inside = {variable["name"] for variable in model.inside["variables"]}
        assert {variable.op.name for variable in v1.global_variables()} == inside
        assert {variable.op.name for variable in v1.trainable_variables()} == {
            name for name in inside if "/moving_" not in name}
        assert_collections(graph, meta.signature_def["serving_default"])


def assert_collections(graph, signature):
    """The JSON maps that clients of TensorFlow 1 read name the tensors of a signature."""
    for key, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        (text,) = graph.get_collection(key)
        assert json.loads(text) == {name: tensor.name for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", JUDGED)
def test_saved_model_cli(exported, name, tmp_path):
    model = exported(name)
    shown = cli("show", "--dir", model.saved_model, "--all")
    for words in ("'serve'", "signature_def['serving_default']", "signature_def['classify']", "DT_STRING",
                  f"(-1, {model.height}, {model.width}, {model.channels})", "(-1, 10)"):
        assert words in shown
    for run, key, images in (("mixed", "serving_default", model.jpegs[:4] + model.pngs[3:]),
                             ("png", "serving_default", model.pngs[:1]), ("floats", "float_image", model.native_pngs)):
        np.save(tmp_path / f"{run}.npy", model.floats if run == "floats" else np.array(images, dtype="S"))
        cli("run", "--dir", model.saved_model, "--tag_set", "serve", "--signature_def", key,
            "--inputs", f"image={tmp_path}/{run}.npy", "--outdir", tmp_path / run)
        assert_close(np.load(tmp_path / run / "prediction.npy"), model.expected(images))


def cli(*arguments):
    environment = pathlib.Path(tf.__file__).parents[4]  # which need not be the interpreter's
    return command.run(environment / "bin" / "saved_model_cli", *arguments)


@pytest.mark.parametrize("name", JUDGED)
def test_keras_layer(exported, name):
    model = exported(name)
    layer = keras.layers.TFSMLayer(model.saved_model, call_endpoint="serving_default")
    for images in model.encoded_batches():
        assert_close(layer(tf.constant(images))["prediction"].numpy(), model.expected(images))
    layer = keras.layers.TFSMLayer(model.saved_model, call_endpoint="float_image")
    network = keras.Sequential([keras.Input((model.height, model.width, model.channels)), layer])
    assert_close(network.predict(model.floats, verbose=0)["prediction"], model.expected(model.native_pngs))


@pytest.mark.parametrize("name", JUDGED)
def test_labels_are_an_asset(exported, name):
    model = exported(name)
    text = pathlib.Path(model.saved_model, "assets", "labels.txt").read_text(encoding="utf-8")
    assert text.splitlines() == LABELS


FORMS = {
    "saved_model": [],
    "saved_model_float": ["--default-signature", "float"],
    "reference": ["--compat", "reference"],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", JUDGED)
def test_warm_up_records(exported, name, form):
    """TensorFlow Serving replays the requests before a version goes live; the answers are there for `nacre verify`.

    The messages are TensorFlow Serving's own. The reference form decodes fast whatever the contract says.
    """
    model = exported(f"{name} fast" if form == "reference" else name)
    folder = model.convert(form, *FORMS[form])
    signatures = tf.saved_model.load(str(folder)).signatures
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    logs = [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    assert len(logs) == model.inside["golden_vectors"] > 1
    images, answers, recorded = [], [], []
    for log in logs:
        assert log.WhichOneof("log_type") == "predict_log"
        request, response = log.predict_log.request, log.predict_log.response
        assert (set(request.inputs), set(response.outputs)) == ({"image"}, {"prediction"})
        image = tf.make_ndarray(request.inputs["image"])
        assert image.shape == (1,)
        images.append(image[0])
        answers.append(signatures[request.model_spec.signature_name](image=tf.constant(image))["prediction"].numpy())
        recorded.append(tf.make_ndarray(response.outputs["prediction"]))
    answers, recorded = np.concatenate(answers), np.concatenate(recorded)
    assert_close(answers, recorded)
    assert_close(answers, model.expected(images))
