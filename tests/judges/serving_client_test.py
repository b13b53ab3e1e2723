"""TensorFlow Serving's own client, unchanged, and plain HTTP get from nacre-serve what `nacre predict` says, to the bit."""

import base64
import pathlib
import re
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (classification_pb2, get_model_metadata_pb2, get_model_status_pb2, inference_pb2,
                                     model_management_pb2, model_service_pb2_grpc, predict_pb2,
                                     prediction_service_pb2_grpc, regression_pb2)

from served import Served

NAMES = ["face96", "fashion28"]
TIMEOUT = 30


@pytest.fixture(scope="session", params=["plain", "batched"])
def served(request, nacre, exported):
    options = ["--enable_batching"] if request.param == "batched" else []
    server = Served(nacre, {name: {1: exported(name).bundle, 2: exported(name).saved_model} for name in NAMES}, *options)
    server.channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    server.predictions = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
    server.models = model_service_pb2_grpc.ModelServiceStub(server.channel)
    yield server
    server.channel.close()
    assert server.stop() == 0


def predict_request(name, tensor, signature="", version=None):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    request.inputs["image"].CopyFrom(tensor)
    return request


def prediction(response, output="prediction"):
    return tf.make_ndarray(response.outputs[output])


def fails(call, request, code):
    with pytest.raises(grpc.RpcError) as error:
        call(request, TIMEOUT)
    assert error.value.code() == code, error.value.details()
    return error.value.details()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", [1, 2])
def test_encoded_images(served, exported, name, version):
    model = exported(name)
    for images in (model.jpegs, model.pngs, model.jpegs[:1]):
        response = served.predictions.Predict(
            predict_request(name, tf.make_tensor_proto(images), version=version), TIMEOUT)
        np.testing.assert_array_equal(prediction(response), model.expected(images).astype(np.float32))
        assert response.model_spec.version.value == version
        assert response.model_spec.signature_name == "serving_default"


@pytest.mark.parametrize("name", NAMES)
def test_floats(served, exported, name):
    model = exported(name)
    expected = model.expected(model.native_pngs).astype(np.float32)
    content = tf.make_tensor_proto(model.floats)
    assert content.tensor_content
    response = served.predictions.Predict(predict_request(name, content, "float_image"), TIMEOUT)
    np.testing.assert_array_equal(prediction(response), expected)
    values = tf.make_tensor_proto(0.0, shape=model.floats.shape)
    values.ClearField("float_val")
    values.float_val.extend(model.floats.ravel().tolist())
    response = served.predictions.Predict(predict_request(name, values, "float_image"), TIMEOUT)
    np.testing.assert_array_equal(prediction(response), expected)
    grey = tf.make_tensor_proto(0.5, shape=model.floats.shape)  # one value that goes on
    assert len(grey.float_val) == 1
    response = served.predictions.Predict(predict_request(name, grey, "float_image"), TIMEOUT)
    full = tf.make_tensor_proto(np.full_like(model.floats, 0.5))
    assert served.predictions.Predict(predict_request(name, full, "float_image"), TIMEOUT) == response


def test_classes_have_names(served, exported):
    model = exported("face96")
    labels = model.inside["labels"]
    expected = model.expected(model.jpegs).astype(np.float32)
    response = served.predictions.Predict(
        predict_request("face96", tf.make_tensor_proto(model.jpegs), "labelled_image", 1), TIMEOUT)
    best = [[label.decode() for label in row] for row in prediction(response, "classes")]
    assert best == [[labels[i] for i in np.argsort(-row, kind="stable")] for row in expected]
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "face96"
    request.model_spec.version.value = 1
    for image in model.jpegs:
        request.input.example_list.examples.add().features.feature["image"].bytes_list.value.append(image)
    response = served.predictions.Classify(request, TIMEOUT)
    for classes, row in zip(response.result.classifications, expected, strict=True):
        assert [entry.label for entry in classes.classes] == labels
        assert [np.float32(entry.score) for entry in classes.classes] == row.tolist()


def test_multi_inference_and_regress(served, exported):
    image = exported("face96").jpegs[0]
    request = inference_pb2.MultiInferenceRequest()
    request.tasks.add(method_name="tensorflow/serving/classify").model_spec.name = "face96"
    request.input.example_list.examples.add().features.feature["image"].bytes_list.value.append(image)
    response = served.predictions.MultiInference(request, TIMEOUT)
    assert len(response.results[0].classification_result.classifications[0].classes) == 10
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "face96"
    request.input.example_list.examples.add().features.feature["image"].bytes_list.value.append(image)
    assert "regress" in fails(served.predictions.Regress, request, grpc.StatusCode.INVALID_ARGUMENT)


def test_metadata(served):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "fashion28"
    response = served.predictions.GetModelMetadata(request, TIMEOUT)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    default = signatures.signature_def["serving_default"]
    assert default.inputs["image"].dtype == tf.string.as_datatype_enum
    assert [d.size for d in signatures.signature_def["float_image"].inputs["image"].tensor_shape.dim] == [-1, 28, 28, 1]
    assert default.method_name == tf.saved_model.PREDICT_METHOD_NAME


