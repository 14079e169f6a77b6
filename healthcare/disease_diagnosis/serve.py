"""One patient or one picture in; a ranked differential, a set that keeps its promise, or a referral out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError

from common.bundle import Bundle
from common.errors import InvalidRequest
from healthcare.disease_diagnosis import SYSTEM
from healthcare.disease_diagnosis.answer import Diagnosis, Verdict
from healthcare.disease_diagnosis.fhir import measurements_of
from healthcare.disease_diagnosis.patients import PatientEngine

if TYPE_CHECKING:
    import pyarrow

    from common.tables import Column, TableField


class DiagnosisPredictor:
    """Answers for measurements or for chest X-rays, whichever the bundle was trained on; needs no torch."""

    response = Diagnosis
    body_bytes = 44_000_000  # a radiograph of 4,000 x 4,000 pixels at 16 bits, as base64
    deadline_s = 10.0
    # ONNX Runtime's kernels differ between processors in the sixth digit; the map is made of the same numbers.
    tolerance = 1e-4
    approximate = frozenset({"heat_map"})
    sensitive = frozenset({"age", "sex", "picture"})

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.request = engine.request

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """Build the predictor from a verified bundle."""
        kept, manifest = bundle.json("preprocess.json"), bundle.manifest
        common = {
            "intended_use": SYSTEM.intended_use,
            "model": manifest.version,
            "simulated": manifest.simulated,
        }
        if kept["kind"] == "patients":
            return cls(PatientEngine(bundle, common))
        from healthcare.disease_diagnosis.pictures import PictureEngine  # ONNX Runtime and Pillow

        return cls(PictureEngine(bundle, common))

    def predict(self, batch: Sequence[BaseModel]) -> list[Diagnosis]:
        """Diagnoses in the order of the batch. Raises `InvalidRequest` naming the field."""
        answers: list[Diagnosis] = self.engine.answers(batch)
        return answers

    def request_of(self, content: bytes) -> BaseModel:
        """The request for a file: a PNG, DICOM or npz of a chest, or a FHIR bundle in JSON."""
        if isinstance(self.engine, PatientEngine):
            return self.engine.request.model_validate(measurements_of(content, self.engine.fields))
        request: BaseModel = self.engine.request_of(content)
        return request

    @cached_property
    def table_fields(self) -> list[TableField]:
        """What `espalier score` has to find in a file."""
        from common.tables import TableField

        return [TableField(f.name, f.kind, f.levels, f.minimum, f.maximum, f.optional) for f in self._patients.fields]

    def predict_table(self, columns: Mapping[str, Column]) -> pyarrow.Table:
        """Probabilities of disease and of what may be there besides, and decisions, equal to `predict` row by row."""
        import pyarrow

        engine = self._patients
        plain = {name: _words(*values) if isinstance(values, tuple) else values for name, values in columns.items()}
        rows = zip(*(values.tolist() for values in plain.values()), strict=True)
        # NaN is the only value that is not itself.
        answers = engine.answers_of(
            [{k: None if v != v else v for k, v in zip(plain, row, strict=True)} for row in rows]
        )
        return pyarrow.table(
            {
                "probability": [1 - _chance(answer, engine.findings[0]) for answer in answers],
                "decision": [answer.decision for answer in answers],
                "finding": pyarrow.array([answer.finding for answer in answers], pyarrow.string()),
            }
            | {
                question.findings[1]: [_chance(answer.also[i], question.findings[1]) for answer in answers]
                for i, question in enumerate(engine.questions[1:])
            }
        )

    @property
    def _patients(self) -> PatientEngine:
        if not isinstance(self.engine, PatientEngine):
            raise InvalidRequest("this bundle reads pictures, not tables", fix="give a folder of pictures")
        return self.engine

    @classmethod
    def routes(cls, predictor: Callable[[], DiagnosisPredictor]) -> APIRouter:
        """`POST fhir`: a FHIR R4 Bundle of Observations instead of the request of `predict`."""
        from common.serving.problems import invalid_body

        router = APIRouter()

        async def fhir(request: Request) -> Diagnosis:
            current, decided = predictor(), request.state.decided
            decided.admit()
            engine = current._patients
            found = measurements_of(await request.body(), engine.fields)
            try:
                asked = engine.request.model_validate(found)
            except ValidationError as error:
                raise invalid_body(error, engine.request.model_json_schema()) from None
            answers = await asyncio.to_thread(current.predict, [asked])
            decided.note([asked], answers)
            return answers[0]

        summary = "A FHIR R4 Bundle of Patient and Observations; decision support for research, no medical device."
        body = {"content": {"application/json": {"schema": {"type": "object", "description": "FHIR R4 Bundle"}}}}
        router.post("/fhir", summary=summary, openapi_extra={"requestBody": body})(fhir)
        return router


def _words(codes: np.ndarray, levels: Sequence[Any]) -> np.ndarray:
    return np.array([None if code < 0 else levels[code] for code in codes], object)


def _chance(answer: Verdict, finding: str) -> float:
    return next(entry.probability for entry in answer.differential if entry.finding == finding)
