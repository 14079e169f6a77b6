"""How well assertion is read: the sentences of NegEx and ConText, `negex-context-sentences`.

Protocol `all`: all 2,376 rows of `Annotations-1-120.txt` (concept and sentence of 116 reports), duplicates counted as
they stand; a row is right when "negated" is what the annotators said. Our triggers were written on the reports whose
number n has (n - 1) // 6 even (reports come in blocks of six kinds); protocol `unseen` is the other half, without the
rows whose sentence also stands in the first. It is unseen by us alone: we also know the published trigger list, which
its authors made on all of these sentences. Intervals draw whole reports. The concept is written in capitals in its
sentence: these say where it stands, then they are lower-cased.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import SchemaError
from common.evaluation.metrics import bootstrap, f1
from common.evaluation.report import Metric
from healthcare.medical_records.assertion import assertions_of
from healthcare.medical_records.spans import Assertion

ANNOTATIONS, CONTEXT = "Annotations-1-120.txt", "rsAnnotations-1-120-random.txt"
_COLUMNS = {ANNOTATIONS: 4, CONTEXT: 6}


@dataclass(frozen=True)
class Row:
    """One concept in its sentence; one file of the set says the `report` (else 0), the other the `temporality`."""

    concept: str
    sentence: str
    negated: bool
    report: int = 0
    temporality: str = ""


def evaluate_assertion(files: Mapping[str, Path]) -> dict[str, dict[str, Metric]]:
    """By protocol (`all`, `unseen`, `written_on`, `temporality`): f1, precision, recall and accuracy with intervals.

    `files` is what `fetch` gives for the card. `temporality` is the F1 of "historical" against recent and hypothetical,
    on all rows, with nothing to go by but the sentence. Raises `SchemaError` for another table.
    """
    rows = read_rows(files[ANNOTATIONS])
    truth = np.array([row.negated for row in rows], dtype=float)
    found = np.array([said_of(row).negated for row in rows], dtype=float)
    reports = np.array([row.report for row in rows])
    seen = written_on(rows)
    known = {_plain(row.sentence) for row, mine in zip(rows, seen, strict=True) if mine}
    unseen = ~seen & np.array([_plain(row.sentence) not in known for row in rows])
    scored = {
        name: metrics_of(truth[mask], found[mask], reports[mask])
        for name, mask in (("all", truth >= 0), ("unseen", unseen), ("written_on", seen))
    }
    timed = read_rows(files[CONTEXT])
    past = np.array([row.temporality == "Historical" for row in timed], dtype=float)
    said = np.array([said_of(row).temporality == "historical" for row in timed], dtype=float)
    groups = np.unique([_plain(row.sentence) for row in timed], return_inverse=True)[1]
    return scored | {"temporality": metrics_of(past, said, groups)}


def read_rows(path: Path) -> list[Row]:
    """The rows of either file of the set."""
    lines = path.read_bytes().decode("latin-1").split("\n")[1:]
    rows = []
    for number, line in enumerate(filter(None, (line.rstrip("\r") for line in lines)), 2):
        cells = line.split("\t")
        if len(cells) != _COLUMNS.get(path.name, 4) or cells[3] not in ("Affirmed", "Negated"):
            where = f"{path}, line {number}"
            raise SchemaError(
                "not a row of this set",
                where=where,
                got=f"{len(cells)} cells",
                expected="Affirmed or Negated in the fourth",
            )
        report = int(cells[0]) if path.name == ANNOTATIONS else 0
        rows.append(Row(cells[1].strip('" '), cells[2], cells[3] == "Negated", report, *cells[4:5]))
    return rows


def written_on(rows: Sequence[Row]) -> np.ndarray:
    """bool (rows,): whether the triggers were written with the row's report in sight."""
    return np.array([(row.report - 1) // 6 % 2 == 0 for row in rows])


def said_of(row: Row) -> Assertion:
    """What our rules make of the mention in capitals that is no header, else of the first, else of the concept."""
    pattern = r"\s+".join(map(re.escape, row.concept.split()))
    marked = [match.span() for match in re.finditer(pattern, row.sentence, re.IGNORECASE)]
    capitals = [(start, end) for start, end in marked if row.sentence[start:end].isupper()] or marked
    mentions = [span for span in capitals if not re.match(r"\s*:", row.sentence[span[1] :])] or capitals
    if not mentions:
        return assertions_of(row.concept.lower(), [(0, len(row.concept))])[0]
    start, end = place = mentions[0]
    text = row.sentence[:start] + row.sentence[start:end].lower() + row.sentence[end:]
    return assertions_of(text, [place])[0]


def metrics_of(truth: np.ndarray, found: np.ndarray, groups: np.ndarray) -> dict[str, Metric]:
    """f1, precision, recall and accuracy of labels 0/1, all arrays (rows,); intervals draw whole groups."""
    measures = {"f1": f1, "precision": _precision, "recall": _recall, "accuracy": _accuracy}
    return {name: bootstrap(truth, found, measure, groups=groups) for name, measure in measures.items()}


def _precision(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None = None) -> float:
    own = (np.ones(len(y)) if weight is None else weight)[p > 0]
    return float(np.average(y[p > 0], weights=own)) if own.sum() > 0 else 0.0


def _recall(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None = None) -> float:
    return _precision(p, y, weight)


def _accuracy(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None = None) -> float:
    return float(np.average(y == p, weights=weight))


def _plain(sentence: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", sentence.lower())