def test_status_and_reload(served, exported):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "fashion28"
    states = {entry.version: entry.state for entry in served.models.GetModelStatus(request, TIMEOUT).model_version_status}
    assert states == {1: get_model_status_pb2.ModelVersionStatus.AVAILABLE, 2: get_model_status_pb2.ModelVersionStatus.AVAILABLE}
    served.publish("fashion28", 3, exported("fashion28").bundle)
    request.model_spec.version.value = 3
    for _ in range(100):
        try:
            if served.models.GetModelStatus(request, TIMEOUT).model_version_status[0].state == 30:
                break
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND
        time.sleep(0.1)
    response = served.predictions.Predict(
        predict_request("fashion28", tf.make_tensor_proto(exported("fashion28").jpegs[:1])), TIMEOUT)
    assert response.model_spec.version.value == 3
    reload = model_management_pb2.ReloadConfigRequest()
    for name in NAMES:
        config = reload.config.model_config_list.config.add(name=name, base_path=str(served.folder / name))
        config.model_version_policy.all.SetInParent()
    extra = reload.config.model_config_list.config.add(name="extra", base_path=str(served.folder / "fashion28"))
    extra.model_version_policy.specific.versions.append(1)
    assert served.models.HandleReloadConfigRequest(reload, TIMEOUT).status.error_code == 0
    request.model_spec.name = "extra"
    request.model_spec.version.value = 1
    assert served.models.GetModelStatus(request, TIMEOUT).model_version_status[0].state == 30


def test_errors(served, exported):
    jpeg = tf.make_tensor_proto(exported("face96").jpegs[:1])
    predict, codes = served.predictions.Predict, grpc.StatusCode
    assert fails(predict, predict_request("none", jpeg), codes.NOT_FOUND) == "Servable not found for request: Latest(none)"
    assert "Specific(face96, 9)" in fails(predict, predict_request("face96", jpeg, version=9), codes.NOT_FOUND)
    assert "not found" in fails(predict, predict_request("face96", jpeg, "none"), codes.FAILED_PRECONDITION)
    assert "expected DT_STRING" in fails(predict, predict_request("face96", tf.make_tensor_proto([1.0])), codes.INVALID_ARGUMENT)
    assert "image 0" in fails(predict, predict_request("face96", tf.make_tensor_proto([b"GIF89a"])), codes.INVALID_ARGUMENT)
    assert "Missing ModelSpec" in fails(predict, predict_pb2.PredictRequest(), codes.INVALID_ARGUMENT)


@pytest.mark.parametrize("name", NAMES)
def test_rest(served, exported, name):
    model = exported(name)
    expected = model.expected(model.jpegs).astype(np.float32)
    encoded = [{"b64": base64.b64encode(image).decode()} for image in model.jpegs]
    route = f"/v1/models/{name}/versions/1:predict"
    for body, key in (({"instances": encoded}, "predictions"), ({"inputs": encoded}, "outputs"),
                      ({"instances": [{"image": image} for image in encoded]}, "predictions"),
                      ({"inputs": {"image": encoded}, "signature_name": "encoded_image"}, "outputs")):
        status, reply = served.rest(route, body)
        assert status == 200, reply
        np.testing.assert_array_equal(np.float32(reply[key]), expected)
    status, reply = served.rest(route, {"signature_name": "float_image", "instances": model.floats[:2].tolist()})
    assert status == 200, reply
    np.testing.assert_array_equal(np.float32(reply["predictions"]), model.expected(model.native_pngs[:2]).astype(np.float32))
    status, reply = served.rest(f"/v1/models/{name}/versions/1:classify", {"examples": [{"image": encoded[0]}]})
    assert status == 200, reply
    assert [label for label, _ in reply["results"][0]] == model.inside["labels"]
    status, reply = served.rest(f"/v1/projects/p/models/{name}/versions/1:predict", {"instances": [{"image": encoded[0]}]})
    assert status == 200, reply
    np.testing.assert_array_equal(np.float32(reply["predictions"][0]["prediction"]), expected[0])
    status, reply = served.rest(f"/v1/models/{name}/versions/1")
    assert (status, reply["model_version_status"][0]["state"]) == (200, "AVAILABLE")
    status, reply = served.rest(f"/v1/models/{name}/versions/1/metadata")
    assert (status, reply["model_spec"]["version"]) == (200, "1")
    assert served.rest("/v1/models/none:predict", {"instances": encoded[:1]})[0] == 404
    assert served.rest(route, {"instances": [{"b64": "*"}]})[0] == 400


def test_the_example_of_the_documentation(served, exported, tmp_path, monkeypatch, capsys):
    page = (pathlib.Path(__file__).parents[2] / "docs/serving.md").read_text()
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    assert "localhost:8500" in example and '"faces"' in example
    model = exported("face96")
    (tmp_path / "face.jpg").write_bytes(model.jpegs[0])
    monkeypatch.chdir(tmp_path)
    exec(example.replace("localhost:8500", f"localhost:{served.port}").replace('"faces"', '"face96"'), {})
    assert capsys.readouterr().out.strip() == str(model.expected(model.jpegs[:1]).astype(np.float32))
