"""What a field means for lending: its order, the direction of risk, whether an applicant can change it."""

from __future__ import annotations

from typing import Any, Literal

from common.config import Strict
from finance.credit_scoring.additive import Value


class CreditField(Strict):
    """One field of an application, raw or derived by a formula.

    `risk` is +1 when more of it means more risk, -1 when less, 0 when open; for a category it goes by
    the order of `levels` (when `ordered`). `change` says what an applicant can do about it, `not_advised` which
    levels are no advice (such as having no account).
    """

    name: str
    label: str
    kind: Literal["number", "category"] = "number"
    levels: tuple[Any, ...] = ()
    ordered: bool = False
    minimum: float | None = None
    maximum: float | None = None
    integer: bool = False
    optional: bool = False
    sensitive: bool = False
    risk: Literal[-1, 0, 1] = 0
    change: Literal["no", "any", "lower", "higher"] = "no"
    not_advised: tuple[Any, ...] = ()
    formula: str = ""
    special: tuple[float, ...] = ()

    def rank(self, value: Value) -> float:
        """Position of a level in the declared order."""
        return float(self.levels.index(value))
