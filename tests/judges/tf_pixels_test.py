"""TensorFlow judges the decoded pixels: the same, bit for bit."""

import subprocess

import numpy as np
import pytest
import tensorflow as tf

import pictures
import png_files

METHODS = {"accurate": "INTEGER_ACCURATE", "fast": "INTEGER_FAST"}


def decoded_by_nacre(nacre, method, channels, files, folder):
    """Pixels of name -> encoded bytes, by the program that the tests' build makes beside nacre."""
    for name, encoded in files.items():
        (folder / name).write_bytes(encoded)
    printed = subprocess.run(
        [nacre.parent / "tests" / "decode_dump", method, str(channels), *(folder / name for name in files)],
        check=True, capture_output=True).stdout
    images = {}
    for name in files:
        line, _, printed = printed.partition(b"\n")
        shape = [int(number) for number in line.split()]
        count = int(np.prod(shape))
        images[name] = np.frombuffer(printed, np.uint8, count).reshape(shape)
        printed = printed[count:]
    assert not printed
    return images


def assert_equal(images, expected):
    assert images.keys() == expected.keys()
    for name, pixels in expected.items():
        np.testing.assert_array_equal(images[name], pixels, name)


@pytest.fixture(scope="module")
def jpegs():
    return pictures.jpegs_of_all_kinds()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_jpegs_of_all_kinds(nacre, jpegs, method, channels, tmp_path):
    images = decoded_by_nacre(nacre, method, channels, jpegs, tmp_path)
    expected = {name: tf.io.decode_jpeg(encoded, channels=channels, dct_method=METHODS[method]).numpy()
                for name, encoded in jpegs.items()}
    assert_equal(images, expected)


def test_the_methods_differ(nacre, jpegs, tmp_path):
    """Else the test above could not tell them apart."""
    accurate, fast = (decoded_by_nacre(nacre, method, 3, jpegs, tmp_path) for method in METHODS)
    assert sum((accurate[name] != fast[name]).any() for name in jpegs) >= 40


@pytest.fixture(scope="module")
def pngs():
    """Of every kind without filters, and photos as OpenCV filters them."""
    photo = pictures.resized(pictures.photos(1, 96)[0], 41, 67)
    alpha = np.arange(photo[..., :1].size, dtype=np.uint8).reshape(photo[..., :1].shape)
    kinds = {"grey": photo[..., 0], "rgb": photo, "rgba": np.concatenate([photo, alpha], axis=-1)}
    kinds |= {f"{name}16": pixels.astype(np.uint16) * 256 + 255 - pixels for name, pixels in kinds.items()}
    return png_files.pngs_of_all_kinds() | {f"photo-{name}.png": pictures.png(pixels) for name, pixels in kinds.items()}


@pytest.mark.parametrize("channels", [1, 3])
def test_pngs(nacre, pngs, channels, tmp_path):
    """By the op that SavedModels decode with; it takes PNGs too."""
    images = decoded_by_nacre(nacre, "accurate", channels, pngs, tmp_path)
    assert_equal(images, {name: tf.io.decode_jpeg(encoded, channels=channels).numpy() for name, encoded in pngs.items()})


def test_gamma_matters(nacre, pngs, tmp_path):
    """Else the test above could not tell whether it was heeded: where colours become grey, and there alone."""
    for channels, differ in ((1, True), (3, False)):
        images = decoded_by_nacre(nacre, "accurate", channels, pngs, tmp_path)
        assert (images["rgb8-plain.png"] != images["rgb8-gamma220000.png"]).any() == differ
