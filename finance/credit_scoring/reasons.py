"""Why this score: adverse-action reasons, and the smallest change that would have been approved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from typing import Any

from pydantic import BaseModel, Field

from finance.credit_scoring.additive import AdditiveModel, Value
from finance.credit_scoring.fields import CreditField

MOST_REASONS = 4  # Regulation B, comment 9(b)(2): more than four reasons is not likely to be helpful

NEAREST = 24


class Reason(BaseModel):
    """One field that cost points; `points` is against the average applicant, so it is negative."""

    field: str = Field(description="reason code: the field, raw or derived")
    label: str
    value: float | int | str | None
    points: float


class Change(BaseModel):
    """One field that would have to differ."""

    field: str
    label: str
    value: float | int | str | None
    suggested: float | int | str


def adverse_reasons(
    model: AdditiveModel, labels: Mapping[str, str], record: Mapping[str, Value], contributions: Sequence[int]
) -> list[Reason]:
    """At most four fields in the order of points lost against the average applicant."""
    lost = sorted((points, i) for i, points in enumerate(contributions) if points < 0)[:MOST_REASONS]
    found = []
    for points, i in lost:
        field = model.fields[i]
        found.append(
            Reason.model_construct(
                field=field, label=labels[field], value=_plain(record[field]), points=points / model.resolution
            )
        )
    return found


def counterfactual(
    model: AdditiveModel,
    fields: Sequence[CreditField],
    record: Mapping[str, Value],
    complete: Callable[[Mapping[str, Value]], Mapping[str, Value]],
    cutoff: float,
    most_changes: int = 2,
) -> list[Change] | None:
    """The fewest changes to changeable fields that reach the cut-off, or None when `most_changes` are not enough.

    Among equally few changes the one that overshoots least. `complete` adds derived fields to a raw record.
    Candidate values are the edges of the model's own bins, in the direction the applicant can move.
    """
    options = {f.name: _options(model, f, fields, record) for f in fields if f.change != "no"}
    options = {name: values for name, values in options.items() if values}
    by_name = {field.name: field for field in fields}
    needed = cutoff * model.resolution

    def score(changes: Mapping[str, Any]) -> int:
        return model.score_one(complete({**record, **changes}))[0]

    for count in range(1, most_changes + 1):
        found: tuple[int, dict[str, Any]] | None = None
        for names in combinations(options, count):
            for values in _grid([options[name] for name in names]):
                changes = dict(zip(names, values, strict=True))
                reached = score(changes)
                if reached >= needed and (found is None or reached < found[0]):
                    found = (reached, changes)
        if found:
            return [
                Change(field=n, label=by_name[n].label, value=_plain(record[n]), suggested=value)
                for n, value in found[1].items()
            ]
    return None


def _options(
    model: AdditiveModel, field: CreditField, fields: Sequence[CreditField], record: Mapping[str, Value]
) -> list[Any]:
    """Values worth trying: other levels, or one value in each other bin on the side the applicant can move to."""
    value = record[field.name]
    if field.kind == "category":
        return [level for level in field.levels if level != value and level not in field.not_advised]
    if value is None:
        return []
    current = float(value)
    edges = {cut for axis in model.axes if axis.field == field.name for cut in axis.cuts}
    if any(field.name in other.formula for other in fields if other.formula):
        edges |= {current * share for share in (0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.5, 2.0)}
    step = 1.0 if field.integer else max(abs(current) * 1e-3, 0.01)
    tried = {_round(edge, field) for edge in edges} | {_round(edge - step, field) for edge in edges}
    low = -float("inf") if field.minimum is None else field.minimum
    high = float("inf") if field.maximum is None else field.maximum
    low = max(low, current) if field.change == "higher" else low
    high = min(high, current) if field.change == "lower" else high
    return sorted((v for v in tried if low <= v <= high and v != current), key=lambda v: abs(v - current))


def _round(value: float, field: CreditField) -> float | int:
    """An integer field gets the next whole number, money and shares two decimals: values a person can act on."""
    return -int(-value // 1) if field.integer else round(value, 2)


def _grid(lists: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """All combinations; of two fields only the `NEAREST` values of each, for time grows with their product."""
    if len(lists) == 1:
        return [(value,) for value in lists[0]]
    return list(product(*(values[:NEAREST] for values in lists)))


def _plain(value: Value) -> Any:
    """NaN is not JSON."""
    return None if value is None or value != value else value
