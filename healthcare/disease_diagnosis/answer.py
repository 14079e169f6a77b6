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

    decision: Literal["answer", "refer"] = Field(
        description="refer: not one finding alone is left, or too costly to be wrong: a person decides"
    )
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
    findings: Sequence[str],
    p: float,
    site: Site,
    name: str,
    place: int,
    group: str,
    coverage: float,
    threshold: float,
) -> dict[str, object]:
    """The part of the answer that follows from the probability of disease `p` at a site, in a subgroup.

    One finding alone is answered, unless it is the healthy one and the costs of errors say that one should act.
    """
    limit, patients, own = site.limit(coverage, place, group)
    possible = site.sets(np.array([p]), coverage, np.array([place]), np.array([group]))[0].tolist()
    ranked = sorted(
        (
            Finding(finding=finding, probability=chance, possible=left)
            for finding, chance, left in zip(findings, (1 - p, p), possible, strict=True)
        ),
        key=lambda entry: -entry.probability,
    )
    why = None
    if limit >= 1:
        why = f"{patients} labelled patients cannot promise {coverage:.0%}"
    elif all(possible):
        why = f"neither finding can be ruled out at a coverage of {coverage:.0%}"
    elif not any(possible):
        why = f"neither finding is sure enough at a coverage of {coverage:.0%}"
    elif possible[0] and p >= threshold:
        why = f"{findings[1]} is improbable, but at {p:.0%} too costly to miss"
    where = " of ".join(part for part in (f"{patients} patients", name) if part)
    return {
        "decision": "refer" if why else "answer",
        "finding": None if why else findings[possible.index(True)],
        "why_referred": why,
        "differential": ranked,
        "coverage": coverage,
        "calibrated_on": where + (f", {own}" if own else ""),
        "act": p >= threshold,
        "threshold": threshold,
    }
