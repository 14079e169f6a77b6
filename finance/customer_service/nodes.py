"""What a task graph is made of: slots, and nodes that ask, confirm, call, say and go on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from common.config import Strict
from finance.customer_service.understood import Language

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Kind = Literal["amount", "currency", "date", "account", "card", "code", "choice", "text"]


class Text(Strict):
    """The same words in both languages, with the same placeholders."""

    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)

    @model_validator(mode="after")
    def _same(self) -> Self:
        if set(PLACEHOLDER.findall(self.en)) != set(PLACEHOLDER.findall(self.zh)):
            raise ValueError("the same {placeholders} in English and in Chinese")
        return self

    def of(self, language: Language) -> str:
        """The words in one language."""
        return self.en if language == "en" else self.zh

    @property
    def names(self) -> set[str]:
        """What stands in braces."""
        return set(PLACEHOLDER.findall(self.en))


class Words(Strict):
    """Words that mean a choice."""

    en: tuple[str, ...]
    zh: tuple[str, ...]


class Slot(Strict):
    """Something to be known: how it is called, asked for, and asked for again when the answer gave none."""

    kind: Kind
    title: Text
    ask: Text
    again: Text
    attempts: int = Field(3, ge=1, le=5)
    choices: dict[Name, Words] = Field(default_factory=dict)
    digits: int = Field(6, ge=3, le=12, description="of a code")
    least: float = Field(0.01, description="of an amount")
    most: float = Field(1e9, description="of an amount")
    when: Literal["past", "future", "any"] = Field("any", description="of a date; today is both")
    secret: bool = Field(False, description="never repeated, nor part of a summary")

    @model_validator(mode="after")
    def _choices(self) -> Self:
        if (self.kind == "choice") != bool(self.choices):
            raise ValueError("choices for the kind choice, and for no other")
        return self


class Form(Strict):
    """Asks for each slot that is not known yet; `gave_up` follows the last attempt."""

    do: Literal["form"]
    slots: tuple[Name, ...] = Field(min_length=1)
    then: Name
    gave_up: Name


class Confirm(Strict):
    """Reads back and waits for yes or no; a correction is read back again."""

    do: Literal["confirm"]
    text: Text
    yes: Name
    no: Name
    gave_up: Name
    attempts: int = Field(3, ge=1, le=5)


class Identify(Strict):
    """Runs the task `identity` unless the customer is known already."""

    do: Literal["identify"]
    ok: Name
    failed: Name


class Call(Strict):
    """Uses an operation: `arguments` are its own names and where their values are known by."""

    do: Literal["call"]
    operation: Name
    arguments: dict[Name, Name] = Field(default_factory=dict)
    ok: Name
    errors: dict[Name, Name]


class Branch(Strict):
    """Goes on by a value."""

    do: Literal["branch"]
    on: Name
    cases: dict[str, Name] = Field(min_length=1)
    otherwise: Name


class Lookup(Strict):
    """Answers what was asked from the bank's documents."""

    do: Literal["lookup"]
    found: Name
    nothing: Name


class Retry(Strict):
    """Forgets slots and goes back, at most `times` in one run of the task."""

    do: Literal["retry"]
    slots: tuple[Name, ...] = Field(min_length=1)
    times: int = Field(2, ge=1, le=5)
    then: Name
    gave_up: Name


class Say(Strict):
    """Tells something."""

    do: Literal["say"]
    text: Text
    then: Name


class Handoff(Strict):
    """Gives the dialogue to a person."""

    do: Literal["handoff"]
    reason: Text


class End(Strict):
    """Leaves the task."""

    do: Literal["end"]
    outcome: Literal["done", "cancelled", "failed"] = "done"


Node = Annotated[
    Form | Confirm | Identify | Call | Branch | Lookup | Retry | Say | Handoff | End,
    Field(discriminator="do"),
]


def targets(node: Any) -> Iterator[tuple[str, str]]:
    """How a node goes on, and where to."""
    for name in ("then", "gave_up", "yes", "no", "ok", "failed", "found", "nothing", "otherwise"):
        if hasattr(node, name):
            yield name, getattr(node, name)
    for name in ("errors", "cases"):
        for key, target in getattr(node, name, {}).items():
            yield f"{name}.{key}", target
