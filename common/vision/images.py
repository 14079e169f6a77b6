"""Pictures as people send them: decoded whatever their mode, or refused with a reason."""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from common.errors import InvalidRequest

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
"""What is decoded; of a phone's JPEG that has a preview behind the picture (Pillow calls it MPO), the picture."""
MOST_BYTES = 32_000_000
MOST_PIXELS = 16_000_000
LEAST_SIDE = 32
MOST_ASPECT = 20
"""Longer side by shorter side."""
MARKED = 127
"""A mask's pixel above it is marked."""
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr")
BITS_PER_SAMPLE = 258
"""The TIFF tag."""
MULTIPLE = 16
"""Of which the sides of a resized picture are: a backbone halves them four times."""
CONTRAST = 0.35
"""Deviation of a standardised picture, so that nearly all of it lies in the [-1, 1] that backbones know."""


def decode_grey(content: bytes, where: str, *, background: int = 255, least_side: int = LEAST_SIDE) -> np.ndarray:
    """Grey values uint8 (height, width) of a PNG, JPEG, BMP or TIFF.

    The picture is turned the way its EXIF orientation says, a palette becomes its colours, what is transparent shows
    `background` (white), and colours become their luma (ITU-R 601); an embedded colour profile is not applied.

    Raises `InvalidRequest`, naming `where`, for what is empty, no picture, truncated, animated, or over or under the
    limits above, and for what has 16 bits a channel or is printed colour (CMYK): guessing how to read those would
    change scores silently.
    """
    check_bytes(len(content), where)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            _check(picture, content, where, least_side)
            upright = ImageOps.exif_transpose(picture)
            if upright.has_transparency_data:
                below = Image.new("RGBA", upright.size, (background, background, background, 255))
                upright = Image.alpha_composite(below, upright.convert("RGBA"))
            return np.asarray(upright.convert("L"))
    except InvalidRequest:
        raise
    except UnidentifiedImageError:
        got, expected = f"{len(content):,} bytes of something else", "PNG, JPEG, BMP or TIFF"
        raise InvalidRequest("not a picture", where=where, got=got, expected=expected) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        expected = f"at most {MOST_PIXELS:,} pixels"
        raise InvalidRequest("the picture is too large", where=where, expected=expected) from None
    except Exception as error:  # Pillow's decoders raise whatever broken bytes lead to, struct.error and IndexError too
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InvalidRequest(f"the picture cannot be read ({reason})", where=where, expected="a whole file") from None


def decode_mask(content: bytes, where: str) -> np.ndarray:
    """Bool (height, width): the marked pixels of a mask, those above 127, or above 0 in a file of only 0 and 1.

    What is transparent is not marked. Raises what `decode_grey` raises.
    """
    grey = decode_grey(content, where, background=0)
    return grey > (MARKED if grey.max() > 1 else 0)


def check_bytes(size: int, where: str) -> None:
    """Raise `InvalidRequest` for a file that is empty, or so large that it is not even read."""
    if not size:
        raise InvalidRequest("the file is empty", where=where, got="0 bytes", expected="a picture")
    if size > MOST_BYTES:
        got, expected = f"{size:,} bytes", f"at most {MOST_BYTES:,}"
        raise InvalidRequest("the file is too large", where=where, got=got, expected=expected, fix="make it smaller")


def mode_of(content: bytes) -> str:
    """How the file of a readable picture keeps its pixels, as Pillow calls it: L is grey, RGB colour, P a palette."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        return picture.mode


def _check(picture: Image.Image, content: bytes, where: str, least_side: int) -> None:
    """Refuse, from the header alone, what should not be decoded."""
    width, height = picture.size
    size = f"{width} x {height} pixels"
    if width * height > MOST_PIXELS:
        expected = f"at most {MOST_PIXELS:,} pixels"
        raise InvalidRequest("the picture is too large", where=where, got=size, expected=expected)
    if min(width, height) < least_side:
        expected = f"at least {least_side} a side"
        raise InvalidRequest("the picture is too small", where=where, got=size, expected=expected)
    if max(width, height) > MOST_ASPECT * min(width, height):
        expected = f"at most {MOST_ASPECT} times as long as wide"
        raise InvalidRequest("the picture is too narrow", where=where, got=size, expected=expected)
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":
        got, fix = f"{frames} of them", "send each as a file of its own"
        raise InvalidRequest("several pictures in one file", where=where, got=got, expected="one", fix=fix)
    expected = "8 bits a channel, grey or RGB"
    if picture.mode not in MODES:
        raise InvalidRequest("unsupported mode", where=where, got=picture.mode, expected=expected)
    if (bits := _bits(picture, content)) > 8:
        raise InvalidRequest("unsupported depth", where=where, got=f"{bits} bits a channel", expected=expected)


def _bits(picture: Image.Image, content: bytes) -> int:
    """Bits a channel; Pillow gives colour of 16 bits as RGB with the lower eight cut off, and does not say so."""
    if picture.format == "PNG":
        return content[24]  # behind the signature, the chunk's length and name, width and height
    if picture.format == "TIFF":
        return max(picture.tag_v2.get(BITS_PER_SAMPLE, (1,)))  # type: ignore[attr-defined]
    return 8


def from_base64(text: str, where: str) -> bytes:
    """The bytes behind base64 text; raises `InvalidRequest` when it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            "not base64", where=where, got=repr(text[:20]), expected="base64 of a PNG or JPEG"
        ) from None


def png(picture: np.ndarray) -> bytes:
    """A PNG of uint8 (height, width) or (height, width, 3 or 4)."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def to_base64(content: bytes) -> str:
    """As JSON carries it."""
    return base64.b64encode(content).decode()


def resized(picture: np.ndarray, scale: float, multiple: int = MULTIPLE) -> np.ndarray:
    """float32 (height, width): the picture at `scale`, its sides rounded to what the backbone can halve evenly."""
    height, width = picture.shape
    size = [max(3, round(side * scale / multiple)) * multiple for side in (width, height)]
    return np.asarray(Image.fromarray(picture).resize((size[0], size[1]), Image.Resampling.BOX), np.float32)


def standardised(picture: np.ndarray) -> np.ndarray:
    """float32 (height, width): grey values, 0 to 255, with mean 0 and one contrast: exposure drops out."""
    grey = np.asarray(picture, np.float32)
    flat = (grey - grey.mean()) * np.float32(CONTRAST / (float(grey.std(ddof=1)) + 1))
    return np.clip(flat, -1, 1, out=flat)
