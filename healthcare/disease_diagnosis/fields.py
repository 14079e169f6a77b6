"""What a model may ask about a patient: one measurement each, its unit, its range, the test it comes from."""

from __future__ import annotations

from typing import Literal

from common.config import Strict

Member = Literal["logistic", "additive", "kernel", "boosting"]
"""Parts of the tabular ensemble."""


class OtherUnit(Strict):
    """Values of `low` up to `high` look as if they were in this unit; times `factor` they are in the field's."""

    unit: str
    low: float
    high: float
    factor: float


class Measurement(Strict):
    """One field. Numbers have a range, categories their levels, in words.

    `test` names the examination that it comes from: a model is fitted for every choice of tests that were done. What
    belongs to no test is asked of everybody. `loinc` are the codes of FHIR Observations that carry it, `codes` what
    the published file writes for each level.
    """

    name: str
    label: str
    kind: Literal["number", "category"] = "number"
    levels: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    optional: bool = False
    sensitive: bool = False
    test: str = ""
    other_units: tuple[OtherUnit, ...] = ()
    loinc: tuple[str, ...] = ()
