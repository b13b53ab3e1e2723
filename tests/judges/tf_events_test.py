"""TensorBoard's own reader lists a run's tags and reads the values that the run wrote down elsewhere."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import checkpoint
import command
import data

STEPS, EVERY, IMAGES, SIZE, CLASSES = 40, 8, 320, 32, 10
BATCH = 20
LAYERS = ("conv1", "conv2", "fc1", "fc2", "out")


@pytest.fixture(scope="module")
def run(nacre, tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    for part, count in (("train", IMAGES), ("validation", 2 * IMAGES)):
        pixels, labels = data.fashion(count, SIZE, 1)
        data.write_idx(folder / part, pixels[-IMAGES:], labels[-IMAGES:])
    command.run(nacre, "train", "--model", "lenet5", "--data", folder / "train", "--validation", folder / "validation", "--out",
                folder / "run", "--batch-size", BATCH, "--steps", STEPS, "--validate-every", EVERY, "--checkpoint-every", EVERY,
                "--events", "all", "--augment", "flip,crop=2", "--lr-schedule", "cosine", "--warmup-steps", 5)
    return folder / "run"


def events(run, part):
    accumulator = EventAccumulator(str(run / "events" / part), size_guidance={"tensors": 0})
    accumulator.Reload()
    return accumulator


def metrics(run, key):
    """Step -> what metrics.jsonl says under a key."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[key] for line in lines if key in line}


def scalars(accumulator, tag):
    assert accumulator.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
    return {event.step: tf.make_ndarray(event.tensor_proto).item() for event in accumulator.Tensors(tag)}


def picture(encoded):
    return tf.io.decode_png(encoded).numpy()


def test_tags(run):
    histograms = {f"{layer}/{variable}/histogram" for layer in LAYERS for variable in ("kernel", "bias")}
    assert set(events(run, "train").Tags()["tensors"]) == histograms | {
        "config", "images", "images_augmented", "batch_loss", "batch_accuracy", "batch_learning_rate", "batch_images_per_second",
        "epoch_loss", "epoch_accuracy", "epoch_learning_rate"}
    assert set(events(run, "validation").Tags()["tensors"]) == {
        "evaluation_loss_vs_iterations", "evaluation_accuracy_vs_iterations", "epoch_loss", "epoch_accuracy", "evaluation",
        "confusion_matrix"}


@pytest.mark.parametrize("part, tag, key", [
    ("train", "batch_loss", "loss"),
    ("train", "batch_accuracy", "accuracy"),
    ("train", "batch_images_per_second", "images_per_second"),
    ("validation", "evaluation_loss_vs_iterations", "validation_loss"),
    ("validation", "evaluation_accuracy_vs_iterations", "validation_accuracy"),
])
def test_scalars(run, part, tag, key):
    written = metrics(run, key)
    assert len(written) == (STEPS if part == "train" else STEPS // EVERY)
    read = scalars(events(run, part), tag)
    assert read.keys() == written.keys()
    np.testing.assert_allclose([read[step] for step in written], list(written.values()), rtol=1e-6)


def test_epochs_are_means(run):
    losses = list(metrics(run, "loss").values())
    steps = IMAGES // BATCH
    read = scalars(events(run, "train"), "epoch_loss")
    assert list(read) == list(range(len(read))) and len(read) >= STEPS // steps
    for epoch, mean in list(read.items())[: STEPS // steps]:
        assert mean == pytest.approx(np.mean(losses[epoch * steps : (epoch + 1) * steps]), rel=1e-6)


def test_histograms_hold_the_weights(run):
    accumulator = events(run, "train")
    variables = checkpoint.read(run / "checkpoints" / "latest")
    for layer in LAYERS:
        event = accumulator.Tensors(f"{layer}/kernel/histogram")[-1]
        assert event.step == STEPS
        left, right, count = tf.make_ndarray(event.tensor_proto).T
        values = variables[f"{layer}/kernel"].ravel()
        assert count.sum() == values.size
        assert (left[0], right[-1]) == pytest.approx((values.min(), values.max()), rel=1e-6)
        expected, _ = np.histogram(values.astype(np.float64), bins=np.append(left, right[-1]))
        # A value on an edge may fall on either side of it.
        assert np.abs(expected - count).sum() <= 4


def test_text_and_pictures(run):
    training, validation = events(run, "train"), events(run, "validation")
    (config,) = training.Tensors("config")
    assert '"lenet5"' in tf.make_ndarray(config.tensor_proto).item().decode()
    for tag in ("images", "images_augmented"):
        width, height, *pngs = tf.make_ndarray(training.Tensors(tag)[0].tensor_proto)
        assert (int(width), int(height), len(pngs)) == (SIZE, SIZE, 8)
        assert all(picture(png).shape[:2] == (SIZE, SIZE) for png in pngs)
    assert len(validation.Tensors("confusion_matrix")) == STEPS // EVERY
    confusion = picture(tf.make_ndarray(validation.Tensors("confusion_matrix")[-1].tensor_proto)[2])
    assert confusion.shape[0] >= CLASSES and len(np.unique(confusion)) > 2
