"""What is watched for and what was found, as records that go to JSON and back."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from common.config import Strict

AlarmKind = Literal[
    "input_drift",
    "prediction_drift",
    "missing",
    "out_of_range",
    "unseen",
    "constant",
    "performance",
    "calibration",
]


PREDICTIONS = ("score", "probability")  # what answers are usually called in a reference


class MonitorPolicy(Strict):
    """When a difference is an alarm: it must be large (the limits) and no accident (`alpha`).

    `alpha` is the declared false-alarm rate: with nothing changed, at most this share of windows has any drift
    alarm, however many fields there are, and again at most this share has any data-quality alarm.
    """

    alpha: float = Field(0.01, gt=0, lt=1, description="error rate per window, after correction for many fields")
    min_rows: int = Field(200, ge=2, description="fewer rows are not judged")
    psi: float = Field(0.25, ge=0, description="drift from this PSI up (Siddiqi's rule of thumb: shifted)")
    missing: float = Field(0.05, ge=0, description="share missing, over that of the reference")
    out_of_range: float = Field(0.01, ge=0, description="share outside the range of the reference")
    unseen: float = Field(0.01, ge=0, description="share of categories that training never saw")
    min_labels: int = Field(100, ge=2, description="fewer labels are not judged")
    drop: float = Field(0.05, ge=0, description="AUC or accuracy below the bundle's by this much; errors: relative")
    calibration: float = Field(1.25, gt=1, description="observed over predicted events, or its inverse, from this up")
    skip: tuple[str, ...] = Field((), description="fields not looked at, such as those the audit log masks")


class Alarm(Strict):
    """One thing that is wrong, in numbers and in a sentence for a person."""

    kind: AlarmKind
    field: str
    value: float
    limit: float
    sentence: str


class FieldReport(Strict):
    """One field of the reference against this window. Shares are fractions of the window's rows."""

    name: str
    role: Literal["input", "prediction"]
    psi: float = Field(description="missing is a bin of its own, as in common.evaluation.stability")
    verdict: Literal["stable", "moving", "shifted"]
    test: Literal["ks", "chi2"] = Field(description="on known values: KS for numbers, chi-square for levels")
    statistic: float
    p: float
    adjusted_p: float = Field(description="Benjamini-Hochberg over all fields of the window")
    missing: float
    out_of_range: float | None = Field(description="None where the reference has no range")
    unseen: float | None = Field(description="None where the reference has no complete list of levels")
    constant: bool
    shares: list[float] = Field(description="of the bins of the reference, without the missing")


class Measured(Strict):
    """A live metric with its 95 % interval, and what the bundle promised."""

    name: str
    value: float
    low: float
    high: float
    baseline: float | None = None


class Performance(Strict):
    """How right the model was on the rows whose label has come back."""

    n: int
    task: Literal["binary", "class", "number"]
    metrics: list[Measured]
    observed: float | None = Field(None, description="binary: rate of events")
    predicted: float | None = Field(None, description="binary: mean probability")


class MonitorReport(Strict):
    """One window of one model. Not `judged`: too few rows for anything but the numbers themselves."""

    system: str = ""
    version: str = ""
    since: datetime | None = None
    until: datetime | None = None
    n: int = Field(description="rows compared")
    seen: int = Field(description="rows that passed, of which n were sampled")
    judged: bool
    fields: list[FieldReport]
    performance: Performance | None = None
    alarms: list[Alarm]
