"""CrossWOZ: dialogues whose messages carry their acts."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass

from common.errors import SchemaError
from finance.customer_service.data import paths

DATASET = "service-crosswoz-zh"
Act = tuple[str, str, str, str]
"""Intent, domain, slot, value."""


@dataclass(frozen=True)
class Turn:
    """One message: who said it ("usr" or "sys"), its text, and its acts."""

    speaker: str
    text: str
    acts: tuple[Act, ...]


def load_dialogues(part: str) -> list[list[Turn]]:
    """The dialogues of `val` or `test`; raises `SchemaError` when the file is not as CrossWOZ has it."""
    path = paths(DATASET)[f"{part}.json.zip"]
    try:
        with zipfile.ZipFile(path) as archive:
            stored = json.loads(archive.read(f"{part}.json"))
        return [
            [
                Turn(one["role"], one["content"], tuple(sorted({(a, b, c, d) for a, b, c, d in one["dialog_act"]})))
                for one in dialogue["messages"]
            ]
            for dialogue in stored.values()
        ]
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise SchemaError(f"not dialogues of CrossWOZ ({error})", where=str(path)) from None
