"""What a feature says, for a person who decides on an alert."""

from __future__ import annotations

import re

import numpy as np
from pydantic import BaseModel, Field

from finance.fraud_detection.definition import Definition

MOST = 4
PHRASES = {
    "amount": "amount",
    "hour": "hour of the day",
    "weekday": "day of the week",
    "count": "transactions of this {} in {}",
    "mean": "mean amount of this {} in {}",
    "ratio": "amount against the mean of this {} in {}",
    "deviation": "deviations above the usual amount of this {}",
    "largest": "largest amount of this {}",
    "since_last": "seconds since the last transaction of this {}",
    "velocity": "pace of this {} against its usual one",
    "known": "transactions of this {} with a known label in {}",
    "frauds": "known frauds of this {} in {}",
    "risk": "share of known frauds of this {} in {}",
    "since_fraud": "hours since the last known fraud of this {}",
    "since_first_fraud": "hours since the first known fraud of this {}",
    "sequence": "latest transactions of this {}, one after the other",
    "good_since_fraud": "known good transactions of this {} since its last known fraud",
}
NAME = re.compile(
    rf"(?P<entity>\w+?)_(?P<what>{'|'.join(sorted(PHRASES, key=len, reverse=True))})(?:_(?P<window>\w+))?"
)


class Reason(BaseModel):
    """A feature that speaks for fraud."""

    feature: str
    says: str = Field(description="the feature in words")
    value: float | None = Field(description="null: not known, or no number")
    adds: float = Field(description="to the log-odds of fraud, against the average transaction")


def says(feature: str) -> str:
    """`terminal_risk_7d` as `share of known frauds of this terminal in 7d`."""
    if feature in PHRASES:
        return PHRASES[feature]
    found = NAME.fullmatch(feature)
    if found:
        return PHRASES[found["what"]].format(found["entity"], found["window"])
    entity, partners, window = feature.rsplit("_", 2)
    return f"different {partners} of this {entity} in {window}"


def strongest(definition: Definition, x: np.ndarray, adds: np.ndarray) -> list[Reason]:
    """What adds most, at most `MOST`: features of x (features,), and the earlier transactions (`adds` has one more)."""
    names, values = [*definition.names, f"{definition.entities[0]}_sequence"], [*x.tolist(), np.nan]
    order = [i for i in np.argsort(-adds, kind="stable")[:MOST] if adds[i] > 0]
    return [
        Reason(
            feature=names[i],
            says=says(names[i]),
            value=None if np.isnan(values[i]) else values[i],
            adds=round(float(adds[i]), 4),
        )
        for i in order
    ]
