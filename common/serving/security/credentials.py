"""What a request shows to say who it is: found in its headers, bounded, exactly one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from enum import Enum

from common.serving.security.errors import HeadersTooLarge

MOST_HEADERS = 100
MOST_BYTES = 16 * 1024
"""Of names, values and URL together, as in nginx and Tomcat by default (8 to 32 KiB)."""


class Several(Enum):
    """More than one credential: RFC 6750, section 2, forbids it, and two readers could each believe another."""

    SEVERAL = "several"


def credential(headers: Sequence[tuple[bytes, bytes]], url_bytes: int) -> tuple[str, str] | Several | None:
    """`(kind, text)` with kind `bearer` or `basic`; raises `HeadersTooLarge`. One pass, since it runs every time."""
    size, found = url_bytes, None
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"authorization" or name == b"x-api-key":
            if found is not None:
                return Several.SEVERAL
            found = (name, value)
    if size > MOST_BYTES or len(headers) > MOST_HEADERS:
        expected = f"at most {MOST_HEADERS} headers and {MOST_BYTES:,} bytes with the URL"
        raise HeadersTooLarge("the headers or the URL are too large", expected=expected)
    return _read(*found) if found else None


def _read(name: bytes, value: bytes) -> tuple[str, str]:
    text = value.decode("latin-1").strip()
    if name == b"x-api-key":
        return "bearer", text
    kind, _, rest = text.partition(" ")
    return kind.lower(), rest.strip()


def from_basic(text: str) -> str:
    """The password of HTTP Basic (RFC 7617): browsers can ask for it and send it with pages, not our headers."""
    try:
        return base64.b64decode(text, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
