"""Answers from measurements: the request that a bundle asks for, and one answer for each patient. NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from common.bundle import Bundle
from common.config import Strict
from healthcare.disease_diagnosis.answer import Diagnosis, Reason, promised
from healthcare.disease_diagnosis.fields import Measurement
from healthcare.disease_diagnosis.linear import Linear
from healthcare.disease_diagnosis.promise import Site, probability

MOST_REASONS = 5


class PatientEngine:
    """Loads the tabular model of a bundle and answers requests of the type that it makes of its fields."""

    def __init__(self, bundle: Bundle, common: Mapping[str, Any]) -> None:
        kept, arrays = bundle.json("preprocess.json"), bundle.arrays("model.safetensors")
        sites = bundle.arrays("sites.safetensors")
        self.common = dict(common)
        self.linear = Linear.of(kept["basis"], arrays)
        self.centre = arrays["centre"]
        self.sites = {name: Site.of(name, sites, group) for name, group in kept["sites"].items()}
        self.home = next(iter(self.sites))
        self.findings: list[str] = kept["findings"]
        self.threshold: float = kept["threshold"]
        self.coverage: float = kept["coverage"]
        self.fields = self.linear.basis.fields
        self.labels = {field.name: field.label for field in self.fields}
        examples = bundle.examples() if "examples.jsonl" in bundle.manifest.files else []
        self.request = request_type(self.fields, list(self.sites), examples[0]["request"] if examples else None)

    def answers(self, batch: Sequence[BaseModel]) -> list[Diagnosis]:
        """Diagnoses in the order of the batch."""
        return self.answers_of([request.__dict__ for request in batch])

    def answers_of(self, records: Sequence[Mapping[str, Any]]) -> list[Diagnosis]:
        """Diagnoses of records by field, missing None, in their order."""
        if not records:
            return []
        columns = columns_of(records, self.fields)
        place = self.linear.place(columns)
        raw = self.linear.log_odds(columns, place)
        names, parts = self.linear.contributions(columns, self.centre)
        return [
            self._answer(record, raw[i : i + 1], place[i : i + 1], names, parts[i]) for i, record in enumerate(records)
        ]

    def _answer(
        self, record: Mapping[str, Any], raw: np.ndarray, place: np.ndarray, names: list[str], parts: np.ndarray
    ) -> Diagnosis:
        name = record.get("site") or self.home
        site, coverage = self.sites[name], record.get("coverage") or self.coverage
        p = float(probability(site.log_odds(raw, place))[0])
        group = str(record.get("sex") or "")
        tests = [test for bit, test in enumerate(self.linear.basis.tests) if self.linear.panels[place[0]] >> bit & 1]
        told = [i for i in np.argsort(-np.abs(parts), kind="stable")[:MOST_REASONS] if parts[i]]
        return Diagnosis.model_validate(
            promised(self.findings, p, site, name, int(place[0]), group, coverage, self.threshold)
            | {
                "reasons": [
                    Reason(
                        field=names[i],
                        label=self.labels[names[i]],
                        value=record.get(names[i]),
                        log_odds=float(parts[i]),
                    )
                    for i in told
                ],
                "tests": tests,
                "typical": None,
                "heat_map": None,
            }
            | self.common
        )

    def probabilities(self, columns: Mapping[str, np.ndarray], site: str = "") -> np.ndarray:
        """Of disease, (rows,): equal to those of the answers."""
        place = self.linear.place(columns)
        return probability(self.sites[site or self.home].log_odds(self.linear.log_odds(columns, place), place))


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


def request_type(fields: Sequence[Measurement], sites: Sequence[str], example: Any) -> type[BaseModel]:
    """One typed, bounded entry for each field; anything else is refused, and so is what looks like another unit."""
    entries: dict[str, Any] = {field.name: _entry(field) for field in fields}
    if len(sites) > 1:
        where = Field(None, description=f"Centre whose calibration and promise apply; default {sites[0]}")
        entries["site"] = (Literal[tuple(sites)] | None, where)
    wish = Field(None, gt=0.5, lt=1, description="How often the set is to hold the true finding")
    entries["coverage"] = (float | None, wish)
    extra = ConfigDict(json_schema_extra={"examples": [example]}) if example else ConfigDict()
    base = type("Request", (Strict,), {"model_config": extra})
    return create_model("Patient", __base__=base, __doc__="One patient.", **entries)


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
