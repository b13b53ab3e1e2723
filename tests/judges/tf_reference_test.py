"""The one-image form of the classic TensorFlow 1 workflow (`convert --compat reference`), used as its clients do.

Such graphs decode JPEGs by TensorFlow's default method, the fast one.
"""

import json

import numpy as np
import pytest
import tensorflow as tf

from exported import assert_close

v1 = tf.compat.v1
JUDGED = ["face96 fast", "fashion28 fast", "residual32 fast"]


@pytest.mark.parametrize("name", JUDGED)
def test_one_image_by_the_collections(exported, name):
    """A client that knows the folder and the two collections alone."""
    model = exported(name)
    folder = model.convert("reference", "--compat", "reference")
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        v1.saved_model.load(session, [tf.saved_model.SERVING], str(folder))
        inputs, outputs = (json.loads(graph.get_collection(key)[0]) for key in ("inputs", "outputs"))
        assert (inputs, outputs) == ({"image": "images:0"}, {"prediction": "prediction:0"})
        assert graph.get_tensor_by_name("images:0").shape.rank is None
        images = model.jpegs + model.pngs
        predictions = [session.run(outputs["prediction"], {inputs["image"]: [image]}) for image in images]
        assert {prediction.shape for prediction in predictions} == {(1, 10)}
        assert_close(np.concatenate(predictions), model.expected(images))
        for first, second in ((0, 1), (1, -1), (-1, 1)):  # a JPEG before a JPEG, before a PNG and after it: the first counts
            pair = [images[first], images[second]]
            np.testing.assert_array_equal(session.run(outputs["prediction"], {inputs["image"]: pair}), predictions[first])
            assert np.abs(predictions[first] - predictions[second]).max() > 1e-3, "these images tell nothing"


@pytest.mark.parametrize("name", JUDGED)
def test_signatures(exported, name):
    model = exported(name)
    signatures = tf.saved_model.load(str(model.convert("reference", "--compat", "reference"))).signatures
    assert "classify" not in signatures
    predictions = signatures["serving_default"](image=tf.constant(model.jpegs[:1]))["prediction"].numpy()
    assert_close(predictions, model.expected(model.jpegs[:1]))
    predictions = signatures["float_image"](image=tf.constant(model.floats))["prediction"].numpy()
    assert_close(predictions, model.expected(model.native_pngs))
