"""Bodies of the Open Inference Protocol V2 as pydantic records; members that the protocol does not name are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, StrictBool, StrictInt

Datatype = Literal[
    "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64", "BYTES"
]  # fmt: skip
MOST_TENSORS = 4096


class TensorParameters(BaseModel):
    """`binary_data_size`: bytes of this tensor behind the JSON; others are ignored."""

    model_config = ConfigDict(extra="allow")

    binary_data_size: Annotated[StrictInt, Field(ge=0)] | None = None


class InputTensor(BaseModel):
    """One field of all rows; `null` (NaN in floats, an empty text) is a missing value."""

    name: str
    shape: Annotated[list[Annotated[StrictInt, Field(ge=0)]], FailFast(), Field(min_length=1, max_length=2)]
    datatype: Datatype
    parameters: TensorParameters = TensorParameters()
    data: list[Any] | None = None


class OutputParameters(BaseModel):
    """`binary_data`: send this tensor behind the JSON; default: the request's `binary_data_output`."""

    model_config = ConfigDict(extra="allow")

    binary_data: StrictBool | None = None


class RequestedOutput(BaseModel):
    """A field of the answer that the client wants."""

    name: str
    parameters: OutputParameters = OutputParameters()


class RequestParameters(BaseModel):
    """`binary_data_output`: send every tensor behind the JSON; others are ignored."""

    model_config = ConfigDict(extra="allow")

    binary_data_output: StrictBool = False


class InferenceRequest(BaseModel):
    """One tensor per field; without `outputs` the answer has all of its fields."""

    id: str | None = None
    parameters: RequestParameters = RequestParameters()
    inputs: Annotated[list[InputTensor], FailFast(), Field(min_length=1, max_length=MOST_TENSORS)]
    outputs: Annotated[list[RequestedOutput], FailFast(), Field(max_length=MOST_TENSORS)] = []


class OutputTensor(BaseModel):
    """One field of all answers, of shape `[n]`; `data` is absent when it follows the JSON."""

    name: str
    datatype: Datatype
    shape: list[int]
    parameters: TensorParameters | None = None
    data: list[Any] | None = None


class InferenceResponse(BaseModel):
    """Answers as tensors."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]
