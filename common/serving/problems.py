"""Every refusal as `application/problem+json` (RFC 9457), from one mapping.

A problem has type, title, status, one detail sentence, and for bad input `errors`: one
`{field, got, expected, fix}` per wrong field, at most `MOST_ERRORS`. Values are cut, never echoed whole.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import Counter
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

from common.errors import EspalierError, InvalidRequest, Overloaded, RequestError, SystemUnavailable
from common.serving.schema import describe, find_field, known_fields

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 20
MOST_CHARACTERS = 60


class FieldError(BaseModel):
    """One wrong field of a request."""

    field: str
    got: str
    expected: str
    fix: str = ""


class ProblemDetails(BaseModel):
    """RFC 9457 problem details; `instance` holds the request id."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = ""
    errors: list[FieldError] = []


class InvalidBody(InvalidRequest):
    """A body that does not match its schema; the sentence is about the first of `errors`."""

    def __init__(self, errors: Sequence[FieldError], total: int, contradiction: bool = False) -> None:
        """`contradiction`: the first one is about fields that do not go together, and its sentence says it all."""
        first = errors[0]
        if contradiction:
            super().__init__(first.expected, where=first.field)
            self.errors = list(errors)
            return
        what = f"not accepted (first of {total} errors)" if total > 1 else "not accepted"
        super().__init__(what, where=first.field, got=first.got, expected=first.expected, fix=first.fix)
        self.errors = list(errors)


class UnsupportedMediaType(RequestError):
    """The body is not declared as JSON."""

    status = 415


class Malformed(RequestError):
    """The body is not JSON at all."""

    status = 400


def invalid_body(error: ValidationError, schema: Mapping[str, Any]) -> RequestError:
    """What pydantic found wrong with a JSON body, in words; `schema` is the model's JSON schema."""
    return _invalid(error.errors(include_url=False), schema)


def _invalid(found: Sequence[Any], schema: Mapping[str, Any]) -> RequestError:
    if found[0]["type"] == "json_invalid":
        return Malformed("the body is not JSON", got=found[0]["ctx"]["error"], expected="one JSON object")
    # An unknown name is usually the reason why another one is missing, so it is told first.
    ordered = sorted(found, key=lambda entry: entry["type"] != "extra_forbidden")
    first = ordered[0]
    contradiction = first["type"] == "value_error" and isinstance(first["input"], Mapping)
    return InvalidBody([_field_error(entry, schema) for entry in ordered[:MOST_ERRORS]], len(found), contradiction)


def _field_error(entry: Mapping[str, Any], schema: Mapping[str, Any]) -> FieldError:
    location = entry["loc"]
    field = _shown(location) or "the body"
    match entry["type"]:
        case "extra_forbidden":
            known = known_fields(schema, location[:-1])
            close = difflib.get_close_matches(str(location[-1])[:MOST_CHARACTERS], known, n=1)
            fix = f"did you mean {close[0]!r}?" if close else "remove it"
            expected = f"only known fields ({_cut(', '.join(known), 400)})" if known else "only known fields"
            return FieldError(field=field, got="an unknown field", expected=expected, fix=fix)
        case "missing":
            return FieldError(field=field, got="nothing", expected=_expected(entry, schema), fix="add it")
        case "too_short" if not entry["input"]:
            return FieldError(field=field, got="an empty list", expected="at least one row", fix="add a row")
        case "too_long":
            expected = f"at most {entry['ctx']['max_length']}"
            got = f"{len(entry['input'])} items"
            return FieldError(field=field, got=got, expected=expected, fix="split it into several requests")
    return FieldError(field=field, got=shown_value(entry["input"]), expected=_expected(entry, schema))


