"""PNG bytes of every kind: colour types, depths, interlacing, transparency, and what chunks say of the colours."""

import itertools
import struct
import zlib

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
NAMES = {GREY: "grey", RGB: "rgb", PALETTE: "palette", GREY_ALPHA: "grey_alpha", RGBA: "rgba"}
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGBA: (8, 16)}

# The passes of Adam7: first column and row, and the steps.
_PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gamma(value):
    """What gAMA says: `value` / 100000."""
    return chunk(b"gAMA", struct.pack(">I", value))


_WHITE_AND_PRIMARIES = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)  # those of sRGB

# Name -> the chunks before the palette.
COLOUR_CHUNKS = {
    "gamma45455": [gamma(45455)],
    "gamma100000": [gamma(100000)],
    "gamma220000": [gamma(220000)],
    "gamma33333": [gamma(33333)],
    "gamma96000": [gamma(96000)],  # too near 1 for a correction
    "srgb": [chunk(b"sRGB", b"\0")],
    "srgb_gamma45455": [chunk(b"sRGB", b"\1"), gamma(45455)],
    "gamma55556_chrm": [gamma(55556), chunk(b"cHRM", _WHITE_AND_PRIMARIES)],
    "chrm": [chunk(b"cHRM", _WHITE_AND_PRIMARIES)],
}


def _significant_bits(colour, depth):
    """sBIT: fewer than there are, where that is possible, and not the same for all."""
    full = 8 if colour == PALETTE else depth
    count = 3 if colour == PALETTE else SAMPLES[colour]
    return chunk(b"sBIT", bytes(max(1, full - 4 - i % 2) for i in range(count)))


def _packed(samples, depth):
    """The scanlines of samples [height, width, n], unfiltered."""
    lines = []
    for row in samples.reshape(len(samples), -1):
        if depth == 16:
            line = row.astype(">u2").tobytes()
        else:
            bits = (row[:, None] >> np.arange(depth - 1, -1, -1)) & 1
            line = np.packbits(bits.astype(np.uint8)).tobytes()
        lines.append(b"\0" + line)
    return b"".join(lines)


def png(samples, depth, colour, before=(), palette=None, transparency=None, interlaced=False):
    """The bytes of samples [height, width, n]; a palette is uint8 [m, 3], transparency what tRNS holds."""
    height, width, count = samples.shape
    assert count == SAMPLES[colour] and depth in DEPTHS[colour] and samples.max() < 1 << depth
    parts = [samples[y::down, x::right] for x, y, right, down in _PASSES] if interlaced else [samples]
    scanlines = b"".join(_packed(part, depth) for part in parts if part.size)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    chunks = [chunk(b"IHDR", header), *before]
    if palette is not None:
        chunks.append(chunk(b"PLTE", palette.astype(np.uint8).tobytes()))
    if transparency is not None:
        chunks.append(chunk(b"tRNS", transparency))
    return b"\x89PNG\r\n\x1a\n" + b"".join([*chunks, chunk(b"IDAT", zlib.compress(scanlines)), chunk(b"IEND", b"")])


class _Draws:
    """Random pictures: some rows are grey, with a run of black and of white."""

    def __init__(self):
        self._numbers = np.random.default_rng(7)

    def samples(self, colour, depth, height=29, width=37):
        drawn = self._numbers.integers(0, 1 << depth, (height, width, SAMPLES[colour]))
        if colour in (RGB, RGBA):
            drawn[:8, :, :3] = drawn[:8, :, :1]
        drawn[3:6, :4], drawn[3:6, 4:8] = 0, (1 << depth) - 1
        return drawn

    def palette(self, depth):
        colours = self._numbers.integers(0, 256, (1 << depth, 3))
        colours[: 1 + len(colours) // 4] = colours[: 1 + len(colours) // 4, :1]
        return colours

    def transparency(self, colour, depth, samples):
        """Of a sample that is there; nothing for kinds that have alpha already."""
        if colour == PALETTE:
            return bytes([0, 9])
        if colour in (GREY, RGB):
            return samples[10, 10].astype(">u2").tobytes()
        return None


def pngs_of_all_kinds():
    """Name -> PNG bytes: each colour type in each depth, interlaced, transparent, and with chunks that tell of its colours."""
    draws, files = _Draws(), {}
    for colour, depths in DEPTHS.items():
        for depth in depths:
            samples = draws.samples(colour, depth)
            palette = draws.palette(depth) if colour == PALETTE else None
            transparency = draws.transparency(colour, depth, samples)
            bits = _significant_bits(colour, depth)
            variants = {"plain": {}, "interlaced": {"interlaced": True}, "sbit": {"before": [bits]}}
            variants["sbit_gamma220000"] = {"before": [bits, gamma(220000)]}
            variants |= {name: {"before": chunks} for name, chunks in COLOUR_CHUNKS.items()}
            if transparency:
                variants["trns"] = {"transparency": transparency}
                variants["trns_interlaced"] = {"transparency": transparency, "interlaced": True}
                variants["trns_gamma"] = {"transparency": transparency, "before": [gamma(220000)]}
            for name, options in variants.items():
                files[f"{NAMES[colour]}{depth}-{name}.png"] = png(samples, depth, colour, palette=palette, **options)
            for height, width in itertools.product((1, 5), (1, 3)):  # some passes are empty
                files[f"{NAMES[colour]}{depth}-interlaced-{height}x{width}.png"] = png(
                    samples[:height, :width], depth, colour, palette=palette, interlaced=True)
    return files
