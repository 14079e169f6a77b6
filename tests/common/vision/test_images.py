from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from common.errors import InvalidRequest
from common.vision.images import (
    MOST_BYTES,
    MOST_PIXELS,
    decode_grey,
    decode_mask,
    from_base64,
    mode_of,
    png,
    resized,
    to_base64,
)

GREY = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
LUMA = np.asarray(Image.fromarray(COLOUR).convert("L"))


def saved(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def raw_png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_what_is_written_is_read_back():
    assert np.array_equal(decode_grey(png(GREY), "x"), GREY)
    assert from_base64(to_base64(b"abc"), "x") == b"abc"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "JPEG"])
def test_grey_and_colour_of_every_format(kind):
    # Chroma at full size, else a JPEG of so fine a picture is another one.
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    far = 12 if kind == "JPEG" else 0
    for picture, grey in ((GREY, GREY), (COLOUR, LUMA)):
        found = decode_grey(saved(Image.fromarray(picture), kind, **options), "x")
        assert np.abs(found.astype(int) - grey).max() <= far


def test_a_palette_is_its_colours_and_what_is_transparent_is_white_in_a_picture_and_unmarked_in_a_mask():
    palette = Image.fromarray(GREY).convert("P")
    assert mode_of(saved(palette)) == "P"
    assert np.array_equal(decode_grey(saved(palette), "x"), GREY)
    clear = np.dstack([COLOUR, np.full_like(GREY, 255)])
    assert np.array_equal(decode_grey(png(clear), "x"), LUMA)
    clear[:20, :, 3] = 0
    found = decode_grey(png(clear), "x")
    assert (found[:20] == 255).all()
    assert np.array_equal(found[20:], LUMA[20:])
    assert not decode_mask(png(clear), "x")[:20].any()
    hidden = saved(Image.fromarray(GREY), transparency=7)
    assert (decode_grey(hidden, "x")[GREY == 7] == 255).all()


