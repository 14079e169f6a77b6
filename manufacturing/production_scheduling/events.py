"""What may happen to a running plan."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from common.config import Strict
from manufacturing.production_scheduling.problem import Job


class Breakdown(Strict):
    """A machine stands still; what it does when it breaks down has to be done again."""

    kind: Literal["breakdown"] = "breakdown"
    machine: str
    start: int = Field(ge=0)
    end: int


class RushJob(Strict):
    """A job that nobody had planned."""

    kind: Literal["rush job"] = "rush job"
    job: Job


class LateMaterial(Strict):
    """An operation cannot start before a time."""

    kind: Literal["late material"] = "late material"
    job: str
    operation: str
    until: int = Field(ge=0)


Event = Annotated[Breakdown | RushJob | LateMaterial, Field(discriminator="kind")]
