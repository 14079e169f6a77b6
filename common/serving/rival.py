"""A challenger beside the champion: it answers in the shadow, or a share of the requests."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import random
from typing import TYPE_CHECKING, Any

from common.audit.recorder import SUBJECT

if TYPE_CHECKING:
    from starlette.types import Scope

    from common.serving.slot import Live


@dataclass(slots=True)
class Rival:
    """`share` 0: the shadow, which answers what the champion answered and is only put on record.

    Counts are of rows in the shadow: answered, failed, with the same decision; `apart` sums the distance of the
    probabilities.
    """

    live: Live
    share: float
    answered: int = 0
    failed: int = 0
    agreed: int = 0
    apart: float = 0.0

    def takes(self, scope: Scope) -> bool:
        """Whether this request is the challenger's: by its subject, who then always meets the same model, or by lot."""
        if not self.share:
            return False
        subject = next((value for name, value in scope["headers"] if name == SUBJECT), b"")
        lot = zlib.crc32(subject) / 2**32 if subject else random()
        return lot < self.share

    def compare(self, champion: Sequence[Any], challenger: Sequence[Any]) -> None:
        """Count the answers of both to the same rows."""
        for one, other in zip(champion, challenger, strict=True):
            self.answered += 1
            self.agreed += getattr(one, "decision", one) == getattr(other, "decision", other)
            self.apart += abs(_probability(one) - _probability(other))


def _probability(answer: Any) -> float:
    found = (value for name, value in vars(answer).items() if name.startswith("probability"))
    return float(next(found, 0.0))
