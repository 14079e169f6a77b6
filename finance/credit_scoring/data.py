"""Where applications come from: published data or your own, checked against its card, and the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from common.data.audit import audit
from common.data.card import DatasetCard, load_card
from common.data.fetch import data_sha256, fetch
from common.data.schema import check_schema
from common.data.split import check_split, group_of_duplicates, stratified_split
from common.data.table import labels, read_table
from common.errors import DataError
from common.files import sha256
from finance.credit_scoring.additive import Column
from finance.credit_scoring.config import Config
from finance.credit_scoring.derived import DERIVED
from finance.credit_scoring.fields import CreditField
from finance.credit_scoring.formula import Formula
from finance.credit_scoring.knowledge import KNOWLEDGE, SEX, Facts
from finance.credit_scoring.simulator import SIMULATED, SIMULATED_FIELDS, simulate

AGE_BANDS = (0, 25, 40, 60, 200)
FEWEST_LABELS = 5  # in each part; far more is needed for a verdict, and the intervals will say so
FEWEST_TIMES = 5
# What a column can be to the report, beside what `CreditField` says of it.
ROLES = ("amount", "sex", "age")
FACTS = ("risk", "change", "ordered", "levels", "integer", "special", "not_advised", "minimum", "maximum")
FRACTIONS = {"train": 0.6, "valid": 0.2, "test": 0.2}


@dataclass(frozen=True)
class CreditData:
    """Applications and what became of them; place `i` of every array is one applicant.

    `row` is the applicant's row in the whole file, `y` is 1 for default. `fields` may enter a model (raw
    and derived); `groups` keeps duplicates together; `sex` and `age` serve the fairness report only;
    `amount` is in the data's currency; `month` is the month of application where it is known;
    `accepted` marks who was given credit (the labels of others are not to be trained on).
    """

    id: str
    frame: pd.DataFrame
    row: np.ndarray
    y: np.ndarray
    fields: tuple[CreditField, ...]
    groups: np.ndarray
    amount: np.ndarray
    sex: np.ndarray
    age: np.ndarray
    month: np.ndarray | None
    accepted: np.ndarray
    sha256: str
    simulated: bool
    title: str
    licence: str

    def rows(self, index: np.ndarray) -> CreditData:
        """The applicants at these positions."""
        return replace(
            self,
            frame=self.frame.iloc[index].reset_index(drop=True),
            **{name: getattr(self, name)[index] for name in ("row", "y", "groups", "amount", "sex", "age", "accepted")},
            month=None if self.month is None else self.month[index],
        )

    def columns(self) -> dict[str, Column]:
        """Model input by field: float64 arrays, or (codes, levels) for categories."""
        return to_columns(self.frame, self.fields)

    def split(self, seed: int) -> dict[str, CreditData]:
        """train, valid and test; duplicates stay on one side, and months (if any) run forward in time."""
        if self.month is None:
            parts = stratified_split(self.y, self.groups, FRACTIONS, seed)
        else:
            first, last = np.quantile(self.month, [FRACTIONS["train"], 1 - FRACTIONS["test"]], method="higher")
            edges = {"train": self.month < first, "valid": (self.month >= first) & (self.month < last)}
            edges["test"] = self.month >= last
            parts, seen = {}, np.empty(0, int)
            for name, rows in edges.items():  # who stands in an earlier part is known already
                parts[name] = np.flatnonzero(rows & ~np.isin(self.groups, seen))
                seen = np.append(seen, self.groups[rows])
        found = {name: self.rows(index) for name, index in parts.items()}
        for name, part in found.items():
            if min(part.y.sum(), (1 - part.y).sum()) < FEWEST_LABELS:
                got, expected = f"{part.y.sum()} of {len(part.y)}", f"{FEWEST_LABELS} of either label"
                raise DataError(
                    "too few rows to learn from and to judge by",
                    where=f"{self.id}, part {name}",
                    got=got,
                    expected=expected,
                )
        check_split({name: part.frame for name, part in found.items()}, features=self.frame.columns.tolist())
        return found


def load(config: Config) -> CreditData:
    """Load, check and audit a data set; refuses to go on when the audit finds an error.

    Raises `DatasetUnavailable`, `DataCorrupted`, `SchemaError` or `AuditError`.
    """
    if config.dataset == SIMULATED:
        return _simulated(config)
    card = load_card(config.dataset)
    frame = read_table(card, fetch(card))
    check_schema(frame, card)
    audit(frame, card).raise_on_error()
    known = facts_of(card)
    raw = [_field(card, name, known.get(name, {})) for name in card.features]
    amount, sex, age = (_named(known, role) for role in ROLES)
    nobody = np.full(len(frame), "unknown")
    return CreditData(
        id=card.id,
        frame=frame[card.features],
        row=np.arange(len(frame)),
        y=labels(frame, card).astype(int),
        fields=_usable([*raw, *_derived(DERIVED.get(card.id, {}), raw)], config),
        groups=_groups(card, frame),
        amount=frame[amount].to_numpy(float) if amount else np.ones(len(frame)),
        sex=SEX[card.id](frame) if card.id in SEX else _as_written(frame, sex) if sex else nobody,
        age=age_band(frame, age) if age else nobody,
        month=_months(card, frame),
        accepted=np.ones(len(frame), dtype=bool),
        sha256=data_sha256(card),
        simulated=False,
        title=card.title,
        licence=card.licence,
    )


def facts_of(card: DatasetCard) -> Facts:
    """What a lender knows of the columns: ours of the published data, else the `facts` in the card."""
    return KNOWLEDGE.get(card.id) or {column.name: column.facts for column in card.columns if column.facts}


def _named(known: Facts, role: str) -> str | None:
    return next((name for name, facts in known.items() if facts.get(role)), None)


def _as_written(frame: pd.DataFrame, name: str) -> np.ndarray:
    return frame[name].astype(object).where(frame[name].notna(), "unknown").to_numpy(dtype=str)


def _groups(card: DatasetCard, frame: pd.DataFrame) -> np.ndarray:
    """Who stays on one side of a split: equal rows (of one's own data also nearly equal ones), and the card's group."""
    twins = group_of_duplicates(frame, card.features, near=card.id not in KNOWLEDGE)
    if not card.group:
        return twins
    owners = pd.factorize(frame[card.group], use_na_sentinel=False)[0] + twins.max() + 1
    places = owners.max() + 1
    links = coo_matrix((np.ones(len(twins)), (twins, owners)), shape=(places, places))
    return np.asarray(connected_components(links, directed=False)[1])[twins]


def _months(card: DatasetCard, frame: pd.DataFrame) -> np.ndarray | None:
    """When each row is of: numbers as they are, dates as year and month."""
    if not card.time:
        return None
    column, where = frame[card.time], f"{card.id}: {card.time}"
    if not pd.api.types.is_numeric_dtype(column):
        dates = pd.to_datetime(column, errors="coerce", format="mixed")
        if dates.isna().any():
            bad = column[dates.isna()].iloc[0]
            raise DataError("not a date", where=where, got=repr(bad), expected="dates such as 2026-11-28, or numbers")
        column = dates.dt.strftime("%Y-%m")
    if column.isna().any() or column.nunique() < FEWEST_TIMES:
        expected = f"{FEWEST_TIMES} or more, and no blanks"
        fix = "leave `time` out of the card to split at random"
        raise DataError(
            "cannot be split by time", where=where, got=f"{column.nunique()} months", expected=expected, fix=fix
        )
    return column.to_numpy()


def to_columns(frame: pd.DataFrame | Mapping[str, Any], fields: Sequence[CreditField]) -> dict[str, Column]:
    """Columns of the raw fields and of the derived ones among `fields`."""
    found: dict[str, Column] = {}
    for field in fields:
        if field.formula:
            formula = Formula(field.formula)
            inputs = {name: np.asarray(frame[name], dtype=float) for name in formula.fields}
            found[field.name] = formula.on_columns(inputs)
        elif field.kind == "category":
            codes, levels = pd.factorize(frame[field.name])
            found[field.name] = (codes, levels.tolist())
        else:
            found[field.name] = np.asarray(frame[field.name], dtype=float)
    return found


def age_band(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Age as text bands, for the fairness report: 18-24, 25-39, 40-59, 60 and over."""
    bands = pd.cut(frame[name], AGE_BANDS, right=False, labels=["18-24", "25-39", "40-59", "60 and over"])
    return bands.astype(object).fillna("unknown").to_numpy(dtype=str)


def _simulated(config: Config) -> CreditData:
    frame = simulate(config.rows, config.seed)
    raw = [field.name for field in SIMULATED_FIELDS if not field.formula]
    return CreditData(
        id=SIMULATED,
        frame=frame[raw],
        row=np.arange(len(frame)),
        y=frame["default"].to_numpy(int),
        fields=_usable(SIMULATED_FIELDS, config),
        groups=group_of_duplicates(frame, raw),
        amount=frame["loan_amount"].to_numpy(float),
        sex=frame["sex"].to_numpy(dtype=str),
        age=age_band(frame, "age"),
        month=frame["month"].to_numpy(),
        accepted=frame["accepted"].to_numpy(dtype=bool),
        sha256=sha256(frame.to_csv(index=False).encode()),
        simulated=True,
        title="Simulated applications (no real person)",
        licence="made here, no rights reserved",
    )


def _field(card: DatasetCard, name: str, known: Mapping[str, Any]) -> CreditField:
    """What the card documents and what we know of lending, in one record."""
    column = card.column(name)
    facts = {key: value for key, value in known.items() if key not in ROLES}
    if column.kind == "category":
        facts.setdefault("levels", (*column.codes, *column.undocumented))
    values = {
        "name": name,
        "label": column.description or name,
        "kind": column.kind,
        "minimum": column.minimum,
        "maximum": column.maximum,
        "optional": column.missing,
        "sensitive": name in card.sensitive,
    }
    try:
        return CreditField.model_validate(values | facts)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = f"{card.id}: {name}: facts: {'.'.join(map(str, first['loc']))}"
        fix = f"known are {', '.join((*ROLES, *FACTS))}"
        raise DataError(
            "malformed card", where=where, got=repr(first["input"]), expected=first["msg"], fix=fix
        ) from None


def _derived(derived: Facts, raw: Sequence[CreditField]) -> list[CreditField]:
    """Derived fields; one that reads a sensitive field is sensitive itself."""
    sensitive = {field.name for field in raw if field.sensitive}
    return [
        CreditField(**facts, name=name, sensitive=bool(sensitive & set(Formula(facts["formula"]).fields)))
        for name, facts in derived.items()
    ]


def _usable(fields: Sequence[CreditField], config: Config) -> tuple[CreditField, ...]:
    return tuple(f for f in fields if config.sensitive == "include" or not f.sensitive)
