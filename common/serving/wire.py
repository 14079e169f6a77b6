"""How one live model reads and writes JSON: its validators, built once when it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, TypeAdapter, create_model


class Unknown(BaseModel):
    """The fields depend on the training data and are known once a model is loaded."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True)
class Wire:
    """Types and compiled functions of one route; another bundle of the same system may have other fields."""

    request: type[BaseModel]
    response: type[BaseModel]
    schema: dict[str, Any]
    validate: Callable[[bytes], Any]
    dump: Callable[[Any], bytes]


def wires(predictor: Any, most_rows: int) -> tuple[Wire, Wire]:
    """The single and the batch form of a predictor (or of its class, when its types belong to the class)."""
    request: type[BaseModel] = getattr(predictor, "request", Unknown)
    response: type[BaseModel] = getattr(predictor, "response", Unknown)
    # FailFast: 10,000 empty rows would otherwise cost a third of a second to report, on the event loop.
    rows = Annotated[list[request], FailFast(), Field(min_length=1, max_length=most_rows)]  # type: ignore[valid-type]
    many = create_model(f"{request.__name__}Batch", __config__={"extra": "forbid"}, rows=(rows, ...))
    answers = create_model(f"{response.__name__}Batch", rows=(list[response], ...))  # type: ignore[valid-type]
    return _wire(request, response), _wire(many, answers)


def _wire(request: type[BaseModel], response: type[BaseModel]) -> Wire:
    validate, dump = TypeAdapter(request).validate_json, TypeAdapter(response).dump_json
    return Wire(request, response, request.model_json_schema(), validate, dump)