def test_half_of_255_is_marked_and_in_a_mask_of_0_and_1_the_1():
    mask = np.zeros((40, 60), np.uint8)
    mask[3:9, 4:8] = 1
    assert np.array_equal(decode_mask(png(mask), "x"), mask == 1)
    assert np.array_equal(decode_mask(png(mask * 128), "x"), mask == 1)
    assert not decode_mask(png(mask * 127), "x").any()
    assert not decode_mask(png(mask * 0), "x").any()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_picture_is_turned_the_way_the_camera_was_held(orientation, kind):
    light = np.zeros((40, 60), np.uint8)
    light[:20, :20] = 200
    turned = {
        1: light,
        2: light[:, ::-1],
        3: light[::-1, ::-1],
        4: light[::-1],
        5: light.T,
        6: np.rot90(light, -1),
        7: light[::-1, ::-1].T,
        8: np.rot90(light),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode_grey(saved(Image.fromarray(light), kind, exif=exif), "x")
    assert found.shape == turned[orientation].shape
    assert np.abs(found.astype(int) - turned[orientation]).max() < 20


DEEP_COLOUR = raw_png(40, 40, 16, 2, b"".join(b"\0" + bytes(240) for _ in range(40)))
DEEP_TIFF = io.BytesIO()
"""16 bits a channel, which Pillow reads as RGB and cannot write: tags by hand, a strip of zeros."""
_TAGS = [
    (256, 3, 1, 40),
    (257, 3, 1, 40),
    (258, 3, 3, 8 + 2 + 9 * 12 + 4),
    (259, 3, 1, 1),
    (262, 3, 1, 2),
    (273, 4, 1, 200),
    (277, 3, 1, 3),
    (278, 3, 1, 40),
    (279, 4, 1, 9600),
]
DEEP_TIFF.write(b"II*\0" + struct.pack("<IH", 8, len(_TAGS)))
DEEP_TIFF.write(b"".join(struct.pack("<HHII", *tag) for tag in _TAGS) + struct.pack("<I", 0))
DEEP_TIFF.write(struct.pack("<3H", 16, 16, 16))
DEEP_TIFF.write(bytes(200 - DEEP_TIFF.tell() + 9600))
PAGES = [Image.fromarray(GREY), Image.fromarray(GREY[::-1].copy())]
BAD = {
    "empty": (b"", "the file is empty: got 0 bytes"),
    "text": (b"GIF", "not a picture: got 3 bytes of something else, expected PNG, JPEG, BMP or TIFF"),
    "gif": (saved(PAGES[0], "GIF"), "not a picture"),
    "truncated png": (png(GREY)[:-40], "the picture cannot be read (image file is truncated"),
    "truncated jpeg": (saved(PAGES[0], "JPEG")[:400], "the picture cannot be read ("),
    "truncated bmp": (saved(PAGES[0], "BMP")[:900], "the picture cannot be read (image file is truncated"),
    "truncated tiff": (saved(PAGES[0], "TIFF")[:900], "the picture cannot be read ("),
    "only a header": (b"\xff\xd8\xff" + b"0" * 50, ""),
    "16-bit grey": (png(GREY.astype(np.uint16)), "unsupported mode: got I;16, expected 8 bits a channel"),
    "16-bit colour": (DEEP_COLOUR, "unsupported depth: got 16 bits a channel, expected 8 bits a channel"),
    "16-bit tiff": (DEEP_TIFF.getvalue(), "unsupported depth: got 16 bits a channel"),
    "float tiff": (saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "unsupported mode: got F"),
    "cmyk jpeg": (saved(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"), "unsupported mode: got CMYK"),
    "lab tiff": (saved(Image.new("LAB", (40, 40)), "TIFF"), "unsupported mode: got LAB"),
    "no width": (raw_png(0, 40, 8, 0, b""), ""),
    "no height": (raw_png(40, 0, 8, 0, b""), ""),
    "too small": (png(GREY[:, :31]), "the picture is too small: got 31 x 40 pixels, expected at least 32 a side"),
    "too narrow": (png(np.zeros((32, 641), np.uint8)), "the picture is too narrow: got 641 x 32 pixels"),
    "bomb": (raw_png(4001, 4000, 8, 0, b""), "the picture is too large: got 4001 x 4000 pixels, expected at most 16,0"),
    "large bomb": (raw_png(12_000, 12_000, 8, 0, b""), "the picture is too large"),
    "huge bomb": (raw_png(60_000, 60_000, 8, 0, b""), "the picture is too large: expected at most 16,000,000 pixels"),
    "100 MB": (bytes(100_000_000), "the file is too large: got 100,000,000 bytes, expected at most 32,000,000"),
    "animation": (saved(PAGES[0], save_all=True, append_images=PAGES[1:]), "several pictures in one file: got 2 of"),
    "pages": (saved(PAGES[0], "TIFF", save_all=True, append_images=PAGES[1:]), "several pictures in one file: got 2"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bad_picture_is_refused_in_one_sentence_that_names_it(name):
    content, sentence = BAD[name]
    with pytest.raises(InvalidRequest) as error:
        decode_grey(content, "part 7")
    assert str(error.value).startswith(f"part 7: {sentence}")
    assert "\n" not in str(error.value)


def test_a_phone_s_jpeg_with_a_preview_is_its_picture():
    both = saved(PAGES[0], "MPO", save_all=True, append_images=PAGES[1:], quality=95)
    with Image.open(io.BytesIO(both)) as opened:
        assert (opened.format, opened.n_frames) == ("MPO", 2)
    found = decode_grey(both, "x").astype(int)
    assert np.abs(found - GREY).mean() < np.abs(found - GREY[::-1]).mean() / 5


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_bytes_anywhere_give_a_picture_or_a_refusal():
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = [saved(Image.fromarray(COLOUR), kind, exif=exif) for kind in ("PNG", "JPEG", "TIFF")]
    whole += [saved(Image.fromarray(GREY), "BMP"), saved(Image.fromarray(GREY), "TIFF", compression="tiff_lzw")]
    refused = 0
    for content in whole:
        for _ in range(150):
            broken = bytearray(content)
            for place in rng.integers(0, min(len(broken), 300), 3):
                broken[place] = rng.integers(256)
            try:
                assert decode_grey(bytes(broken), "x").dtype == np.uint8
            except InvalidRequest:
                refused += 1
    assert refused > 100


def test_the_limits_let_a_grey_bitmap_of_the_most_pixels_through():
    assert MOST_PIXELS + 2000 < MOST_BYTES


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
