"""Files that a person uploads: read from the console's own folder and from nowhere else."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.console.form import FormField
from common.errors import InvalidRequest

MOST_PIXELS = 25_000_000
"""Of a picture to convert, which takes 3 bytes of memory each."""


class Uploads:
    """The folder that uploads are kept in; an hour later they are gone, at the end all of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def holds(self, path: Any) -> bool:
        """Whether this is a file of ours: no other path, and no address."""
        try:
            return isinstance(path, str) and Path(path).resolve().is_relative_to(self.folder)
        except (OSError, ValueError):
            return False

    def read(self, field: FormField, value: Any) -> bytes:
        """The bytes of an upload; a picture in another format than the one that is asked for is converted."""
        path = str(value.get("path") if isinstance(value, dict) else value)
        if not self.holds(path) or not Path(path).is_file():
            raise InvalidRequest("the upload is no longer here", where=field.name, fix="upload it again")
        content = Path(path).read_bytes()
        wanted = {"image/png": "PNG", "image/jpeg": "JPEG"}.get(field.media)
        return _converted(content, wanted, field) if wanted else content


def paths_in(value: Any) -> Iterator[Any]:
    """Every path of a file in what the browser sends."""
    if isinstance(value, Mapping):
        if "path" in value:
            yield value["path"]
        for inner in value.values():
            yield from paths_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from paths_in(inner)


def _converted(content: bytes, wanted: str, field: FormField) -> bytes:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.format == wanted:
                return content
            if image.width * image.height > MOST_PIXELS:
                expected = f"at most {MOST_PIXELS:,} pixels"
                raise InvalidRequest("the picture is too large", where=field.name, expected=expected)
            out = io.BytesIO()
            image.convert("RGB").save(out, wanted)
    except (OSError, ValueError, Image.DecompressionBombError):
        raise InvalidRequest(
            "not a picture", where=field.name, got="a file of another kind", fix="choose another"
        ) from None
    return out.getvalue()
