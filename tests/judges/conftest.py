"""`--nacre FILE`: the program that is judged."""

import pathlib

import pytest


def pytest_addoption(parser):
    parser.addoption("--nacre", required=True)


@pytest.fixture
def nacre(pytestconfig):
    return pathlib.Path(pytestconfig.getoption("--nacre")).resolve()


def pytest_generate_tests(metafunc):
    if "preset" in metafunc.fixturenames:
        from pytorch_test import presets

        metafunc.parametrize("preset", presets(pathlib.Path(metafunc.config.getoption("--nacre")).resolve()))
