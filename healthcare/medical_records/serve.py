"""A note in; who is meant taken out, and what it says of the patient, word by word with its places, out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.bundle import Bundle
from common.config import Strict
from common.errors import EspalierError, InvalidRequest, RequestError
from common.llm.writer import LlmSettings, Writer, writer
from healthcare.medical_records.abbreviations import Abbreviation
from healthcare.medical_records.answer import HIDDEN, Answer, answer_of
from healthcare.medical_records.deid.deidentify import Deidentified, Deidentifier, Policy, Replaced
from healthcare.medical_records.deid.identifiers import Kind
from healthcare.medical_records.model import RecordReader
from healthcare.medical_records.notes import LONGEST, Note, language_of
from healthcare.medical_records.spans import Entity

if TYPE_CHECKING:
    from fastapi import APIRouter

S = TypeVar("S", Entity, Abbreviation)
Identifiers = Literal["mask", "surrogate", "keep"]
NOTE = (
    "Patient: Mary Smith, MRN 4471203. Seen on 03/12/2025 by Dr. Jones.\nHPI: Chest pain since yesterday. "
    "Denies fever. Mother had breast cancer.\nMedications: metformin 500 mg PO BID\nLabs: Hb 7.8 g/dL, glucose 11\n"
)
NOTE_ZH = (
    "患者张伟，男，58岁，电话13912345678。主诉：胸痛3天。否认发热。阿司匹林 100mg 口服 每日一次。血糖 11.2 mmol/L\n"
)


class Known(Strict):
    """Something that is known of the patient and must not be seen in the answer."""

    kind: Kind
    value: str = Field(min_length=2, max_length=200)


class Request(Strict):
    """One note."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": NOTE, "known": [{"kind": "name", "value": "Mary Smith"}]},
                {"text": NOTE_ZH, "identifiers": "mask"},
            ]
        }
    )

    # The length is looked at by `predict`, whose refusal does not repeat the beginning of the note.
    text: str = Field(
        description="a clinical note in English or Chinese", json_schema_extra={"minLength": 1, "maxLength": LONGEST}
    )
    identifiers: Identifiers = Field(
        "mask",
        description="[NAME] in place of a name, or a name that nobody has (the same in all notes of a patient), or all "
        "as it stands: only where the answer may identify the patient",
    )
    patient: str = Field("", max_length=200, description="any key of the patient; needed for surrogates")
    known: list[Known] = Field([], max_length=50, description="what is known of the patient: found wherever it stands")


class RecordsSettings(BaseSettings):
    """The secret of surrogates, from `ESPALIER_RECORDS_KEY`."""

    model_config = SettingsConfigDict(env_prefix="ESPALIER_RECORDS_", env_file=".env", extra="ignore")

    key: SecretStr = Field(SecretStr(""), description="16 characters or more; whoever has it can follow a patient")


class NoSecret(RequestError):
    """Surrogates are asked for and the service has no secret to make them with."""

    status = 422


class Unforeseen(Exception):
    """A fault of ours; its words hold nothing of the note, as the log keeps them."""


@dataclass(frozen=True)
class Read:
    """A note as it was read, after what identifies somebody was replaced in it."""

    note: Note
    replaced: tuple[Replaced, ...]


class MedicalRecordsPredictor:
    """Reads notes; safe for threads, needs no training library."""

    request, response = Request, Answer
    sensitive = frozenset({"text", "patient", "known"})
    hidden = HIDDEN
    body_bytes = 8 * 1024**2  # a note of 5 MB is told that it is too long, not that its body is
    deadline_s = 60.0

    def __init__(self, reader: RecordReader, version: str, simulated: bool, llm: Writer | None = None) -> None:
        self.reader, self.version, self.simulated, self.llm = reader, version, simulated, llm
        key = RecordsSettings().key.get_secret_value().encode()
        self._mask = Deidentifier(reader.identifiers)
        surrogates = Policy(mode="surrogate")
        self._surrogate = Deidentifier(reader.identifiers, policy=surrogates, key=key) if key else None

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """Build the predictor from a verified bundle. Raises `UsageError` for settings that cannot be right."""
        return cls(RecordReader.load(bundle), bundle.manifest.version, bundle.manifest.simulated, writer(LlmSettings()))

    def predict(self, batch: Sequence[Request]) -> list[Answer]:
        """Answers in the order of the batch, each as if it came alone.

        Raises `InvalidRequest` for a note without text or in another language, `RequestTooLarge`, and `NoSecret`.
        """
        return [self.answer(self.read(request)) for request in batch]

    def read(self, request: Request) -> Read:
        """The note, de-identified as asked and read; raises as `predict`."""
        with sealed():
            found = self.deidentify(request)
            return Read(_apart(self.reader.read(found.text), found.replaced), found.replaced)

    def answer(self, read: Read) -> Answer:
        """What is answered about it."""
        with sealed():
            return answer_of(read.note, read.replaced, self.version, self.simulated)

    def deidentify(self, request: Request) -> Deidentified:
        """The note with what identifies somebody replaced as asked; raises as `predict`."""
        with sealed():
            language_of(request.text)
            if request.identifiers == "keep":
                return Deidentified(request.text, ())
            known = [(one.kind, one.value) for one in request.known]
            if request.identifiers == "mask":
                return self._mask(request.text, known=known)
            if not request.patient:
                expected = "the same key for all notes of one patient"
                raise InvalidRequest("surrogates need a patient", where="patient", got="none", expected=expected)
            if self._surrogate is None:
                fix = "set it to 16 characters or more, or ask for identifiers=mask"
                raise NoSecret("there is no secret for surrogates", where="ESPALIER_RECORDS_KEY", fix=fix)
            return self._surrogate(request.text, request.patient, known)

    @classmethod
    def routes(cls, predictor: Callable[[], MedicalRecordsPredictor]) -> APIRouter:
        """De-identification, FHIR in and out, extraction by a language model, and a page."""
        from healthcare.medical_records.routes import record_routes

        return record_routes(predictor)


def _apart(note: Note, replaced: Sequence[Replaced]) -> Note:
    """The note without concepts and short forms in what was put in place of an identifier: nobody wrote them."""
    places = [(one.new_start, one.new_end) for one in replaced]
    entities, short = _outside(note.entities, places), _outside(note.abbreviations, places)
    drugs = {(entity.start, entity.end) for entity in entities if entity.kind == "drug"}
    medications = tuple(one for one in note.medications if (one.drug.start, one.drug.end) in drugs)
    return replace(note, entities=entities, abbreviations=short, medications=medications)


def _outside(spans: Sequence[S], places: Sequence[tuple[int, int]]) -> tuple[S, ...]:
    """The spans, in order, that touch none of the places, in order."""
    ends = [end for _, end in places]
    kept = []
    for span in spans:
        at = bisect_right(ends, span.start)
        if at == len(places) or places[at][0] >= span.end:
            kept.append(span)
    return tuple(kept)


@contextmanager
def sealed() -> Iterator[None]:
    """What goes wrong within and was not foreseen is told by its kind and line of code: an error of a library may
    quote the note, and the service logs it."""
    try:
        yield
    except (EspalierError, Unforeseen):
        raise
    except Exception as error:
        at = extract_tb(error.__traceback__)[-1]
        raise Unforeseen(f"{type(error).__name__} in {Path(at.filename).name}, line {at.lineno}") from None
