"""Old decisions decided again: what an updated bundle changes, against what operators said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from common.audit.setup import open_store
from common.audit.store import Store
from common.config import settings
from common.errors import DataError
from common.progress import console
from common.vision.images import decode_grey, from_base64
from manufacturing.visual_inspection import SYSTEM
from manufacturing.visual_inspection.serve import InspectionPredictor

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
DEFECTIVE = {"false_alarm": False, "good": False, "missed": True, "defective": True}
"""What is true of a part with a label."""
RIGHT = "confirmed"
"""The label of an operator that agrees; what is true is then what the verdict on record says."""
CALIBRATION = "calibration"
SHOWN = 40


@dataclass(frozen=True)
class Case:
    """A picture uint8 (height, width), what an operator said of it, and whether it is defective where one knows."""

    name: str
    picture: np.ndarray
    label: str = ""
    defective: bool | None = None


@dataclass(frozen=True)
class Decided:
    """One picture decided by both bundles, each at its own promise."""

    file: str
    old: bool
    new: bool
    old_score: float
    new_score: float
    label: str
    against_label: bool
    told: bool

    @property
    def flipped(self) -> bool:
        """Whether the verdicts differ."""
        return self.old != self.new


@dataclass
class Regression:
    """The decisions of an old and a new predictor; kept are the flips, and the pictures of the feedback."""

    old: InspectionPredictor
    new: InspectionPredictor
    compared: int = 0
    kept: list[Decided] = field(default_factory=list)

    def decide(self, case: Case, *, told: bool = False) -> None:
        """Decide on a picture with both; `told`: it is what the update is about."""
        scores = [one.measure(case.picture)[0] for one in (self.old, self.new)]
        self._note(case.name, scores, case.label, case.defective, told)

    def calibration(self, names: Sequence[str]) -> None:
        """The calibration parts, whose scores both have already. They are good, and some raise an alarm by promise."""
        for name, *scores in zip(names, self.old.calibration.score, self.new.calibration.score, strict=True):
            self._note(name, scores, CALIBRATION, None)

    def metrics(self) -> dict[str, int]:
        """Counts for acceptance thresholds; `flipped_against_label` are those that an operator's label calls wrong."""
        flips = [one for one in self.kept if one.flipped]
        alarms, missed = ([d for d in self.kept if d.told and d.label == label] for label in ("false_alarm", "missed"))
        return {
            "decisions_compared": self.compared,
            "flipped": len(flips),
            "flipped_against_label": sum(one.against_label for one in flips),
            "flipped_calibration": sum(one.label == CALIBRATION for one in flips),
            "false_alarms_told": len(alarms),
            "false_alarms_passed": sum(not one.new for one in alarms),
            "missed_told": len(missed),
            "missed_caught": sum(one.new for one in missed),
        }

    def json(self, asks: Mapping[str, float], limit: float) -> bytes:
        """The table with its counts, and the promise that each missed part asks for."""
        missed = [{"file": name, "false_alarms_per_1000": k, "within_limit": k <= limit} for name, k in asks.items()]
        promises = {"old": self.old.promised, "new": self.new.promised, "limit": limit}
        content: dict[str, Any] = {"base": self.old.version, "false_alarms_per_1000": promises, "missed": missed}
        return json.dumps(content | self.metrics() | {"decisions": [asdict(d) for d in self.kept]}, indent=1).encode()

    def _note(self, name: str, scores: Sequence[float], label: str, defective: bool | None, told: bool = False) -> None:
        before, after = (
            bool(score > one.threshold(one.promised)) for one, score in zip((self.old, self.new), scores, strict=True)
        )
        self.compared += 1
        if before != after or told:
            wrong = defective is not None and before != after and after != defective
            self.kept.append(Decided(name, before, after, float(scores[0]), float(scores[1]), label, wrong, told))


def cases(source: str, latest: int = 0) -> Iterator[Case]:
    """Those of a folder, or with `audit` the labelled decisions on record and the `latest` of the others."""
    return _on_record(latest) if source == "audit" else _in_folder(source)


def _in_folder(folder: str) -> Iterator[Case]:
    """Pictures below a folder, in order of their paths; the names `false_alarm`, `missed`, `good` and `defective` of
    subfolders are labels. Raises `DataError` without any, `InvalidRequest` naming a file that is no picture."""
    root = Path(folder)
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in PICTURES)
    if not files:
        raise DataError("no pictures here", where=folder, expected="false_alarm/*.png and missed/*.png")
    for file in files:
        name = file.relative_to(root)
        label = name.parts[0] if name.parts[0] in DEFECTIVE else ""
        yield Case(str(name), decode_grey(file.read_bytes(), str(file)), label, DEFECTIVE.get(label))


def _on_record(latest: int) -> Iterator[Case]:
    """Decisions with their pictures, oldest first; a shadow's are its champion's again and left out.

    So are those of which the audit log keeps hashes only, as it does with ESPALIER_AUDIT_INPUTS=hashed.
    """
    store = open_store(settings())
    try:
        names = [row["decision_id"] for row in _readable(store)]
        recent = set(names[len(names) - min(latest, len(names)) :])
        for row in _readable(store):
            name, label = row["decision_id"], str(row["label"] or "")
            if label or name in recent:
                grey = decode_grey(from_base64(row["inputs"]["picture"], name), name)
                yield Case(name, grey, label, row["output"]["defective"] if label == RIGHT else DEFECTIVE.get(label))
    finally:
        store.close()


def _readable(store: Store) -> Iterator[dict[str, Any]]:
    for row in store.export(SYSTEM.name):
        if row["role"] != "shadow" and not row["inputs"]["picture"].startswith("#"):
            yield row


def show(found: Regression, asks: Mapping[str, float], limit: float) -> None:
    """The table of flips and feedback on stderr, and a sentence about each missed part."""
    counts = found.metrics()
    title = f"{counts['flipped']} of {counts['decisions_compared']} decisions flipped, "
    title += f"{counts['flipped_against_label']} against an operator's label"
    table = Table("file", "label", "old", "new", "old score", "new score", title=title)
    for one in sorted(found.kept, key=lambda one: (not one.against_label, not one.told, one.file))[:SHOWN]:
        verdicts = ["defective" if verdict else "good" for verdict in (one.old, one.new)]
        style = "bold red" if one.against_label else "bold" if one.flipped else ""
        table.add_row(one.file, one.label, *verdicts, f"{one.old_score:.2f}", f"{one.new_score:.2f}", style=style)
    console.print(table)
    for name, promise in asks.items():
        told = "catches it" if promise <= limit else f"would catch it: no threshold within {limit:g} does"
        console.print(f"{name}: a promise of {promise:.3g} false alarms per 1,000 {told}.", soft_wrap=True)
    if found.new.promised != found.old.promised:
        console.print(f"The promise goes from {found.old.promised:.3g} to {found.new.promised:.3g} per 1,000.")
    if stay := counts["false_alarms_told"] - counts["false_alarms_passed"]:
        console.print(f"{stay} of {counts['false_alarms_told']} false alarms stay: the memory alone cannot undo them.")
