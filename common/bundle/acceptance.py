"""Acceptance thresholds: those of the system, of the project's `acceptance.toml`, and those a bundle was made under."""

from __future__ import annotations

import json
import operator
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
from common.bundle.folder import Bundle
from common.config import settings
from common.errors import UsageError

if TYPE_CHECKING:
    from common.system import System

FILE = "acceptance.toml"
THRESHOLD = re.compile(r"\s*(\w+)\s*(>=|<=)\s*(-?\d+(?:\.\d+)?)\s*")
HOLDS = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Verdict:
    """A threshold, the value held against it (None when nobody measured it), and whether it is met."""

    name: str
    sign: str
    bound: float
    value: float | None

    @property
    def met(self) -> bool:
        """A metric that is unknown is not met."""
        return self.value is not None and bool(HOLDS[self.sign](self.value, self.bound))

    def __str__(self) -> str:
        value = "unknown" if self.value is None else f"{self.value:.4g}"
        return f"{self.name} is {value}, expected {self.sign} {self.bound:g}"


def parse(threshold: str) -> tuple[str, str, float]:
    """Name, sign and bound; raises `UsageError` for a threshold that is not written as `valid_auc >= 0.65`."""
    match = THRESHOLD.fullmatch(threshold)
    if match is None:
        raise UsageError("not a threshold", got=repr(threshold), expected="for example valid_auc >= 0.65")
    return match[1], match[2], float(match[3])


def verdicts(bundle: Bundle, thresholds: Sequence[str]) -> list[Verdict]:
    """Each threshold against the bundle's `metrics.json`, or else its report that `espalier evaluate` wrote here."""
    known = {**_reported(bundle), **bundle.json("metrics.json")}
    found = []
    for threshold in thresholds:
        name, sign, bound = parse(threshold)
        value = known.get(name)
        found.append(Verdict(name, sign, bound, value if isinstance(value, int | float) else None))
    return found


def unmet(bundle: Bundle, thresholds: Sequence[str]) -> list[str]:
    """The thresholds that a bundle does not meet, in words; empty when it may serve."""
    return [str(verdict) for verdict in verdicts(bundle, thresholds) if not verdict.met]


def required(system: System, bundle: Bundle) -> tuple[str, ...]:
    """All thresholds that hold for a bundle: its system's own and the project's.

    Where there is no project, as in an image, those hold that the project had when the bundle was made.
    Raises `UsageError` for an `acceptance.toml` that cannot be read.
    """
    carried = () if _files() else (bundle.manifest.model_extra or {}).get("acceptance", ())
    return tuple(dict.fromkeys((*system.acceptance, *of_project(system.name), *carried)))


def of_project(system: str) -> list[str]:
    """The project's thresholds for a system."""
    return [threshold for path in _files() for threshold in _read(path, system)]


def _read(path: Path, system: str) -> list[str]:
    try:
        known = tomllib.loads(path.read_text(encoding="utf-8")).get("thresholds", {})
        thresholds = known.get(system, [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise UsageError(f"cannot be read ({error})", where=str(path), expected="TOML with [thresholds]") from None
    if table := next((name for name, value in known.items() if isinstance(value, dict)), ""):
        expected = f'the system\'s name in quotes, such as "{table}.{next(iter(known[table]), "system")}"'
        raise UsageError("a name that is cut in two", where=str(path), got=table, expected=expected)
    if not isinstance(thresholds, list) or not all(isinstance(threshold, str) for threshold in thresholds):
        raise UsageError("not a list of thresholds", where=f"{path}: {system}", expected='for example ["auc >= 0.7"]')
    for threshold in thresholds:
        parse(threshold)
    return thresholds


def _files() -> list[Path]:
    """`acceptance.toml` of the working folder or the nearest above, and the one beside the frame."""
    above = [folder / FILE for folder in (Path.cwd() / FILE).parents if (folder / FILE).is_file()][:1]
    beside = Path(common.__file__).resolve().parents[1] / FILE
    return above + [beside] * (beside.is_file() and beside not in above)


def _reported(bundle: Bundle) -> dict[str, Any]:
    """Metrics of the report that was written on this machine."""
    manifest = bundle.manifest
    path = settings().home / "reports" / manifest.system / manifest.version / "report.json"
    try:
        return {name: metric["value"] for name, metric in json.loads(path.read_bytes())["metrics"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
