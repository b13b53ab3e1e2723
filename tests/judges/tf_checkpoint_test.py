"""Checkpoints go to TensorFlow and come back, and TensorFlow's come to nacre: every bit of variables and slots."""

import json

import numpy as np
import pytest
import tensorflow as tf

import checkpoint
import command
import tf_network
from case import BATCH, CLASSES, Case

v1 = tf.compat.v1
STEPS = 3
RATE = 1e-5
SLOTS = {"adam_m": "Adam", "adam_v": "Adam_1", "momentum": "Momentum"}
OPTIONS = {
    "face96": ["--optimizer", "adam", "--learning-rate", RATE],
    "residual32": ["--optimizer", "sgd", "--momentum", 0.9, "--learning-rate", 0.01],
}


def theirs(name):
    """TensorFlow's name of nacre's tensor `name`."""
    variable, _, last = name.rpartition("/")
    return f"{variable}/{SLOTS.get(last, last)}"


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


class Trained:
    """A run of nacre's, and its latest checkpoint as TensorFlow's."""

    def __init__(self, nacre, preset, folder):
        self.preset, self.case = preset, Case(nacre, preset, folder, 2 * STEPS * BATCH)
        _, self.tensors = self.case.train("run", STEPS, *OPTIONS[preset])
        self.run = folder / "run"
        self.prefix = str(folder / "tensorflow" / f"model.ckpt-{STEPS}")
        convert(nacre, self.run, "tf_checkpoint", self.prefix)


def convert(nacre, source, kind, target, *options):
    command.run(nacre, "convert", source, "--to", kind, "--out", target, *options)


def convert_theirs(nacre, prefix, case, target, *options):
    """A checkpoint of nacre's, of the network and the classes of a case; returns its tensors."""
    labels = case.folder / "labels.txt"
    labels.write_text("".join(f"{i}\n" for i in range(CLASSES)))
    convert(nacre, prefix, "checkpoint", target, "--model", case.folder / "model.json", "--labels", labels, *options)
    return checkpoint.read(target)


@pytest.fixture(scope="module", params=OPTIONS)
def trained(request, nacre, tmp_path_factory):
    return Trained(nacre, request.param, tmp_path_factory.mktemp(request.param))


def test_load_checkpoint(trained):
    assert tf.train.latest_checkpoint(trained.case.folder / "tensorflow") == trained.prefix
    reader = tf.train.load_checkpoint(trained.prefix)
    assert any(name.rpartition("/")[2] in SLOTS for name in trained.tensors)
    for name, value in trained.tensors.items():
        assert same_bits(reader.get_tensor(theirs(name)), value), name
    others = set(reader.get_variable_to_shape_map()) - {theirs(name) for name in trained.tensors}
    powers = {"beta1_power": 0.9, "beta2_power": 0.999} if trained.preset == "face96" else {}
    assert others == {"global_step", "nacre/state", *powers}
    assert reader.get_tensor("global_step") == STEPS
    for name, beta in powers.items():
        np.testing.assert_allclose(reader.get_tensor(name), np.float32(beta) ** (STEPS + 1), rtol=1e-6)


def variables_of(prefix, blank=False):
    """Makes a variable of each tensor of a checkpoint, with its value or zeros, in the present graph."""
    reader = tf.train.load_checkpoint(prefix)
    for name, kind in reader.get_variable_to_dtype_map().items():
        value = reader.get_tensor(name)
        if blank:
            value = np.zeros_like(value) if kind != tf.string else b""
        v1.get_variable(name, initializer=tf.constant(value, kind))


def test_saver_restores_all(trained):
    with tf.Graph().as_default(), v1.Session() as session:
        variables_of(trained.prefix, blank=True)
        v1.train.Saver().restore(session, trained.prefix)
        restored = session.run({variable.op.name: variable for variable in v1.global_variables()})
    for name, value in trained.tensors.items():
        assert same_bits(restored[theirs(name)], value), name


def test_objects_restore_by_names(trained):
    variables = [tf.Variable(tf.zeros(value.shape), name=theirs(name)) for name, value in trained.tensors.items()]
    restored = tf.train.Checkpoint(variables=variables).restore(trained.prefix)
    restored.assert_existing_objects_matched()
    assert all(same_bits(a.numpy(), b) for a, b in zip(variables, trained.tensors.values()))


def assert_written_alike(prefix, folder):
    """TensorFlow's Saver writes the variables of `prefix` as the same bytes."""
    with tf.Graph().as_default(), v1.Session() as session:
        variables_of(prefix)
        session.run(v1.global_variables_initializer())
        written = v1.train.Saver().save(session, str(folder / "again"), write_meta_graph=False)
    for suffix in ("index", "data-00000-of-00001"):
        with open(f"{prefix}.{suffix}", "rb") as own, open(f"{written}.{suffix}", "rb") as again:
            assert own.read() == again.read(), suffix


def test_the_bytes_are_tensorflow_s(trained, tmp_path):
    assert_written_alike(trained.prefix, tmp_path)


@pytest.mark.parametrize("name", ["face96", "residual32"])
def test_the_bytes_of_a_saved_model_are_tensorflow_s(exported, name, tmp_path):
    assert_written_alike(f"{exported(name).saved_model}/variables/variables", tmp_path)


