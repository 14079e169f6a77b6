"""Sentences with identifiers from `presidio-synth-pii`, in parts that share no template."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import SchemaError
from healthcare.medical_records.deid.identifiers import Identifier, Kind
from healthcare.medical_records.deid.simulator import Annotated, Part

FILE = "synth_dataset_v2.json"
KIND: dict[str, Kind] = {
    "PERSON": "name",
    "STREET_ADDRESS": "location",
    "GPE": "location",
    "ZIP_CODE": "location",
    "ORGANIZATION": "organization",
    "DATE_TIME": "date",
    "AGE": "age",
    "TITLE": "title",
    "NRP": "group",
    "PHONE_NUMBER": "phone",
    "EMAIL_ADDRESS": "email",
    "DOMAIN_NAME": "url",
    "IP_ADDRESS": "ip",
    "CREDIT_CARD": "account",
    "IBAN_CODE": "account",
    "US_SSN": "national_id",
    "US_DRIVER_LICENSE": "license",
}
"""All 17 types of the set, as our kinds; it does not tell fax from telephone."""


def part_of(template: str) -> Part:
    """A third of the templates is the test part, by the hash of the field `masked`."""
    number = int(hashlib.sha256(template.strip().encode()).hexdigest(), 16)
    return "train" if number % 3 else "test"


def read_presidio(files: Mapping[str, Path], *, part: Part) -> list[Annotated]:
    """Sentences of one part; the test part is for `evaluate_deid.py` alone. Raises `SchemaError` for another file."""
    path = files[FILE]
    try:
        rows = json.loads(path.read_bytes())
        return [_annotated(row) for row in rows if part_of(row["masked"]) == part]
    except (ValueError, KeyError, TypeError) as error:
        raise SchemaError(
            f"not the sentences of this set ({error})", where=str(path), expected="rows as of v2"
        ) from None


def _annotated(row: Mapping[str, Any]) -> Annotated:
    text = row["full_text"]
    spans = sorted((span["start_position"], span["end_position"], KIND[span["entity_type"]]) for span in row["spans"])
    found = tuple(Identifier.of(kind, text, start, end) for start, end, kind in spans)
    return Annotated(text, found, row["masked"].strip(), "en")
