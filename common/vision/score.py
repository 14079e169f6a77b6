"""Scoring a folder or an archive of pictures into a table, one row per picture; memory holds a few pictures.

A predictor takes part that offers `request_of(content: bytes) -> request`. Fields of its answer that hold one value
become columns; fields declared as base64 of a PNG can be written as files.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from common.errors import DataError, RequestError
from common.files import whole_file, write_whole
from common.table_files import new_table
from common.vision.files import File, open_files

TOGETHER = 8
"""Pictures in one call of the predictor."""
ROWS = 1024
TYPES = {"boolean": pa.bool_(), "integer": pa.int64(), "number": pa.float64(), "string": pa.string()}


def score_pictures(
    predictor: Any, source: Path, target: Path, on_progress: Callable[[int, float], None], pictures: Path | None = None
) -> tuple[int, int]:
    """Score every picture below `source` into `target`; returns the number of rows, and of those with an error.

    A row has `file`, the columns of the answer, and `error`: empty, or one sentence why there is no answer. The target
    appears whole or not at all; `pictures` is a folder for `<file>.<field>.png`. `on_progress` gets rows done and the
    share of the source read. Raises `DataError` when the source cannot be read or has no picture.
    """
    columns, drawn = _fields(predictor.response)
    schema = pa.schema([("file", pa.string()), *columns.items(), ("error", pa.string())])
    rows = errors = 0
    table: list[dict[str, Any]] = []
    with open_files(source) as (files, share), whole_file(target) as part, new_table(part, target) as write:
        for name, answer, error in _answers(predictor, files):
            # Of the answer only what the table takes: a thousand heat maps are gigabytes.
            table.append({"file": name, **{column: answer.get(column) for column in columns}, "error": error})
            for field in drawn:
                if pictures and answer.get(field):
                    write_whole(pictures / f"{name}.{field}.png", base64.b64decode(answer[field]))
            rows, errors = rows + 1, errors + bool(error)
            on_progress(rows, share())
            if len(table) == ROWS:
                write(pa.Table.from_pylist(table, schema=schema))
                table.clear()
        if table:
            write(pa.Table.from_pylist(table, schema=schema))
        if not rows:
            raise DataError("no picture to score", where=str(source), expected="PNG, JPEG, BMP or TIFF files")
    return rows, errors


def _answers(predictor: Any, files: Iterable[File]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Name, answer and error of every picture, in order."""
    wanted = (file for file in files if file.is_picture or file.refused)
    while batch := list(islice(wanted, TOGETHER)):
        asked = [_request(predictor, file) for file in batch]
        answers = iter(_predict(predictor, [request for request, error in asked if not error]))
        for file, (_, error) in zip(batch, asked, strict=True):
            yield (file.name, {}, error) if error else (file.name, *next(answers))


def _request(predictor: Any, file: File) -> tuple[Any, str]:
    if file.refused:
        return None, file.refused
    try:
        return predictor.request_of(file.content), ""
    except RequestError as error:
        return None, str(error)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return None, f"{'.'.join(map(str, first['loc']))}: {first['msg']}."


def _predict(predictor: Any, requests: list[Any]) -> list[tuple[dict[str, Any], str]]:
    """Answers and errors; when one refuses, each is asked alone."""
    if not requests:
        return []
    try:
        return [(answer.model_dump(mode="json"), "") for answer in predictor.predict(requests)]
    except RequestError as error:
        if len(requests) == 1:
            return [({}, str(error))]
        return [found for request in requests for found in _predict(predictor, [request])]


def _fields(response: Any) -> tuple[dict[str, pa.DataType], list[str]]:
    """Columns of one value with their types, and fields that hold a picture, from the answer's JSON Schema."""
    columns, drawn = {}, []
    for name, field in response.model_json_schema(mode="serialization")["properties"].items():
        kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
        if any(kind.get("contentEncoding") == "base64" for kind in (field, *kinds)):
            drawn.append(name)
        elif len(kinds) == 1 and kinds[0].get("type") in TYPES:
            columns[name] = TYPES[kinds[0]["type"]]
    return columns, drawn
