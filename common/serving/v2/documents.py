"""The V2 routes in OpenAPI, with requests made from golden examples: they work as they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import FastAPI, Path
from fastapi.routing import APIRoute
from pydantic_core import from_json, to_json
from starlette.types import ASGIApp

from common.serving.problems import MEDIA_TYPE
from common.serving.slot import Live, Slot
from common.serving.v2.fields import TensorField, contract
from common.serving.v2.rows import of_rows
from common.serving.v2.schema import InferenceRequest, InferenceResponse
from common.serving.v2.tensors import write_response

PROBLEM = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}}
BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
REFUSALS = {
    400: "The body is not what its header and JSON say",
    404: "No such model, or another version is live",
    413: "The body or the number of rows is over the limit",
    415: "The body is compressed or of another media type",
    422: "A tensor or a value is wrong",
    503: "Overloaded, or the model is not ready",
    504: "No answer before the deadline",
}


@dataclass(frozen=True)
class Shown:
    """Name and summary of a route; `infers` for those that take tensors."""

    name: str
    summary: str
    infers: bool = False


def add_documented(app: FastAPI, path: str, asgi: ASGIApp, shown: Shown) -> None:
    """Add a route whose ASGI app is ours and whose documentation is FastAPI's."""

    responses = {status: {"description": text, **PROBLEM} for status, text in REFUSALS.items()}
    in_path, content = "{model}" in path, {"content": BYTES}
    kept = responses if shown.infers else {status: responses[status] for status in ((404, 503) if in_path else (503,))}
    route = APIRoute(
        path,
        _documented(path, shown),
        methods=["POST" if shown.infers else "GET"],
        name=f"v2_{shown.name}",
        operation_id=f"v2_{shown.name}",
        summary=shown.summary,
        description="",
        response_model=InferenceResponse if shown.infers else dict[str, Any],
        responses=kept,  # type: ignore[arg-type]
        tags=["open inference protocol v2"],
        openapi_extra={"requestBody": content, "responses": {"200": content}} if shown.infers else {},
    )
    route.app = asgi
    app.router.routes.append(route)


def show_examples(document: dict[str, Any], slots: Sequence[Slot]) -> None:
    """Fill an OpenAPI document with golden examples: as tensors of a model that is ready, and as they are for routes
    of a system's own that take a request of its (`x-espalier-request: predict`) or several (`rows`)."""
    for one in slots:
        if one.status == "ready" and one.live().examples:
            _show_own(document, f"/v1/{one.system.short_name}/", one.live().examples)
    slot = next((slot for slot in slots if slot.status == "ready" and slot.live().examples), None)
    if slot is None:
        return
    live = slot.live()
    request, response = _example(slot.system.short_name, live)
    known = {"model": slot.system.short_name, "version": live.version}
    for path, operations in document["paths"].items():
        if not path.startswith("/v2/models/"):
            continue
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    parameter["example"] = known[parameter["name"]]
            if "requestBody" in operation:
                operation["requestBody"]["content"]["application/json"]["example"] = request
                operation["responses"]["200"]["content"]["application/json"]["example"] = response


def _show_own(document: dict[str, Any], prefix: str, examples: Sequence[Mapping[str, Any]]) -> None:
    shown = {"predict": examples[0]["request"], "rows": {"rows": [pair["request"] for pair in examples[:2]]}}
    for path, operations in document["paths"].items():
        kind = operations.get("post", {}).get("x-espalier-request", "")
        if path.startswith(prefix) and kind in shown:
            operations["post"]["requestBody"]["content"]["application/json"]["example"] = shown[kind]


def _documented(path: str, shown: Shown) -> Callable[..., Any]:
    async def documented(**parameters: Any) -> None:
        """Never called; its signature tells OpenAPI what the ASGI app reads."""

    texts = {"model": "name of the system, short or full", "version": "version of its live bundle"}
    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[str, Path(description=text)])
        for name, text in texts.items()
        if f"{{{name}}}" in path
    ]
    if shown.infers:
        parameters.append(Parameter("body", Parameter.KEYWORD_ONLY, annotation=InferenceRequest))
    documented.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return documented


def _example(name: str, live: Live) -> tuple[Any, Any]:
    pairs = live.examples[:2]
    tensors = contract(live.predictor.request, live.predictor.response)
    columns = {name: [_cell(pair["request"], field) for pair in pairs] for name, field in tensors.inputs.items()}
    inputs = [
        {"name": name, "datatype": tensors.inputs[name].datatype, "shape": [len(pairs)], "data": column}
        for name, column in columns.items()
        if any(value is not None for value in column)
    ]
    answers = [live.predictor.response.model_validate(pair["response"]) for pair in pairs]
    head = {"model_name": name, "model_version": live.version}
    content, _ = write_response(head, of_rows(answers, tensors, []), set())
    return {"inputs": inputs}, from_json(content)


def _cell(request: Mapping[str, Any], field: TensorField) -> Any:
    value = request.get(field.name)
    return to_json(value).decode() if field.is_json and value is not None else value
