"""Scoring a folder or an archive of pictures, or of other files, into a table, a row for each; memory holds a few.

A predictor takes part that offers `request_of(content: bytes) -> request`; files that are no pictures are named by its
`suffixes`. Fields of its answer that hold one value become columns, of other files the others too, as JSON; fields
declared as base64 of a PNG can be written as files.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from common.errors import DataError, RequestError
from common.files import whole_file, write_whole
from common.table_files import new_table
from common.vision.files import PICTURES, File, holds_files, open_files, read_file

TOGETHER = 8
"""Pictures in one call of the predictor."""
ROWS = 1024
TYPES = {"boolean": pa.bool_(), "integer": pa.int64(), "number": pa.float64(), "string": pa.string()}


def score_pictures(
    predictor: Any, source: Path, target: Path, on_progress: Callable[[int, float], None], pictures: Path | None = None
) -> tuple[int, int]:
    """Score every file below `source`, or this one, into `target`; returns the number of rows, and those with an error.

    A row has `file`, the columns of the answer, and `error`: empty, or one sentence why there is no answer. The target
    appears whole or not at all; `pictures` is a folder for `<file>.<field>.png`. `on_progress` gets rows done and the
    share of the source read. Raises `DataError` when the source cannot be read or has no such file.
    """
    suffixes: tuple[str, ...] = getattr(predictor, "suffixes", PICTURES)
    columns, drawn = _fields(predictor.response, everything=suffixes is not PICTURES)
    schema = pa.schema([("file", pa.string()), *columns.items(), ("error", pa.string())])
    rows = errors = 0
    table: list[dict[str, Any]] = []
    with _opened(source, suffixes) as (files, share), whole_file(target) as part, new_table(part, target) as write:
        for name, answer, error in _answers(predictor, files, suffixes):
            # Of the answer only what the table takes: a thousand heat maps are gigabytes.
            cells = {column: _cell(answer.get(column)) for column in columns}
            table.append({"file": name, **cells, "error": error})
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
            what = "picture" if suffixes is PICTURES else "file"
            raise DataError(
                f"no {what} to score", where=str(source), expected=f"names that end in {', '.join(suffixes)}"
            )
    return rows, errors


@contextmanager
def _opened(source: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[Iterator[File], Callable[[], float]]]:
    if not source.is_file() or holds_files(source):
        with open_files(source, suffixes) as opened:
            yield opened
        return
    with source.open("rb") as file:
        yield iter([read_file(source.name, source.stat().st_size, file)]), lambda: 1.0


def _cell(value: Any) -> Any:
    """What a table can hold."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _answers(
    predictor: Any, files: Iterable[File], suffixes: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Name, answer and error of every picture, in order."""
    wanted = (file for file in files if file.name.lower().endswith(suffixes) or file.refused)
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


def _fields(response: Any, *, everything: bool) -> tuple[dict[str, pa.DataType], list[str]]:
    """Columns with their types, and fields that hold a picture, from the answer's JSON Schema."""
    columns, drawn = {}, []
    for name, field in response.model_json_schema(mode="serialization")["properties"].items():
        kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
        if any(kind.get("contentEncoding") == "base64" for kind in (field, *kinds)):
            drawn.append(name)
        elif len(kinds) == 1 and kinds[0].get("type") in TYPES:
            columns[name] = TYPES[kinds[0]["type"]]
        elif everything:
            columns[name] = pa.string()
    return columns, drawn
