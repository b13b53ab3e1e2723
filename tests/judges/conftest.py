"""`--nacre FILE`: the program that is judged."""

import functools
import pathlib

import pytest

import checkpoint


def pytest_addoption(parser):
    parser.addoption("--nacre", required=True)


def program(config):
    return pathlib.Path(config.getoption("--nacre")).resolve()


@pytest.fixture(scope="session")
def nacre(pytestconfig):
    return program(pytestconfig)


@pytest.fixture(scope="session", autouse=True)
def reader(tmp_path_factory):
    checkpoint.generate_reader(tmp_path_factory.mktemp("flatbuffers"))


@pytest.fixture(scope="session")
def exported(nacre, tmp_path_factory):
    """Name of a preset -> exported.Exported, each made once."""
    from exported import Exported

    return functools.cache(lambda name: Exported(nacre, name, tmp_path_factory.mktemp(name)))


def pytest_generate_tests(metafunc):
    """`preset`: each that there is; `network_name`: each, and the model file that has all ops."""
    others = {"preset": [], "network_name": ["every_layer"]}
    for fixture in others.keys() & set(metafunc.fixturenames):
        from pytorch_test import presets

        metafunc.parametrize(fixture, presets(program(metafunc.config)) + others[fixture])