def _expected(entry: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """The schema's words for the field; pydantic's own where the schema cannot say it (a validator's message)."""
    own_words = entry["type"] in ("value_error", "assertion_error")
    text = "" if own_words else describe(find_field(schema, entry["loc"]), schema)
    message = re.sub(r"^(Value error, |Assertion failed, )", "", entry["msg"])
    return text or _cut(re.sub(r"^Input should be ", "", message), 200)


def shown_value(value: Any) -> str:
    """A value as JSON, cut to one short line; containers only by their size."""
    if isinstance(value, Mapping):
        return f"an object with {len(value)} fields"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)} items"
    if isinstance(value, str | bytes):
        value = value[: MOST_CHARACTERS + 1]
    try:
        # Half a surrogate pair, which JSON can name, is no text that can be sent back.
        return _cut(json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode())
    except (TypeError, ValueError):
        return f"a {type(value).__name__}"


def _shown(location: Sequence[str | int]) -> str:
    """`("rows", 3, "age")` as `rows[3].age`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{_cut(part)}" for part in location)
    return "".join(parts).lstrip(".")


def _cut(text: str, length: int = MOST_CHARACTERS) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def problem_of(error: Exception, instance: str = "") -> ProblemDetails:
    """The one mapping from an exception to a problem; an unforeseen one tells nothing of the inside."""
    match error:
        case RequestError():
            errors = error.errors if isinstance(error, InvalidBody) else []
            return _problem(error.status, str(error), instance, errors, kind=type(error).__name__)
        case SystemUnavailable():
            return _problem(503, str(error), instance, kind="SystemUnavailable")
        case RequestValidationError():
            body = [entry | {"loc": entry["loc"][1:] or entry["loc"]} for entry in error.errors()]
            return problem_of(_invalid(body, {}), instance)
        case HTTPException(__cause__=RequestError() as cause):  # FastAPI hides what reading the body raised
            return problem_of(cause, instance)
        case HTTPException():
            return _problem(error.status_code, _http_sentence(error), instance)
    return _problem(500, f"The service failed on this request; tell its operator the id {instance}.", instance)


def _problem(
    status: int, detail: str, instance: str, errors: Sequence[FieldError] = (), *, kind: str = ""
) -> ProblemDetails:
    title = re.sub(r"(?<!^)(?=[A-Z])", " ", kind).capitalize() or HTTPStatus(status).phrase
    slug = re.sub(r"[^a-z]+", "-", title.lower())
    return ProblemDetails(
        type=f"urn:espalier:problem:{slug}",
        title=title,
        status=status,
        detail=detail,
        instance=f"urn:espalier:request:{instance}" if instance else "",
        errors=list(errors),
    )


def _http_sentence(error: HTTPException) -> str:
    match error.status_code:
        case 404 if error.detail == HTTPStatus.NOT_FOUND.phrase:
            return "There is no such route; GET / lists them all."
        case 405:
            return f"This route does not take this method, only {(error.headers or {}).get('Allow', 'others')}."
    return str(error.detail)


def respond(error: Exception, request_id: str, rejected: Counter, path: str = "") -> Response:
    """The problem of an exception as a response, counted by its type; `Retry-After` and `Allow` where they belong.

    Under `/v2` it has the member `error` too, the only one that the clients of that protocol read.
    """
    problem = problem_of(error, request_id)
    rejected.labels(problem.type.rpartition(":")[2]).inc()
    return _response(error, problem, path)


def refusal(error: RequestError, path: str = "") -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and content of a refusal that is the same for all."""
    response = _response(error, problem_of(error), path)
    return response.status_code, response.raw_headers, bytes(response.body)


def _response(error: Exception, problem: ProblemDetails, path: str) -> Response:
    headers = dict(getattr(error, "headers", None) or {})
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(error.retry_after)
    members = problem.model_dump(exclude_defaults=True)
    if path.startswith("/v2/"):
        members["error"] = problem.detail
    return Response(to_json(members), problem.status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI, rejected: Counter) -> None:
    """Answer every expected error raised inside `app` with its problem."""

    async def handle(request: Request, error: Exception) -> Response:
        # A WebSocket that is not accepted yet is answered like a request, but has no id.
        return respond(error, getattr(request.state, "request_id", ""), rejected, request.url.path)

    for kind in (EspalierError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, handle)
