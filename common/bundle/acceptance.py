"""A system's acceptance thresholds, held against the `metrics.json` of a bundle."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence

from common.bundle.folder import Bundle
from common.errors import UsageError

THRESHOLD = re.compile(r"\s*(\w+)\s*(>=|<=)\s*(-?\d+(?:\.\d+)?)\s*")
HOLDS = {">=": operator.ge, "<=": operator.le}


def unmet(bundle: Bundle, thresholds: Sequence[str]) -> list[str]:
    """The thresholds, such as `valid_auc >= 0.65`, that a bundle does not meet, in words; empty when it may serve.

    A metric that the bundle lacks is not met. Raises `UsageError` for a threshold that is not written so.
    """
    metrics, missed = bundle.json("metrics.json"), []
    for threshold in thresholds:
        match = THRESHOLD.fullmatch(threshold)
        if match is None:
            raise UsageError("not a threshold", got=repr(threshold), expected="for example valid_auc >= 0.65")
        name, sign, bound = match.groups()
        value = metrics.get(name)
        if not isinstance(value, int | float) or not HOLDS[sign](value, float(bound)):
            missed.append(f"{name} is {'unknown' if value is None else f'{value:.4g}'}, expected {sign} {bound}")
    return missed
