"""The wire format of the Open Inference Protocol V2: a request's tensors as columns, columns as a response.

Source: the protocol's REST specification (kserve/open-inference-protocol) and Triton's binary tensor extension.
A tensor has shape `[n]` or `[n, 1]`, its data in JSON or, as little-endian bytes, behind the JSON; each element of
binary BYTES is a length of four bytes and its content. Shared memory and classification are not offered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from common.errors import RequestTooLarge
from common.serving.names import check_names, fields_of
from common.serving.problems import FieldError, InvalidBody, Malformed, invalid_body, shown_value
from common.serving.v2.schema import InferenceRequest, InputTensor

CODES = {
    "BOOL": "?", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "<u1", "UINT16": "<u2",
    "UINT32": "<u4", "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
DTYPES = {name: np.dtype(code) for name, code in CODES.items()}
LENGTH = 4  # bytes before each element of binary BYTES


@dataclass(frozen=True, slots=True)
class Numbers:
    """n numbers or truth values; `missing` marks those that were null or NaN, None when there are none."""

    datatype: str
    values: np.ndarray
    missing: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Texts:
    """n texts as codes into their distinct `levels`; code -1 is a null."""

    codes: np.ndarray
    levels: list[str]
    datatype: str = "BYTES"


Decoded = Numbers | Texts
_validate = TypeAdapter(InferenceRequest).validate_json
_SCHEMA = InferenceRequest.model_json_schema()


def read_request(
    body: bytes, json_bytes: int | None, most_rows: int
) -> tuple[InferenceRequest, dict[str, Decoded], int]:
    """The request, its tensors by name and the number of rows.

    `json_bytes` is the header Inference-Header-Content-Length: the JSON part of a body with binary tensors.
    Raises `Malformed` for what is no such body, `InvalidBody` naming the tensor, `RequestTooLarge` above `most_rows`.
    """
    if json_bytes is not None and not 0 <= json_bytes <= len(body):
        raise Malformed(
            "wrong Inference-Header-Content-Length",
            got=json_bytes,
            expected=f"the bytes of the JSON part, at most {len(body)}",
        )
    head = body if json_bytes is None else body[:json_bytes]
    try:
        request = _validate(head)
    except ValidationError as error:
        raise invalid_body(error, _SCHEMA) from None
    check_names(head, fields_of(request))
    rows = request.inputs[0].shape[0]
    if rows > most_rows:
        raise RequestTooLarge(
            "too many rows", got=f"{rows:,}", expected=f"at most {most_rows:,}", fix="split it into several requests"
        )
    binary = memoryview(b"" if json_bytes is None else body)[json_bytes or 0 :]
    decoded: dict[str, Decoded] = {}
    for tensor in request.inputs:
        name = shown_name(tensor.name)
        if tensor.name in decoded:
            raise wrong(name, "two tensors of this name", "one")
        _check_shape(tensor, rows)
        size = tensor.parameters.binary_data_size
        if (size is None) == (tensor.data is None):
            got = "both" if tensor.data is not None else "neither"
            raise wrong(f"{name}.data", got, "either data or binary_data_size", "shared memory is not offered")
        if size is None:
            decoded[tensor.name] = _from_json(tensor, rows)
            continue
        if size > len(binary):
            raise wrong(f"{name}.parameters.binary_data_size", size, f"at most the {len(binary)} bytes that follow")
        decoded[tensor.name] = _from_bytes(tensor, bytes(binary[:size]), rows)
        binary = binary[size:]
    if binary:
        raise Malformed("bytes left after the last tensor", got=f"{len(binary)} bytes", expected="none")
    return request, decoded, rows


def wrong(field: str, got: Any, expected: str, fix: str = "") -> InvalidBody:
    """The refusal of one tensor or element."""
    return InvalidBody([FieldError(field=field, got=str(got), expected=expected, fix=fix)], 1)


def shown_name(name: str) -> str:
    """A name cut to a line, for errors."""
    return name if len(name) <= 60 else f"{name[:59]}…"


def _check_shape(tensor: InputTensor, rows: int) -> None:
    if tensor.shape[1:] not in ([], [1]):
        raise wrong(f"{shown_name(tensor.name)}.shape", tensor.shape, f"[{rows}] or [{rows}, 1]")
    if tensor.shape[0] != rows:
        raise wrong(f"{shown_name(tensor.name)}.shape", tensor.shape, f"{rows} rows like the first tensor")
    if not rows:
        raise wrong(f"{shown_name(tensor.name)}.shape", tensor.shape, "at least one row", "add a row")


def _from_json(tensor: InputTensor, rows: int) -> Decoded:
    data, name, kind = tensor.data or [], f"{shown_name(tensor.name)}.data", tensor.datatype
    if len(tensor.shape) == 2 and all(type(cell) is list and len(cell) == 1 for cell in data):
        data = [cell for (cell,) in data]
    if len(data) != rows:
        raise wrong(name, f"{len(data)} elements", f"{rows}, as the shape says")
    types = set(map(type, data))
    numbers: set[type] = {int, float} if kind.startswith("FP") else {int}
    texts: dict[str, set[type]] = {"BYTES": {str}, "BOOL": {bool}}
    allowed = texts.get(kind, numbers)
    if extra := types - allowed - {NoneType}:
        row = next(i for i, cell in enumerate(data) if type(cell) in extra)
        raise wrong(f"{name}[{row}]", shown_value(data[row]), f"an element of {kind}")
    if kind == "BYTES":
        levels = dict.fromkeys(data)
        levels.pop(None, None)
        index = {level: code for code, level in enumerate(levels)} | {None: -1}
        return Texts(np.array([index[cell] for cell in data], np.int32), list(levels))
    missing = np.array([cell is None for cell in data]) if NoneType in types else None
    if missing is not None:
        data = [0 if cell is None else cell for cell in data]
    return _numbers(tensor, data, missing)


def _numbers(tensor: InputTensor, data: Sequence[Any], missing: np.ndarray | None) -> Numbers:
    dtype = DTYPES[tensor.datatype]
    try:
        values = np.array(data, np.float64 if dtype.kind == "f" else dtype)
    except OverflowError:
        raise wrong(
            f"{shown_name(tensor.name)}.data", "a number out of range", f"numbers of {tensor.datatype}"
        ) from None
    if dtype.kind == "f" and dtype.itemsize < 8:
        with np.errstate(over="ignore"):
            values = values.astype(dtype)
    return _with_nan(tensor.datatype, values, missing)


def _with_nan(datatype: str, values: np.ndarray, missing: np.ndarray | None = None) -> Numbers:
    """Floats as float64, where NaN is a missing value."""
    if values.dtype.kind == "f":
        values = values.astype(np.float64, copy=False)
        nan = np.isnan(values)
        missing = nan if missing is None else nan | missing
    return Numbers(datatype, values, missing if missing is not None and missing.any() else None)


def _from_bytes(tensor: InputTensor, raw: bytes, rows: int) -> Decoded:
    name, kind = shown_name(tensor.name), tensor.datatype
    if kind == "BYTES":
        return _texts(name, raw, rows)
    if len(raw) != rows * DTYPES[kind].itemsize:
        expected = f"{rows * DTYPES[kind].itemsize}: {rows} elements of {kind}"
        raise wrong(f"{name}.parameters.binary_data_size", len(raw), expected)
    if kind == "BOOL":
        return Numbers(kind, np.frombuffer(raw, np.uint8) != 0)
    return _with_nan(kind, np.frombuffer(raw, DTYPES[kind]))


def _texts(name: str, raw: bytes, rows: int) -> Texts:
    """One dictionary look-up per element; each distinct text is decoded once."""
    codes: list[int] = []
    index: dict[bytes, int] = {}
    place, end = 0, len(raw)
    while place < end and len(codes) < rows:
        start = place + LENGTH
        place = start + int.from_bytes(raw[place:start], "little")
        codes.append(index.setdefault(raw[start:place], len(index)))
    if place != end or len(codes) != rows:
        raise wrong(
            name, f"{len(codes)} elements and {end} bytes", f"{rows} elements, each after its length of 4 bytes"
        )
    levels = []
    for level in index:
        try:
            levels.append(level.decode())
        except UnicodeDecodeError:
            row = codes.index(index[level])
            raise wrong(f"rows[{row}].{name}", "bytes that are no text", "UTF-8") from None
    return Texts(np.array(codes, np.int32), levels)


def write_response(
    head: Mapping[str, Any], outputs: Sequence[tuple[str, str, Any]], binary: set[str]
) -> tuple[bytes, int]:
    """The body, and the bytes of its JSON part when tensors follow it, else 0.

    `outputs` are name, datatype and either an array of numbers or a list of texts (None for a missing one, which
    is empty in bytes); those named in `binary` follow the JSON.
    """
    tensors, behind = [], []
    for name, datatype, values in outputs:
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": [len(values)]}
        if name in binary:
            raw = values.astype(DTYPES[datatype]).tobytes() if datatype != "BYTES" else _texts_as_bytes(values)
            tensor["parameters"] = {"binary_data_size": len(raw)}
            behind.append(raw)
        else:
            tensor["data"] = values if isinstance(values, list) else values.tolist()
        tensors.append(tensor)
    content = to_json({**head, "outputs": tensors}, inf_nan_mode="null")
    return b"".join((content, *behind)), len(content) if behind else 0


def _texts_as_bytes(values: Sequence[str | None]) -> bytes:
    known: dict[str | None, bytes] = {}
    for value in set(values):
        content = (value or "").encode()
        known[value] = len(content).to_bytes(LENGTH, "little") + content
    return b"".join([known[value] for value in values])
