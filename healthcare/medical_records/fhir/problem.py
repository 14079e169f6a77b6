"""What is wrong with a document, as one sentence for a person: where, what, what was got and what was expected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

MOST_SHOWN = 60
"""Characters of a value that a problem repeats."""


@dataclass(frozen=True)
class Problem:
    """One fault. `path` is FHIRPath-like: `Bundle.entry[3].resource.name[0].family`, or a line of a file.

    A `warning` breaks no rule of FHIR but may not be what was meant: a reference that leads out of the bundle.
    """

    path: str
    what: str
    got: str = ""
    expected: str = ""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """The sentence."""
        facts = [f"{name} {value}" for name, value in (("got", self.got), ("expected", self.expected)) if value]
        return f"{self.path}: {self.what}{': ' if facts else ''}{', '.join(facts)}."

    def place(self) -> str:
        """Where and what, without any value of the document: for logs, which hold nothing of a patient."""
        return f"{self.path}: {self.what}."


def shown(value: Any) -> str:
    """A value as a problem repeats it: its JSON kind, and the value itself if it is short."""
    if isinstance(value, dict):
        return f"an object with {', '.join(list(value)[:4]) or 'nothing in it'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return repr(value) if len(value) <= MOST_SHOWN else f"{value[:MOST_SHOWN]!r}... ({len(value)} characters)"
    return f"the number {str(value)[:MOST_SHOWN]}"


def outcome(problems: Iterable[Problem]) -> dict[str, Any]:
    """The problems as FHIR says them to another program: an OperationOutcome, one issue each."""
    issues = [
        {"severity": each.severity, "code": "invalid", "diagnostics": str(each), "expression": [each.path]}
        for each in problems
    ]
    fine = {"severity": "information", "code": "informational", "diagnostics": "Nothing is wrong with it."}
    return {"resourceType": "OperationOutcome", "issue": issues or [fine]}
