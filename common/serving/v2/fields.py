"""Fields of a predictor's request and response as tensors, as `common.bundle.signature` declares them.

A text field is BYTES in UTF-8; a structured one (list, object, several types) is BYTES of JSON. A missing value is
null in JSON, NaN in floats, and in BYTES an empty text where the field may be null (in JSON BYTES always, and `null`).
It stands for null, or for the field's default when the field cannot be null. Whole numbers may come as floats (with
NaN), and any numbers for an FP64 field. In answers, whole numbers and truth values that may be null are BYTES of JSON,
because their datatypes have no missing value.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import BaseModel, TypeAdapter

from common.bundle.signature import signature
from common.serving.schema import describe, find_field
from common.serving.v2.tensors import Decoded, Numbers, Texts, shown_name, wrong

# What a check of whole columns understands; a field with any other rule is checked row by row.
SIMPLE = {"type", "title", "description", "default", "examples", "enum", "const",
          "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}  # fmt: skip


@dataclass(frozen=True)
class TensorField:
    """One top-level field; `rule` is its part of the JSON schema without null."""

    name: str
    datatype: str
    is_json: bool
    nullable: bool
    required: bool
    rule: Mapping[str, Any]
    expected: str

    @property
    def columnar(self) -> bool:
        """Whether a column of it can be checked at once: a simple rule, and missing means null."""
        missing_is_null = self.required or (self.nullable and self.rule.get("default") is None)
        return not self.is_json and missing_is_null and set(self.rule) <= SIMPLE


@dataclass(frozen=True)
class Contract:
    """All inputs and outputs by name, and `dump`: answers as JSON-like dicts."""

    inputs: dict[str, TensorField]
    outputs: dict[str, TensorField]
    dump: Any

    def metadata(self, side: str) -> list[dict[str, Any]]:
        """The tensors of `inputs` or `outputs`, as the protocol lists them."""
        fields: dict[str, TensorField] = getattr(self, side)
        return [{"name": f.name, "datatype": f.datatype, "shape": [-1]} for f in fields.values()]


@lru_cache(maxsize=32)
def contract(request: type[BaseModel], response: type[BaseModel]) -> Contract:
    """The tensors of a predictor; kept for each pair of types, so that a swap needs no bookkeeping."""
    declared = signature(request, response)
    sides = {}
    for side in ("input", "output"):
        schema = declared["schema"][side]
        fields = [_field(tensor, schema, side) for tensor in declared["tensors"][side]]
        sides[side] = {field.name: field for field in fields}
    return Contract(sides["input"], sides["output"], TypeAdapter(list[response]).dump_python)  # type: ignore[valid-type]


def _field(tensor: Mapping[str, Any], schema: Mapping[str, Any], side: str) -> TensorField:
    name, datatype = tensor["name"], tensor["datatype"]
    whole, rule = schema["properties"][name], find_field(schema, [name])
    nullable = any(option.get("type") == "null" for option in whole.get("anyOf", ()))
    if side == "output" and nullable and datatype in ("INT64", "BOOL"):
        datatype = "BYTES"
    is_json = datatype == "BYTES" and rule.get("type") != "string"
    required = name in schema.get("required", ())
    if "default" in whole:
        rule = {**rule, "default": whole["default"]}
    return TensorField(name, datatype, is_json, nullable, required, rule, describe(rule, schema) or datatype)


def check_inputs(inputs: Mapping[str, Decoded], fields: Mapping[str, TensorField]) -> dict[str, Decoded]:
    """The tensors in the form of their fields: whole numbers as int64, an empty text of a nullable field as missing.

    Raises `InvalidBody` for an unknown or absent tensor, a datatype that does not fit, a missing value of a
    required field, and a fraction where a whole number belongs.
    """
    for name in inputs:
        if name not in fields:
            close = difflib.get_close_matches(name[:60], fields, n=1)
            fix = f"did you mean {close[0]!r}?" if close else "see GET /v2/models/{model}"
            raise wrong(f"inputs.{shown_name(name)}", "an unknown tensor", "only known tensors", fix)
    for field in fields.values():
        if field.required and field.name not in inputs:
            raise wrong(f"inputs.{field.name}", "nothing", f"a tensor of {field.datatype}", "add it")
    return {name: _fit(column, fields[name]) for name, column in inputs.items()}


def _fit(column: Decoded, field: TensorField) -> Decoded:
    is_number = column.datatype not in ("BOOL", "BYTES")
    if column.datatype != field.datatype and not (is_number and field.datatype in ("FP64", "INT64")):
        raise wrong(f"{field.name}.datatype", column.datatype, field.datatype)
    column = _without_empty(column, field) if isinstance(column, Texts) else _whole(column, field)
    missing = column.codes < 0 if isinstance(column, Texts) else column.missing
    if missing is not None and field.required and not field.nullable and missing.any():
        raise wrong(f"rows[{int(np.argmax(missing))}].{field.name}", "a missing value", field.expected, "fill it")
    return column


def _without_empty(column: Texts, field: TensorField) -> Texts:
    """Levels that mean a missing value become code -1."""
    gone = {"", "null"} if field.is_json else {""} if field.nullable else set()
    if gone.isdisjoint(column.levels):
        return column
    kept = [level for level in column.levels if level not in gone]
    place = {level: code for code, level in enumerate(kept)}
    codes = np.array([*(place.get(level, -1) for level in column.levels), -1], np.int32)
    return Texts(codes[column.codes], kept)  # code -1 reads the last entry


def _whole(column: Numbers, field: TensorField) -> Numbers:
    values, missing = column.values, column.missing
    if field.datatype != "INT64":
        return column
    if values.dtype.kind == "f":
        if missing is not None:
            values = np.where(missing, 0, values)
        bad = (values != np.floor(values)) | (np.abs(values) >= 2.0**63)  # infinity is one of the latter
        if bad.any():
            row = int(np.argmax(bad))
            raise wrong(f"rows[{row}].{field.name}", f"{values[row]:g}", field.expected)
        values = values.astype(np.int64)
    return Numbers("INT64", values, missing)
