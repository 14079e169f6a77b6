from __future__ import annotations

import base64

import numpy as np
import pytest

from common.errors import InvalidRequest
from common.vision.images import MOST_PIXELS, decode_grey, from_base64, png, resized, to_base64

GREY = np.arange(600, dtype=np.uint8).reshape(20, 30)


def test_what_is_written_is_read_back():
    assert np.array_equal(decode_grey(png(GREY), "x"), GREY)
    assert from_base64(to_base64(b"abc"), "x") == b"abc"


def test_a_bomb_is_refused_before_it_is_unpacked():
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(InvalidRequest, match=r"part 7: the picture (is too large|cannot be read)"):
        decode_grey(bomb, "part 7")
    assert MOST_PIXELS < 60_000**2


@pytest.mark.parametrize("content", [b"", b"GIF", png(GREY)[:60], b"\xff\xd8\xff" + b"0" * 50])
def test_no_picture_is_a_sentence(content):
    with pytest.raises(InvalidRequest, match="part 7: "):
        decode_grey(content, "part 7")


def test_no_base64_is_a_sentence():
    with pytest.raises(InvalidRequest, match="not base64"):
        from_base64("a b c!", "picture")
    with pytest.raises(InvalidRequest, match="not base64"):
        from_base64(base64.b64encode(b"abcd").decode()[:-1], "picture")


@pytest.mark.parametrize("shape", [(270, 324), (103, 632), (5, 900), (1, 1)])
def test_sides_become_multiples_and_the_shape_is_nearly_kept(shape):
    found = resized(np.full(shape, 77, np.uint8), 0.8)
    assert found.dtype == np.float32
    assert all(side % 16 == 0 and side >= 48 for side in found.shape)
    assert all(abs(side - 0.8 * was) <= 8 or side == 48 for side, was in zip(found.shape, shape, strict=True))
    assert (found == 77).all()
