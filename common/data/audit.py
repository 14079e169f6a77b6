"""The audit of one table: what would make every later number wrong, and what one should know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pandas as pd

from common.config import Strict
from common.data.card import DatasetCard
from common.data.leak import label_leaks
from common.data.table import as_text
from common.errors import AuditError


class Finding(Strict):
    """`error` stops the work, `warning` asks for a decision, `note` is good to know."""

    level: Literal["error", "warning", "note"]
    check: str
    sentence: str


class Audit(Strict):
    """All findings about one table, errors first."""

    dataset: str
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """The findings that forbid going on."""
        return [finding for finding in self.findings if finding.level == "error"]

    def raise_on_error(self) -> None:
        """Raise `AuditError` with every error's sentence; pass when there is none."""
        if self.errors:
            raise AuditError(" ".join(finding.sentence for finding in self.errors), where=self.dataset)


def audit(frame: pd.DataFrame, card: DatasetCard) -> Audit:
    """Check a table, as `read_table` gives it, against its card and for leaks.

    Errors: row count, label counts (an inverted label is named), a column that gives the label away.
    Warnings: duplicate rows, equal rows with different labels, undocumented codes, unexpected missing cells,
    constant columns. Notes: allowed missing cells, sensitive attributes.
    """
    findings = [
        finding
        for check in (_rows, _label_counts, _leaks, _duplicates, _conflicts, _undocumented, _missing, _constant)
        for finding in check(frame, card)
    ]
    if card.sensitive:
        findings.append(_note("sensitive", f"Sensitive attributes: {', '.join(card.sensitive)}."))
    order = {"error": 0, "warning": 1, "note": 2}
    return Audit(dataset=card.id, findings=tuple(sorted(findings, key=lambda finding: order[finding.level])))


def _rows(frame: pd.DataFrame, card: DatasetCard) -> Iterator[Finding]:
    if len(frame) != card.rows:
        yield _error("rows", f"The table has {len(frame):,} rows, the card says {card.rows:,}.")


def _label_counts(frame: pd.DataFrame, card: DatasetCard) -> Iterator[Finding]:
    if not card.label_counts:
        return
    if card.target not in frame:
        yield _error("labels", f"The target {card.target} is not among the columns.")
        return
    found = {str(k): int(n) for k, n in frame[card.target].map(as_text).value_counts().sort_index().items()}
    if found == card.label_counts:
        return
    text = f"The labels of {card.target} are {_counts(found)}, the card says {_counts(card.label_counts)}"
    if _inverted(found, card):
        text += "; the label looks inverted, as if the event were written as its opposite"
    yield _error("labels", text + ".")


def _inverted(found: dict[str, int], card: DatasetCard) -> bool:
    """Two labels whose shares fit the card better when swapped; a copy of part of the rows counts too."""
    if set(found) != set(card.label_counts) or len(found) != 2:
        return False
    a, b = found
    share, declared = found[a] / (found[a] + found[b]), card.label_counts[a] / card.rows
    return abs(share - (1 - declared)) < min(abs(share - declared), 0.05)


def _leaks(frame: pd.DataFrame, card: DatasetCard) -> Iterator[Finding]:
    if card.target not in frame:
        return
    features = [name for name in card.features if name in frame]
    for name, auc in label_leaks(frame, features, frame[card.target].map(as_text).to_numpy(str)).items():
        yield _error("leak", f"Column {name} alone gives {card.target} away (AUC {auc:.3f}): is it known in time?")


def _duplicates(frame: pd.DataFrame, card: DatasetCard) -> Iterator[Finding]:
    count = int(frame.duplicated([name for name in frame if name != card.identifier]).sum())
    if count:
        without = f" when {card.identifier} is left out" if card.identifier else ""
        text = f"{_are(count, 'duplicate row')}{without}; keep equal rows on one side of a split"
        yield _warning("duplicates", f"There {text} (group_of_duplicates).")


def _conflicts(frame: pd.DataFrame, card: DatasetCard) -> Iterator[Finding]:
    features = [name for name in card.features if name in frame]
    if card.target not in frame or not features:
        return
    kinds = frame.groupby(features, dropna=False, observed=True)[card.target].nunique()
    if count := int((kinds > 1).sum()):
        groups = "group of rows has" if count == 1 else "groups of rows have"
        yield _warning("conflicts", f"{count:,} {groups} equal features but different labels.")


def _undocumented(frame: pd.DataFrame, card: DatasetCard) -> Iterator[Finding]:
    for column in card.columns:
        if column.values and column.name in frame and column.kind != "target":
            cells = frame[column.name]
            strange = cells[cells.notna() & ~cells.isin(column.codes)].value_counts().sort_index()
            if len(strange):
                codes = _counts({as_text(code): int(n) for code, n in strange.items()})
                yield _warning("undocumented", f"Column {column.name} has codes without a documented meaning: {codes}.")


def _missing(frame: pd.DataFrame, card: DatasetCard) -> Iterator[Finding]:
    for column in card.columns:
        count = int(frame[column.name].isna().sum()) if column.name in frame else 0
        if count:
            text = f"Column {column.name} has {count:,} missing {'cell' if count == 1 else 'cells'}"
            yield (
                _note("missing", f"{text}.")
                if column.missing
                else _warning("missing", f"{text}, the card allows none.")
            )


def _constant(frame: pd.DataFrame, card: DatasetCard) -> Iterator[Finding]:
    for name in frame:
        if frame[name].nunique(dropna=False) == 1:
            yield _warning("constant", f"Column {name} has the same value in every row.")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{value} ({count:,})" for value, count in counts.items())


def _are(count: int, what: str) -> str:
    return f"is 1 {what}" if count == 1 else f"are {count:,} {what}s"


def _error(check: str, sentence: str) -> Finding:
    return Finding(level="error", check=check, sentence=sentence)


def _warning(check: str, sentence: str) -> Finding:
    return Finding(level="warning", check=check, sentence=sentence)


def _note(check: str, sentence: str) -> Finding:
    return Finding(level="note", check=check, sentence=sentence)
