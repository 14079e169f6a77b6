"""Answers from measurements: the request that a bundle asks for, and one answer for each patient. NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, Field

from common.bundle import Bundle
from healthcare.disease_diagnosis.answer import Diagnosis, Reason, Verdict, promised, request_type
from healthcare.disease_diagnosis.fields import Measurement
from healthcare.disease_diagnosis.question import Question

MOST_REASONS = 5


class PatientEngine:
    """Loads the tabular models of a bundle and answers requests of the type that it makes of their fields."""

    def __init__(self, bundle: Bundle, common: Mapping[str, Any]) -> None:
        kept, arrays = bundle.json("preprocess.json"), bundle.arrays("model.safetensors")
        self.common = {"typical": None, "heat_map": None, **common}
        self.questions = [Question.of(one, str(i), arrays) for i, one in enumerate(kept["questions"])]
        self.main = self.questions[0]
        self.findings = self.main.findings
        self.threshold: float = kept["threshold"]
        self.coverage: float = kept["coverage"]
        self.fields = self.main.linear.basis.fields
        self.labels = {field.name: field.label for field in self.fields}
        self.request = request_type("Patient", "One patient.", entries_of(self.fields, list(self.main.sites)), bundle)

    def answers(self, batch: Sequence[BaseModel]) -> list[Diagnosis]:
        """Diagnoses in the order of the batch."""
        return self.answers_of([request.__dict__ for request in batch])

    def answers_of(self, records: Sequence[Mapping[str, Any]]) -> list[Diagnosis]:
        """Diagnoses of records by field, missing None, in their order."""
        if not records:
            return []
        columns = columns_of(records, self.fields)
        verdicts = [self._verdicts(question, records, columns) for question in self.questions]
        linear = self.main.linear
        place = linear.place(columns)
        # Of the disease that is the most probable by the model itself, before a site's calibration.
        finding = 1 + np.argmax(linear.log_odds(columns, place), axis=1)
        names, parts = linear.contributions(columns, self.main.centre, finding)
        tests = list(linear.basis.tests)
        return [
            Diagnosis(
                **verdicts[0][i].__dict__,
                also=[others[i] for others in verdicts[1:]],
                reasons=self._reasons(record, names, parts[i]),
                tests=[test for bit, test in enumerate(tests) if linear.panels[place[i]] >> bit & 1],
                **self.common,
            )
            for i, record in enumerate(records)
        ]

    def _verdicts(
        self, question: Question, records: Sequence[Mapping[str, Any]], columns: Mapping[str, np.ndarray]
    ) -> list[Verdict]:
        place = question.linear.place(columns)
        raw = question.linear.log_odds(columns, place)
        found = []
        for i, record in enumerate(records):
            name = record.get("site") or question.home
            site, group = question.sites[name], str(record.get("sex") or "")
            chances = site.chances(raw[i : i + 1], place[i : i + 1])[0]
            coverage = record.get("coverage") or self.coverage
            found.append(
                promised(question.findings, chances, site, name, int(place[i]), group, coverage, self.threshold)
            )
        return found

    def _reasons(self, record: Mapping[str, Any], names: list[str], parts: np.ndarray) -> list[Reason]:
        told = [i for i in np.argsort(-np.abs(parts), kind="stable")[:MOST_REASONS] if parts[i]]
        return [
            Reason(field=names[i], label=self.labels[names[i]], value=record.get(names[i]), log_odds=float(parts[i]))
            for i in told
        ]


def columns_of(records: Sequence[Mapping[str, Any]], fields: Sequence[Measurement]) -> dict[str, np.ndarray]:
    """Records column-wise: float64 with NaN, or words with None."""
    found: dict[str, np.ndarray] = {}
    for field in fields:
        values = [record.get(field.name) for record in records]
        if field.kind == "category":
            found[field.name] = np.array(values, object)
        else:
            found[field.name] = np.array([np.nan if value is None else value for value in values], float)
    return found


def entries_of(fields: Sequence[Measurement], sites: Sequence[str]) -> dict[str, Any]:
    """One typed, bounded entry for each field; anything else is refused, and so is what looks like another unit."""
    entries: dict[str, Any] = {field.name: _entry(field) for field in fields}
    if len(sites) > 1:
        where = Field(None, description=f"Centre whose calibration and promise apply; default {sites[0]}")
        entries["site"] = (Literal[tuple(sites)] | None, where)
    return entries


def _entry(field: Measurement) -> tuple[Any, Any]:
    label = f"{field.label} ({field.unit})" if field.unit else field.label
    kind: Any
    if field.kind == "category":
        kind = Literal[tuple(field.levels)]
    else:
        kind = Annotated[float, Field(strict=True, ge=field.minimum, le=field.maximum, allow_inf_nan=False)]
        if field.other_units:
            kind = Annotated[kind, BeforeValidator(_unit_check(field))]
    described = Field(None, description=f"{label}; leave out what was not measured") if field.optional else None
    return (kind | None if field.optional else kind), described or Field(description=label)


def _unit_check(field: Measurement) -> Callable[[Any], Any]:
    """Refuses, with a question, a number that looks as if it were in another unit."""

    def check(value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        for other in field.other_units if number else ():
            if other.low <= value < other.high:
                there = value * other.factor
                raise ValueError(
                    f"{field.unit}, from {field.minimum:g} to {field.maximum:g}: is {value:g} in {other.unit}? "
                    f"Then send {there:.0f}"
                )
        return value

    return check
