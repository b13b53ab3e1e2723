"""SavedModels of other programs are served by their own signatures: TensorFlow Serving's client and plain HTTP get, under the
names that the SavedModel has, what TensorFlow computes."""

import base64

import grpc
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from served import Served

TIMEOUT = 30
SIDE = 24
# The input's type, what Keras calls the output, which has a name of its own where the model gives a dictionary, and what the last
# layer does.
MODELS = {"floats": ("float32", "probs", "softmax"), "levels": ("uint8", "probs", "softmax"),
          "unnamed": ("float32", "output_0", "softmax"), "logits": ("float32", "logits", None)}


def classifier(name):
    dtype, output, activation = MODELS[name]
    pixels = keras.Input((SIDE, SIDE, 3), name="pixels", dtype=dtype)
    x = layers.Rescaling(1 / 255.0)(pixels)
    x = layers.Conv2D(8, 3, activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(5, activation=activation, kernel_initializer=keras.initializers.RandomNormal(stddev=0.2, seed=1))(x)
    return keras.Model(pixels, x if output == "output_0" else {output: x})


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory):
    keras.utils.set_random_seed(1)
    folder = tmp_path_factory.mktemp("signatures")
    for name in MODELS:
        classifier(name).export(folder / name)
    scores = classifier("logits")
    exporting = keras.export.ExportArchive()
    exporting.track(scores)
    shape = [tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, "pixels")]
    exporting.add_endpoint("serve", lambda x: {"probs": tf.nn.softmax(scores(x)["logits"])}, shape)
    exporting.add_endpoint("scores", lambda x: scores(x), shape)
    exporting.write_out(folder / "scores")
    return {name: folder / name for name in [*MODELS, "scores"]}


@pytest.fixture(scope="module", params=["plain", "batched"])
def served(request, nacre, saved_models):
    options = ["--enable_batching"] if request.param == "batched" else []
    server = Served(nacre, {name: {1: folder} for name, folder in saved_models.items()}, *options)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        server.predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        yield server
    assert server.stop() == 0


def images(name):
    return np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3)).astype(MODELS.get(name, ["float32"])[0])


def computed(folder, pixels, signature="serving_default"):
    (output,) = tf.saved_model.load(str(folder)).signatures[signature](pixels=tf.constant(pixels)).values()
    expected = output.numpy()
    assert np.ptp(expected, axis=0).max() > 0.01, "these images tell nothing"
    return expected


def predict_request(model, pixels, *outputs, signature=""):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    request.inputs["pixels"].CopyFrom(tf.make_tensor_proto(pixels) if isinstance(pixels, np.ndarray) else pixels)
    request.output_filter.extend(outputs)
    return request


def assert_near(answers, expected):
    np.testing.assert_allclose(np.asarray(answers), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_rest(served, saved_models, name):
    pixels = images(name)
    expected = computed(saved_models[name], pixels)
    for body, key in (({"instances": pixels.tolist()}, "predictions"),
                      ({"instances": [{"pixels": image} for image in pixels.tolist()]}, "predictions"),
                      ({"inputs": {"pixels": pixels.tolist()}}, "outputs"), ({"inputs": pixels.tolist()}, "outputs")):
        for signature in ({}, {"signature_name": "serving_default"}, {"signature_name": "serve"}):
            status, reply = served.rest(f"/v1/models/{name}:predict", body | signature)
            assert status == 200, reply
            assert_near(reply[key], expected)


@pytest.mark.parametrize("name", MODELS)
def test_grpc(served, saved_models, name):
    pixels = images(name)
    output = MODELS[name][1]
    expected = computed(saved_models[name], pixels)
    for outputs in ([], [output]):
        for signature in ("", "serve"):
            response = served.predictions.Predict(predict_request(name, pixels, *outputs, signature=signature), TIMEOUT)
            assert list(response.outputs) == [output]
            assert_near(tf.make_ndarray(response.outputs[output]), expected)
    grey = tf.make_tensor_proto(7, MODELS[name][0], pixels.shape)  # one value that goes on
    response = served.predictions.Predict(predict_request(name, grey), TIMEOUT)
    (answers,) = tf.saved_model.load(str(saved_models[name])).signatures["serving_default"](
        pixels=tf.constant(tf.make_ndarray(grey))).values()
    assert_near(tf.make_ndarray(response.outputs[output]), answers)


@pytest.mark.parametrize("name", MODELS)
def test_metadata(served, saved_models, name):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = name
    request.metadata_field.append("signature_def")
    response = served.predictions.GetModelMetadata(request, TIMEOUT)
    told = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(told)
    status, rest = served.rest(f"/v1/models/{name}/metadata")
    assert status == 200
    for key in ("serve", "serving_default"):
        signature = tf.saved_model.load(str(saved_models[name])).signatures[key]
        (pixels,) = signature.structured_input_signature[1].values()
        own = told.signature_def[key]
        assert list(own.inputs) == ["pixels"] and list(own.outputs) == list(signature.structured_outputs)
        assert own.inputs["pixels"].dtype == pixels.dtype.as_datatype_enum
        assert [dim.size for dim in own.inputs["pixels"].tensor_shape.dim] == [-1, SIDE, SIDE, 3]
        (output,) = own.outputs.values()
        assert output.dtype == tf.float32.as_datatype_enum and [dim.size for dim in output.tensor_shape.dim] == [-1, 5]
        shown = rest["metadata"]["signature_def"]["signature_def"][key]["inputs"]["pixels"]
        assert shown["dtype"] == f"DT_{pixels.dtype.name.upper()}".replace("DT_FLOAT32", "DT_FLOAT")


def test_scores_and_probabilities_of_one_network(served, saved_models):
    """Nobody gets probabilities where TensorFlow gives scores, or the other way round."""
    pixels = images("scores")
    for signature, output in (("serving_default", "probs"), ("serve", "probs"), ("scores", "logits")):
        expected = computed(saved_models["scores"], pixels, signature)
        assert (expected.max() > 1) == (signature == "scores")
        response = served.predictions.Predict(predict_request("scores", pixels, signature=signature), TIMEOUT)
        assert list(response.outputs) == [output]
        assert_near(tf.make_ndarray(response.outputs[output]), expected)


def test_classes_of_scores(served, saved_models):
    """What nacre adds to a model that gives scores has their softmax."""
    pngs = [tf.io.encode_png(image.astype(np.uint8)).numpy() for image in images("logits")]
    instances = [{"b64": base64.b64encode(png).decode()} for png in pngs]
    body = {"signature_name": "encoded_image", "instances": instances}
    status, reply = served.rest("/v1/models/logits:predict", body)
    assert status == 200, reply
    assert_near(reply["predictions"], tf.nn.softmax(computed(saved_models["logits"], images("logits"))).numpy())


def test_the_float_default_of_nacres_own(nacre, exported):
    model = exported("fashion28")
    folder = model.convert("float_default", "--default-signature", "float")
    server = Served(nacre, {"fashion28": {1: folder}})
    try:
        status, reply = server.rest("/v1/models/fashion28:predict", {"instances": model.floats.tolist()})
        assert status == 200, reply
        assert_near(reply["predictions"], model.expected(model.native_pngs))
        status, reply = server.rest("/v1/models/fashion28/metadata")
        signatures = reply["metadata"]["signature_def"]["signature_def"]
        assert signatures["serving_default"]["inputs"] == signatures["float_image"]["inputs"]
    finally:
        assert server.stop() == 0