def test_there_and_back(nacre, trained, tmp_path):
    convert(nacre, trained.prefix, "checkpoint", tmp_path / "back.ckpt")
    differences = json.loads(command.run(nacre, "diff", trained.run, tmp_path / "back.ckpt", "--json"))
    assert differences["identical"] is True
    assert {entry["name"] for entry in differences["variables"]} == trained.tensors.keys()
    back = checkpoint.read(tmp_path / "back.ckpt")
    assert all(same_bits(back[name], value) for name, value in trained.tensors.items())


def test_tensorflow_goes_on(nacre, tmp_path):
    """Adam's slots and powers are what TensorFlow's own would be: it takes the steps that nacre takes next."""
    start = Trained(nacre, "face96", tmp_path)
    losses, _ = start.case.train("longer", 2 * STEPS, *OPTIONS["face96"])
    judge = tf_network.Network(start.case.model, CLASSES, optimizer=lambda: v1.train.AdamOptimizer(RATE))
    judge.restore(start.prefix)
    expected = [judge.train(*start.case.batch(step)) for step in range(STEPS, 2 * STEPS)]
    np.testing.assert_allclose(losses[STEPS:], expected, rtol=2e-5)


KINDS = {
    "adam": {"optimizer": lambda: v1.train.AdamOptimizer(0.001)},
    "momentum": {"optimizer": lambda: v1.train.MomentumOptimizer(0.001, 0.9)},
    "shards": {"optimizer": lambda: v1.train.AdamOptimizer(0.001), "devices": 2},
    "parts": {"optimizer": lambda: v1.train.AdamOptimizer(0.001), "partitioner": v1.fixed_size_partitioner(3)},
    "parts in shards": {"optimizer": lambda: v1.train.MomentumOptimizer(0.001, 0.9), "devices": 2,
                        "partitioner": v1.fixed_size_partitioner(2)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_theirs(nacre, kind, tmp_path):
    """Two steps of TensorFlow's, saved after each: nacre reads what TensorFlow reads."""
    case = Case(nacre, "face96", tmp_path / "face96", 2 * BATCH)
    judge = tf_network.Network(case.model, CLASSES, **KINDS[kind])
    for step in range(2):
        judge.train(*case.batch(step))
        prefix = judge.save(tmp_path / "theirs" / "model.ckpt", step + 1)
    shards = KINDS[kind].get("devices", 1)
    assert len(list((tmp_path / "theirs").glob(f"model.ckpt-2.data-*-of-{shards:05}"))) == shards
    reader = tf.train.load_checkpoint(prefix)
    tensors = convert_theirs(nacre, prefix, case, tmp_path / "ours.ckpt")
    expected = set(reader.get_variable_to_shape_map()) - {"beta1_power", "beta2_power"}
    assert {theirs(name) for name in tensors} == expected
    assert len(expected) == (42 if "beta1_power" in reader.get_variable_to_shape_map() else 28)
    for name, value in tensors.items():
        assert same_bits(reader.get_tensor(theirs(name)), value), name
    losses, _ = case.train("run", 1, "--init-from", prefix, "--optimizer", "sgd", "--learning-rate", "0")
    loss, _ = judge.gradients(*case.batch(0))
    np.testing.assert_allclose(losses, [loss], rtol=1e-5)


def test_theirs_of_objects(nacre, tmp_path):
    """tf.train.Checkpoint names tensors by the way to them, and adds the shape of its objects."""
    case = Case(nacre, "face96", tmp_path / "face96", BATCH)
    values = tf_network.Network(case.model, CLASSES).values()
    layers = {name.partition("/")[0]: tf.train.Checkpoint() for name in values}
    for name, value in values.items():
        layer, _, variable = name.partition("/")
        setattr(layers[layer], variable, tf.Variable(value))
    prefix = tf.train.Checkpoint(**layers).write(str(tmp_path / "objects"))
    assert "conv1/kernel/.ATTRIBUTES/VARIABLE_VALUE" in tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    tensors = convert_theirs(nacre, prefix, case, tmp_path / "ours.ckpt")
    assert tensors.keys() == values.keys()
    assert all(same_bits(tensors[name], value) for name, value in values.items())


def test_foreign_names(nacre, tmp_path):
    case = Case(nacre, "face96", tmp_path / "face96", BATCH)
    judge = tf_network.Network(case.model, CLASSES)
    foreign = {name: f"net/Variable_{i}" for i, name in enumerate(judge.values())}
    prefix = judge.save(tmp_path / "theirs" / "model.ckpt", names=foreign)
    (tmp_path / "map.json").write_text(json.dumps(foreign))
    tensors = convert_theirs(nacre, prefix, case, tmp_path / "ours.ckpt", "--map", tmp_path / "map.json")
    assert tensors.keys() == foreign.keys()
    assert all(same_bits(tensors[name], value) for name, value in judge.values().items())
    losses, _ = case.train("run", 1, "--init-from", prefix, "--map", tmp_path / "map.json", "--learning-rate", "0")
    loss, _ = judge.gradients(*case.batch(0))
    np.testing.assert_allclose(losses, [loss], rtol=1e-5)
