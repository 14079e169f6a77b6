"""Pictures as people send them: decoded whatever their mode, or refused with a reason."""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from common.errors import InvalidRequest

MOST_PIXELS = 16_000_000
DEEP = {"I", "I;16", "I;16B", "I;16L", "I;16N", "F"}
MULTIPLE = 16
"""Of which the sides of a resized picture are: a backbone halves them four times."""
CONTRAST = 0.35
"""Deviation of a standardised picture, so that nearly all of it lies in the [-1, 1] that backbones know."""


def decode_grey(content: bytes, where: str) -> np.ndarray:
    """Grey values uint8 (height, width) of a PNG, JPEG, BMP or TIFF.

    Raises `InvalidRequest`, naming `where`, for what is no picture, is truncated, is too large, has 16 bits a
    channel or is printed colour (CMYK): guessing how to read those would change scores silently.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                got, expected = f"{width} x {height}", f"at most {MOST_PIXELS:,} pixels"
                raise InvalidRequest("the picture is too large", where=where, got=got, expected=expected)
            if picture.mode in DEEP or picture.mode == "CMYK":
                expected = "8 bits a channel, grey or RGB"
                raise InvalidRequest("unsupported mode", where=where, got=picture.mode, expected=expected)
            return np.asarray(picture.convert("L"))
    except UnidentifiedImageError:
        raise InvalidRequest(
            "not a picture", where=where, got=f"{len(content):,} bytes", expected="PNG, JPEG"
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidRequest(
            f"the picture cannot be read ({error})", where=where, expected="a whole PNG or JPEG"
        ) from None


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
