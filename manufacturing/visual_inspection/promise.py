"""What a calibration can promise, and what operators have told of it since."""

from __future__ import annotations

from pydantic import BaseModel, Field

from common.errors import EspalierError
from common.evaluation.conformal import Calibration
from manufacturing.visual_inspection import SYSTEM

PER_1000 = (1, 2, 5, 10, 20, 50, 100, 200)
LABELS = ("false_alarm", "missed", "confirmed")
"""What an operator may say of a decision by `POST /v1/feedback`: two ways of being wrong, and right."""


class Promise(BaseModel):
    """A promise and the score above which it raises an alarm."""

    false_alarms_per_1000: float
    threshold: float


class Measured(BaseModel):
    """What is on record of the model that serves."""

    inspected: int = Field(description="parts it has decided on")
    labels: dict[str, int] = Field(description="what operators said of its decisions")
    false_alarms_per_1000: float = Field(description="labelled false alarms among all inspected: a lower bound")


class Promises(BaseModel):
    """What can be promised."""

    default: Promise
    lowest_false_alarms_per_1000: float = Field(description="no request can ask for less; more good parts lower it")
    calibration_parts: int
    table: list[Promise]
    measured: Measured | None = Field(description="null: nothing is on record")


def table(calibration: Calibration, promised: float, told: Measured | None) -> Promises:
    """The usual promises that a calibration can keep, and the lowest."""
    lowest = 1000 * calibration.lowest_rate
    kept = sorted({lowest, promised, *(k for k in PER_1000 if k > lowest)})
    found = {k: Promise(false_alarms_per_1000=k, threshold=calibration.threshold(k / 1000)) for k in kept}
    return Promises(
        default=found[promised],
        lowest_false_alarms_per_1000=lowest,
        calibration_parts=calibration.parts,
        table=list(found.values()),
        measured=told,
    )


def measured(version: str) -> Measured | None:
    """Decisions and labels of a version in the audit store; nothing when there are none or it does not answer."""
    from common.audit.setup import open_store
    from common.config import settings

    if not settings().audit:
        return None
    store = open_store(settings())
    try:
        inspected, labels = store.tally(SYSTEM.name, version)
    except EspalierError:
        return None
    finally:
        store.close()
    if not inspected:
        return None
    given = {name: dict(labels).get(name, 0) for name in LABELS}
    return Measured(inspected=inspected, labels=given, false_alarms_per_1000=1000 * given["false_alarm"] / inspected)
