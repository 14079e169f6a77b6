"""`signature.json`: what goes in and out, as JSON Schema and as Open Inference Protocol tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

DATATYPE = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}


def signature(request: type[BaseModel], response: type[BaseModel]) -> dict[str, Any]:
    """JSON Schemas of request and response, and one tensor of shape `[-1]` (rows) per top-level field."""
    schemas = {"input": request.model_json_schema(), "output": response.model_json_schema(mode="serialization")}
    tensors = {
        side: [
            {"name": name, "datatype": _datatype(field), "shape": [-1]}
            for name, field in schema.get("properties", {}).items()
        ]
        for side, schema in schemas.items()
    }
    return {"schema": schemas, "tensors": tensors}


def _datatype(field: dict[str, Any]) -> str:
    """Structured and text fields travel as bytes (JSON), as the protocol allows."""
    kinds = {option.get("type") for option in field.get("anyOf", [field])} - {"null"}
    return DATATYPE.get(kinds.pop(), "BYTES") if len(kinds) == 1 else "BYTES"
