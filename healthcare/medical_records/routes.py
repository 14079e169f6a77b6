"""What is asked beside `predict`: de-identification alone, FHIR R4 in and out, extraction by a model, and a page."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi import Request as Call
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from common.errors import InvalidRequest, RequestError
from common.serving.scripted import ScriptedPage
from common.serving.threads import Threads
from healthcare.medical_records.answer import Answer, Masked, masked
from healthcare.medical_records.compared import Compared, Notes, told
from healthcare.medical_records.extraction import Extracted, ToExtract, extract
from healthcare.medical_records.fhir.lossless import dump
from healthcare.medical_records.fhir.problem import Problem
from healthcare.medical_records.fhir.read import Records, read, read_ndjson
from healthcare.medical_records.fhir.write import write
from healthcare.medical_records.serve import NOTE, Identifiers, MedicalRecordsPredictor, Request, sealed
from healthcare.medical_records.spans import Language

THREADS, MOST_WAITING = 4, 64
"""Python reads one note at a time; more threads only keep short requests from waiting behind long ones."""
LINES = ("application/fhir+ndjson", "application/x-ndjson", "application/ndjson")
FHIR = ("application/json", "application/fhir+json")


class Deidentified(BaseModel):
    """The note without what identifies somebody, and where the stand-ins are in it."""

    text: str
    identifiers: list[Masked]


class ToWrite(Request):
    """A note that is to become FHIR."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": NOTE, "patient": "Patient/1", "recorded": "2026-11-29T08:00:00Z"}]}
    )

    patient: str = Field(max_length=200, description="reference to the Patient: Patient/id, absolute or urn:uuid:...")
    recorded: str = Field("", max_length=64, description="a FHIR instant; without it the clock's")


class LeftOut(BaseModel):
    """Something that the note names and that became no resource, and why."""

    start: int
    end: int
    text: str
    reason: str


class Written(BaseModel):
    """The note as FHIR R4, for a person to confirm."""

    bundle: dict[str, Any] = Field(description="collection; every resource names its characters of the note in it")
    left_out: list[LeftOut]
    identifiers: list[Masked]


class FhirJson(JSONResponse):
    """FHIR as JSON, numbers with the digits that they came with."""

    media_type = "application/fhir+json"

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return dump(content).encode()


def record_routes(predictor: Callable[[], MedicalRecordsPredictor]) -> APIRouter:
    """The router of the system."""
    threads, own_page = Threads("records", THREADS, MOST_WAITING), ScriptedPage(Path(__file__).with_name("page"))

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(threads.close)

    router = APIRouter(lifespan=lifespan)

    @router.post("/deidentify", summary="A note without what identifies somebody.")
    async def deidentify(body: Request) -> Deidentified:
        found = await threads.run(predictor().deidentify, body)
        return Deidentified(text=found.text, identifiers=masked(found.replaced))

    @router.post("/fhir/write", summary="A note as FHIR R4, de-identified unless kept.", response_model=Written)
    async def to_fhir(body: ToWrite, call: Call, response: Response) -> Response:
        decided = call.state.decided
        decided.admit()
        answer, content = await threads.run(_written, predictor(), body)
        decided.note([body], [answer])
        return Response(content, media_type="application/json", headers=dict(response.headers))

    @router.post(
        "/fhir/validate",
        summary="What is wrong with FHIR R4: every fault with its place; of NDJSON every line.",
        response_class=FhirJson,
        response_model=dict[str, Any],
        openapi_extra=_body(PATIENT),
    )
    async def validate(call: Call, response: Response) -> FhirJson:
        content, lines = await _content(call), _is_lines(call)
        return FhirJson(await threads.run(_validated, content, lines), headers=dict(response.headers))

    @router.post(
        "/fhir/notes",
        summary="The notes of FHIR R4 records, read, and what the Conditions beside them say.",
        response_model=Compared,
        openapi_extra=_body(RECORDS),
    )
    async def notes(
        call: Call,
        response: Response,
        identifiers: Annotated[Identifiers, Query(description="as for predict")] = "mask",
    ) -> Response:
        decided, content, lines = call.state.decided, await _content(call), _is_lines(call)
        decided.admit()
        own, found = await threads.run(_compared, predictor(), content, lines, identifiers)
        if own.answers:
            decided.note(own.requests, own.answers)
        return Response(found, media_type="application/json", headers=dict(response.headers))

    @router.post(
        "/extract",
        summary="Findings of a language model in the masked note, each checked against it.",
        responses={409: {"description": "No language model is configured"}, 502: {"description": "The model failed"}},
    )
    async def from_model(body: ToExtract, call: Call) -> Extracted:
        decided = call.state.decided
        decided.admit()
        found = await threads.run(extract, predictor(), body)
        decided.note([body], [found])
        return found

    @router.get("/page", summary="A page to read a note with.", response_class=HTMLResponse)
    async def page(
        call: Call,
        response: Response,
        lang: Annotated[Language | None, Query(description="of the page; else as the browser prefers")] = None,
    ) -> HTMLResponse:
        return own_page.answer(call, lang, response.headers)

    return router


