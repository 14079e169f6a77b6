"""Files of a chest X-ray: PNG, JPEG, BMP, TIFF, DICOM, npy or npz, to grey values of 28 x 28, or a reason why not."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
from PIL import Image

from common.errors import InvalidRequest
from common.vision.images import check_bytes, decode_grey

MOST_ASPECT = 1.6
"""Longer side by shorter: the middle square is looked at, and of a wider picture it would miss the sides."""
COLOUR = 12.0
"""Mean difference of channels, of 255, above which a picture is a colour photograph: a grey one in colour has 0, and
as a JPEG less than 2."""
FLAT = 4.0
"""Deviation of grey values, of 255, below which nothing is to be seen."""
DICOM_AT, DICOM = 128, b"DICM"
FORMATS = "PNG, JPEG, BMP, TIFF, DICOM, npy or npz"


def chest_of(content: bytes, where: str, side: int) -> np.ndarray:
    """Grey values uint8 (side, side) of a file: its middle square, made smaller as the published pictures were.

    Raises `InvalidRequest` naming `where`, for what is no picture, in colour, too small, too long or without contrast.
    """
    check_bytes(len(content), where)
    if content[DICOM_AT : DICOM_AT + 4] == DICOM:
        grey = _dicom(content, where)
    elif content.startswith((b"\x93NUMPY", b"PK\x03\x04")):
        grey = _array(content, where)
    else:
        grey = _picture(content, where, side)
    height, width = grey.shape
    got = f"{width} x {height} pixels"
    if min(height, width) < side:
        raise InvalidRequest("the picture is too small", where=where, got=got, expected=f"at least {side} x {side}")
    if max(height, width) > MOST_ASPECT * min(height, width):
        expected = f"at most {MOST_ASPECT} times as long as wide"
        raise InvalidRequest(
            "the picture is too long", where=where, got=got, expected=expected, fix="crop it to the chest"
        )
    if grey.std() < FLAT:
        raise InvalidRequest("nothing can be seen", where=where, got="one grey value", expected="a chest X-ray")
    if (height, width) == (side, side):
        return grey
    square = min(height, width)
    top, left = (height - square) // 2, (width - square) // 2
    middle = Image.fromarray(grey[top : top + square, left : left + square])
    return np.asarray(middle.resize((side, side), Image.Resampling.BICUBIC))


def _picture(content: bytes, where: str, side: int) -> np.ndarray:
    grey = decode_grey(content, where, least_side=side)
    with Image.open(io.BytesIO(content)) as picture:
        if picture.mode in ("L", "1", "LA"):
            return grey
        small = np.asarray(picture.convert("RGB").resize((64, 64)), float)
    spread = float(np.ptp(small, axis=2).mean())
    if spread > COLOUR:
        got = f"colours that differ by {spread:.0f} of 255"
        raise InvalidRequest("a colour picture", where=where, got=got, expected="grey values, as X-rays have")
    return grey


def _array(content: bytes, where: str) -> np.ndarray:
    """The only array of an npz, or an npy; never unpickled."""
    try:
        loaded: Any = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            if len(loaded.files) != 1:
                got, expected = f"{len(loaded.files)}: {', '.join(loaded.files[:6])}", "one array"
                raise InvalidRequest("which array is the picture", where=where, got=got, expected=expected)
            loaded = loaded[loaded.files[0]]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidRequest("not an npy or npz file", where=where, got=str(error)[:80], expected=FORMATS) from None
    picture = loaded[..., 0] if loaded.ndim == 3 and loaded.shape[2] == 1 else loaded
    if picture.ndim != 2 or picture.dtype != np.uint8:
        got, expected = f"{loaded.dtype} {loaded.shape}", "uint8 (height, width), one channel"
        raise InvalidRequest("another shape than a grey picture has", where=where, got=got, expected=expected)
    return np.asarray(picture)


def _dicom(content: bytes, where: str) -> np.ndarray:
    """Grey values of a DICOM, by its own window or from its darkest to its lightest; MONOCHROME1 is turned over."""
    try:
        import pydicom
        from pydicom.pixels import apply_modality_lut, apply_voi_lut
    except ModuleNotFoundError:
        raise InvalidRequest("DICOM cannot be read here", where=where, fix="install pydicom or send a PNG") from None
    try:
        file = pydicom.dcmread(io.BytesIO(content))
    except Exception as error:  # parsers raise whatever broken bytes lead to
        raise InvalidRequest("the DICOM cannot be read", where=where, got=str(error)[:80]) from None
    if "PixelData" not in file:
        got = str(file.get("Modality", "no modality"))
        raise InvalidRequest(
            "a DICOM without pixel data", where=where, got=got, expected="one with PixelData (7FE0,0010)"
        )
    kind = str(file.get("PhotometricInterpretation", ""))
    frames = int(file.get("NumberOfFrames", 1) or 1)
    if kind not in ("MONOCHROME1", "MONOCHROME2") or frames != 1:
        got, expected = f"{kind or 'none'}, {frames} frames", "MONOCHROME1 or MONOCHROME2, one frame"
        raise InvalidRequest("not a plain radiograph", where=where, got=got, expected=expected)
    try:
        values = apply_voi_lut(apply_modality_lut(file.pixel_array, file), file).astype(float)
    except Exception as error:  # a compressed transfer syntax without its decoder, too few bytes
        got = " ".join(str(error).split())[:100]
        raise InvalidRequest("the pixels cannot be read", where=where, got=got, fix="send it uncompressed") from None
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / max(high - low, 1e-9) * 255
    return np.round(255 - scaled if kind == "MONOCHROME1" else scaled).astype(np.uint8)
