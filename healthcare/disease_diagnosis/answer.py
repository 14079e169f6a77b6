"""What is answered: a ranked differential, the set that keeps its promise, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, create_model

from common.bundle import Bundle
from common.config import Strict
from healthcare.disease_diagnosis import SYSTEM
from healthcare.disease_diagnosis.promise import Site


class Finding(BaseModel):
    """One entry of the differential."""

    finding: str
    probability: float
    possible: bool = Field(description="whether it is in the set that holds the true finding as often as promised")


class Reason(BaseModel):
    """What a field adds to the log-odds of the most probable disease, against the average patient of the centre."""

    field: str
    label: str
    value: float | str | None
    log_odds: float


class Verdict(BaseModel):
    """The answer to one question: findings of which one is true, the healthy one among them."""

    decision: Literal["answer", "refer"] = Field(
        description="refer: not one finding alone is left, or too costly to be wrong: a person decides"
    )
    finding: str | None = Field(description="the only finding in the set; null when the case is referred")
    why_referred: str | None
    differential: list[Finding] = Field(description="most probable first; probabilities add up to 1")
    coverage: float = Field(description="promised: how often the set holds the true finding")
    calibrated_on: str = Field(description="the labelled patients that the promise rests on")
    act: bool = Field(description="probability of disease at or above the threshold that the costs of errors give")
    threshold: float


class Diagnosis(Verdict):
    """The answer for one patient or picture."""

    model_config = ConfigDict(protected_namespaces=())

    also: list[Verdict] = Field(
        description="what may be there besides, each judged for itself, with a promise of its own and not a joint one"
    )
    reasons: list[Reason] = Field(description="what moved the probability most; empty for pictures")
    tests: list[str] = Field(description="examinations that the answer rests on, beside what is asked of everybody")
    typical: float | None = Field(description="pictures: share of chest X-rays that look less usual than this one")
    heat_map: str | None = Field(
        description="pictures: where the evidence for disease is (Grad-CAM)",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"},
    )
    intended_use: str = Field(description=SYSTEM.intended_use)
    model: str = Field(description="version of the bundle that answered")
    simulated: bool = Field(description="true: trained on simulated data, not for real decisions")


def request_type(name: str, about: str, entries: dict[str, Any], bundle: Bundle) -> type[BaseModel]:
    """What a bundle asks for: these entries and the wish for a coverage; its first golden example is shown."""
    examples = bundle.examples() if "examples.jsonl" in bundle.manifest.files else []
    shown = ConfigDict(json_schema_extra={"examples": [examples[0]["request"]]}) if examples else ConfigDict()
    base = type("Request", (Strict,), {"model_config": shown})
    wish = Field(None, gt=0.5, lt=1, description="How often the set is to hold the true finding")
    return create_model(name, __base__=base, __doc__=about, **entries | {"coverage": (float | None, wish)})


def promised(
    findings: Sequence[str],
    chances: np.ndarray,
    site: Site,
    name: str,
    place: int,
    group: str,
    coverage: float,
    threshold: float,
) -> Verdict:
    """What follows from the probabilities of the findings (findings,), the healthy one first, at a site.

    One finding alone is answered, unless it is the healthy one and the costs of errors say that one should act.
    """
    limit, patients, own = site.limit(coverage, place, group)
    possible = site.sets(chances[None], coverage, np.array([place]), np.array([group]))[0]
    ill = 1 - float(chances[0])
    why = None
    if limit >= 1:
        why = f"{patients} labelled patients cannot promise {coverage:.0%}"
    elif possible.sum() > 1:
        why = f"{possible.sum()} findings cannot be ruled out at a coverage of {coverage:.0%}"
    elif not possible.any():
        why = f"no finding is sure enough at a coverage of {coverage:.0%}"
    elif possible[0] and ill >= threshold:
        why = f"disease is improbable, but at {ill:.0%} too costly to miss"
    where = " of ".join(part for part in (f"{patients} patients", name) if part)
    ranked = np.argsort(-chances, kind="stable")
    return Verdict(
        decision="refer" if why else "answer",
        finding=None if why else findings[int(np.argmax(possible))],
        why_referred=why,
        differential=[
            Finding(finding=findings[i], probability=float(chances[i]), possible=bool(possible[i])) for i in ranked
        ],
        coverage=coverage,
        calibrated_on=where + (f", {own}" if own else ""),
        act=ill >= threshold,
        threshold=threshold,
    )
