"""Pictures in memory and as JPEG and PNG bytes of every kind."""

import itertools

import cv2
import numpy as np

import data
import png_files

SAMPLINGS = {"444": 0x11, "422": 0x21, "440": 0x12, "420": 0x22, "411": 0x41, "grey": 0x11}


def photos(count, size):
    """uint8 [count, size, size, 3]: Fashion-MNIST in three tints."""
    return data.fashion(count, size, 3)[0]


def resized(photo, height, width):
    """A photo in another size, coloured: chroma has something to tell."""
    return data.coloured(cv2.resize(photo, (width, height), interpolation=cv2.INTER_LINEAR))


def jpeg(pixels, quality=90, sampling="420", progressive=False, restart_interval=0):
    """The bytes of an RGB picture as JPEG."""
    grey = sampling == "grey"
    picture = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY if grey else cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive),
               cv2.IMWRITE_JPEG_RST_INTERVAL, restart_interval]
    if not grey:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")]
    return _encode(".jpg", picture, options)


def png(pixels):
    """The bytes of a picture as PNG: grey [H, W], RGB or RGBA, of 8 or 16 bits."""
    order = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[pixels.ndim if pixels.ndim == 2 else pixels.shape[-1]]
    return _encode(".png", pixels if order is None else cv2.cvtColor(pixels, order), [])


def pngs(photos):
    """Seven RGB pictures as PNGs of seven kinds."""
    with_alpha = np.concatenate([photos[3], photos[3][..., :1]], axis=-1)
    deep = photos[4].astype(np.uint16) * 256 + 255 - photos[4]
    indices = photos[6].astype(int) // 52  # 5 levels of each colour
    levels = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * 60
    return [
        png(cv2.cvtColor(photos[0], cv2.COLOR_RGB2GRAY)),
        png(photos[1]),
        png_files.png(photos[2], 8, png_files.RGB, before=[png_files.gamma(60000)], interlaced=True),
        png(with_alpha),
        png(deep),
        png(deep_grey(photos[5])),
        png_files.png((indices * [25, 5, 1]).sum(axis=-1, keepdims=True), 8, png_files.PALETTE, palette=levels),
    ]


def deep_grey(photo):
    """uint16 [height, width]"""
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.uint16)
    return grey * 256 + 255 - grey


def _encode(suffix, picture, options):
    done, encoded = cv2.imencode(suffix, picture, options)
    assert done
    return encoded.tobytes()


def frame_header(encoded):
    """Of JPEG bytes: progressive or not, height, width, and the sampling factors of the components."""
    at = 2
    while True:
        marker, length = encoded[at + 1], int.from_bytes(encoded[at + 2 : at + 4], "big")
        if marker in (0xC0, 0xC2):
            payload = encoded[at + 4 : at + 2 + length]
            height, width = int.from_bytes(payload[1:3], "big"), int.from_bytes(payload[3:5], "big")
            return marker == 0xC2, height, width, [payload[7 + 3 * i] for i in range(payload[5])]
        at += 2 + length


def jpegs_of_all_kinds():
    """Name -> JPEG bytes: 50 files of all samplings, baseline and progressive, of many qualities and odd sizes."""
    sizes = [(1, 1), (17, 23), (157, 213), (96, 96), (33, 7)]
    qualities = [50, 75, 90, 95, 100]
    source = photos(10, 96)
    files = {}
    for shift, (sampling, progressive) in enumerate(itertools.product(SAMPLINGS, (False, True))):
        for i, (height, width) in enumerate(sizes):
            if i == shift % 5 and sampling != "420":
                continue  # each size is left out in turn
            quality = qualities[(i + shift) % 5]
            pixels = resized(source[(i + shift) % 10], height, width)
            encoded = jpeg(pixels, quality, sampling, progressive, restart_interval=2 if i == 3 else 0)
            components = [SAMPLINGS[sampling]] + ([] if sampling == "grey" else [0x11, 0x11])
            assert frame_header(encoded) == (progressive, height, width, components)
            kind = "progressive" if progressive else "baseline"
            files[f"{sampling}-{kind}-{height}x{width}-q{quality}.jpg"] = encoded
    assert len(files) == 50
    return files
