"""Converters take the SavedModels that nacre writes to other engines, which predict what nacre predicts."""

import sys

import numpy as np
import onnxruntime
import openvino
import pytest
import tensorflow as tf

import command
from exported import assert_close

JUDGED = ["face96", "fashion28", "residual32", "every_layer"]


@pytest.mark.parametrize("name", JUDGED)
def test_tflite(exported, name):
    model = exported(name)
    converter = tf.lite.TFLiteConverter.from_saved_model(model.saved_model, signature_keys=["float_image"])
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    predict = interpreter.get_signature_runner("float_image")
    for count in (1, 7):
        assert_close(predict(image=model.floats[:count])["prediction"], model.expected(model.native_pngs[:count]))


@pytest.mark.parametrize("name", JUDGED)
def test_tf2onnx(exported, name, tmp_path):
    model = exported(name)
    command.run(sys.executable, "-m", "tf2onnx.convert", "--saved-model", model.saved_model, "--signature_def",
                "float_image", "--tag", "serve", "--output", tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (source,), (target,) = session.get_inputs(), session.get_outputs()
    for count in (1, 7):
        (predictions,) = session.run([target.name], {source.name: model.floats[:count]})
        assert_close(predictions, model.expected(model.native_pngs[:count]))


@pytest.mark.parametrize("name", JUDGED)
def test_openvino(exported, name):
    """It reads serving_default alone, and computes in bfloat16 unless told otherwise."""
    model = exported(name)
    folder = model.convert("saved_model_float", "--default-signature", "float")
    compiled = openvino.compile_model(openvino.convert_model(folder), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (1, 7):
        assert_close(compiled(model.floats[:count])[0], model.expected(model.native_pngs[:count]))
    loaded = tf.saved_model.load(str(folder))
    predictions = loaded.signatures["serving_default"](image=tf.constant(model.floats))["prediction"].numpy()
    assert_close(predictions, model.expected(model.native_pngs))
    for images in model.encoded_batches():
        predictions = loaded.signatures["encoded_image"](image=tf.constant(images))["prediction"].numpy()
        assert_close(predictions, model.expected(images))
