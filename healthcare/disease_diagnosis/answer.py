"""What is answered: a ranked differential, the set that keeps its promise, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from healthcare.disease_diagnosis.promise import Site


class Finding(BaseModel):
    """One entry of the differential."""

    finding: str
    probability: float
    possible: bool = Field(description="whether it is in the set that holds the true finding as often as promised")


class Reason(BaseModel):
    """What a field adds to the log-odds of disease, against the average patient of the training centre."""

    field: str
    label: str
    value: float | str | None
    log_odds: float


class Diagnosis(BaseModel):
    """The answer for one patient or picture."""

    model_config = ConfigDict(protected_namespaces=())

    decision: Literal["answer", "refer"] = Field(description="refer: not one finding alone is left, a person decides")
    finding: str | None = Field(description="the only finding in the set; null when the case is referred")
    why_referred: str | None
    differential: list[Finding] = Field(description="most probable first")
    coverage: float = Field(description="promised: how often the set holds the true finding")
    calibrated_on: str = Field(description="the labelled patients that the promise rests on")
    act: bool = Field(description="probability of disease at or above the threshold that the costs of errors give")
    threshold: float
    reasons: list[Reason] = Field(description="what moved the probability most; empty for pictures")
    tests: list[str] = Field(description="examinations that the answer rests on, beside what is asked of everybody")
    typical: float | None = Field(description="pictures: share of chest X-rays that look less usual than this one")
    heat_map: str | None = Field(
        description="pictures: where the evidence for disease is (Grad-CAM)",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"},
    )
    intended_use: str
    model: str = Field(description="version of the bundle that answered")
    simulated: bool = Field(description="true: trained on simulated data, not for real decisions")


def promised(
    findings: Sequence[str], p: float, site: Site, name: str, place: int, group: str, coverage: float
) -> dict[str, object]:
    """The part of the answer that follows from the probability of disease `p` at a site, in a subgroup."""
    limit, patients, own = site.limit(coverage, place, group)
    possible = site.sets(np.array([p]), coverage, np.array([place]), np.array([group]))[0].tolist()
    chances = [1 - p, p]
    ranked = sorted(
        (Finding(finding=f, probability=c, possible=s) for f, c, s in zip(findings, chances, possible, strict=True)),
        key=lambda entry: -entry.probability,
    )
    only = ranked[0].finding if sum(possible) == 1 else None
    why = None
    if only is None:
        many = f"{patients} labelled patients cannot promise {coverage:.0%}" if limit >= 1 else "no finding can be ruled out"
        why = f"{many if all(possible) else 'no finding fits'} at a coverage of {coverage:.0%}"
        why = many if limit >= 1 and all(possible) else why
    where = " of ".join(part for part in (f"{patients} patients", name) if part)
    return {
        "decision": "answer" if only else "refer",
        "finding": only,
        "why_referred": why,
        "differential": ranked,
        "coverage": coverage,
        "calibrated_on": where + (f", {own}" if own else ""),
    }