def _written(predictor: MedicalRecordsPredictor, asked: ToWrite) -> tuple[Answer, bytes]:
    found = predictor.read(asked)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with sealed():
        made = write(found.note, asked.patient, asked.recorded or now, author=f"Espalier {predictor.version}")
        left = [{**asdict(one.span), "reason": one.reason} for one in made.left_out]
        places = [one.model_dump() for one in masked(found.replaced)]
        content = dump({"bundle": made.bundle, "left_out": left, "identifiers": places}).encode()
    return predictor.answer(found), content


def _validated(content: bytes, lines: bool) -> dict[str, Any]:
    with sealed():
        try:
            records = _records(content, lines)
        except RequestError as error:
            fault = Problem(error.where, error.what, str(error.got or ""), str(error.expected or ""))
            return told([fault], "Nothing was read")
        return told(records.problems, f"{len(records.nodes)} resources were read")


def _compared(
    predictor: MedicalRecordsPredictor, content: bytes, lines: bool, identifiers: Identifiers
) -> tuple[Notes, bytes]:
    with sealed():
        own = Notes(predictor, _records(content, lines), identifiers)
        return own, own.compared().model_dump_json().encode()


def _records(content: bytes, lines: bool) -> Records:
    return read_ndjson(content.splitlines()) if lines else read(content)


async def _content(call: Call) -> bytes:
    content = await call.body()
    if not content.strip():
        raise InvalidRequest("the body is empty", expected="a FHIR R4 resource, a Bundle, or NDJSON of resources")
    return content


def _is_lines(call: Call) -> bool:
    return call.headers.get("content-type", "").partition(";")[0].strip().lower() in LINES


def _body(example: Any) -> dict[str, Any]:
    said = "a resource or Bundle of FHIR R4"
    one = {name: {"schema": {"description": said}, "example": example} for name in FHIR}
    many = {name: {"schema": {"type": "string", "description": "one resource a line"}} for name in LINES}
    return {"requestBody": {"required": True, "content": one | many}}


PATIENT = {"resourceType": "Patient", "id": "1", "gender": "female", "birthDate": "1961-05"}
RECORDS = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        {"resource": PATIENT | {"name": [{"family": "Smith", "given": ["Mary"]}]}},
        {
            "resource": {
                "resourceType": "Condition",
                "id": "2",
                "subject": {"reference": "Patient/1"},
                "code": {"text": "Chest pain"},
                "recordedDate": "2025-03-12",
            }
        },
        {
            "resource": {
                "resourceType": "DocumentReference",
                "id": "3",
                "status": "current",
                "subject": {"reference": "Patient/1"},
                "date": "2025-03-12T09:00:00Z",
                "content": [{"attachment": {"contentType": "text/plain", "data": b64encode(NOTE.encode()).decode()}}],
            }
        },
    ],
}
