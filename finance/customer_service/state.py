"""The state of a dialogue, as it is kept between two messages, and what one message is answered."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from finance.customer_service.understood import Language

Outcome = Literal["", "done", "handoff"]


class Frame(BaseModel):
    """A task under way. `waiting`: the slot that was asked for, "yes" for a confirmation, "" for neither."""

    model_config = ConfigDict(extra="forbid")

    task: str
    node: str
    serial: int
    slots: dict[str, str] = {}
    known: dict[str, str] = Field(default_factory=dict, description="what operations gave")
    used: list[str] = Field([], description="slots that an operation has got: too late to correct")
    waiting: str = ""
    tries: int = 0
    retries: dict[str, int] = {}
    confirmed: bool = False


class State(BaseModel):
    """All of a dialogue. The last frame is the task at hand; those below wait for it."""

    model_config = ConfigDict(extra="forbid")

    language: Language = "en"
    frames: list[Frame] = []
    queue: list[str] = Field([], description="tasks asked for at once with another")
    offered: list[str] = Field([], description="intents to choose from")
    customer: str = Field("", description="who asks, once that is known")
    refused: int = Field(0, description="in a row")
    ended: Outcome = ""
    serial: int = Field(0, description="tasks begun")
    said: list[str] = Field([], description="the customer's last messages, masked")
    troubles: list[str] = Field([], description="operations that failed, and how")


class Reply(BaseModel):
    """The answer to one message. `awaits`: "" (nothing), "yes", "choice" or the slot asked for as `task.slot`."""

    model_config = ConfigDict(extra="forbid")

    texts: list[str]
    awaits: str = ""
    options: list[str] = Field([], description="answers to choose from")
    language: Language = "en"
    ended: Outcome = ""
