"""The challenger: bagged gradient boosting of depth 1 or 2, turned into tables of one and two fields.

A leaf of a tree of depth 2 lies on a path of at most two fields, so the whole ensemble is a sum of
functions of one or two fields (a GA2M; Lou et al., 2013): exact reasons cost a table look-up, where
TreeSHAP walks every tree. Pairs are purified (Lengerich et al., 2020): what one field explains alone
moves to that field's own table, so that halves of a pair are shared fairly.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import log_loss
from sklearn.model_selection import RepeatedStratifiedKFold

from common.training.boosting import Ensemble, Leaf, Library, choose_rounds, fit_boosting
from finance.credit_scoring.additive import Axis, Column, LogOdds, Term
from finance.credit_scoring.config import ChallengerSettings
from finance.credit_scoring.fields import CreditField

# Rows of average risk added to a level before its rate orders the levels: a level seen twice stays near the middle.
LEVEL_SMOOTHING = 10
PURIFY_SWEEPS = 30


@dataclass(frozen=True)
class Encoder:
    """How a field becomes the booster's number: itself, its declared rank, or its smoothed log-odds."""

    field: CreditField
    levels: Mapping[Any, float]

    @property
    def monotone(self) -> int:
        """Constraint on the encoded number: declared risk, or rising when levels are coded by their risk."""
        return 1 if self.field.kind == "category" and not self.field.ordered else self.field.risk

    def encode(self, column: Column) -> np.ndarray:
        """Float column, shape (n,); missing and unseen levels are NaN."""
        if not isinstance(column, tuple):
            return column
        codes, levels = column
        return np.array([self.levels.get(level, math.nan) for level in levels] + [math.nan])[codes]

    def axis(self, cuts: Sequence[float]) -> Axis:
        """Bins between the booster's cuts; missing (and unseen) last."""
        last = len(cuts) + 1
        if self.field.kind == "number":
            return Axis(self.field.name, tuple(cuts), {}, missing=last)
        places = {level: int(np.searchsorted(cuts, code, side="right")) for level, code in self.levels.items()}
        return Axis(self.field.name, (), places, missing=last, other=last)


def fit_encoder(field: CreditField, column: Column, y: np.ndarray) -> Encoder:
    """Learn the level codes of one field on training rows."""
    if not isinstance(column, tuple):
        return Encoder(field, {})
    codes, levels = column
    if field.ordered:
        return Encoder(field, {level: field.rank(level) for level in field.levels})
    rate = y.mean()
    risks = {}
    for code, level in enumerate(levels):
        rows = codes == code
        risk = (y[rows].sum() + LEVEL_SMOOTHING * rate) / (rows.sum() + LEVEL_SMOOTHING)
        risks[level] = math.log(risk / (1 - risk))
    return Encoder(field, risks)


@dataclass(frozen=True)
class Challenger:
    """The fitted tables, which library and how many rounds they come from, and the loss that chose them."""

    log_odds: LogOdds
    library: Library
    rounds: int
    loss: float


def fit_challenger(
    library: Library,
    fields: Sequence[CreditField],
    columns: Mapping[str, Column],
    y: np.ndarray,
    settings: ChallengerSettings,
    *,
    valid: tuple[Mapping[str, Column], np.ndarray] | None = None,
    weight: np.ndarray | None = None,
    seed: int = 0,
) -> Challenger:
    """Fit `settings.bags` boosters with different seeds and average them.

    Each stops early on `valid`; without validation rows the number of rounds comes from a repeated
    cross-validation inside the training rows. `loss` is the log loss of that choice.
    """
    encoders = [fit_encoder(field, columns[field.name], y) for field in fields]
    x, monotone = _matrix(encoders, columns), [encoder.monotone for encoder in encoders]
    params, loss = settings.boosting, math.nan
    stop = (_matrix(encoders, valid[0]), valid[1]) if valid else None
    if not stop and params.patience:
        folds = list(RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=seed).split(x, y))
        rounds, loss = choose_rounds(library, params, x, y, folds, weight=weight, monotone=monotone, seed=seed)
        params = params.model_copy(update={"rounds": rounds})
    bags = [
        fit_boosting(library, params, x, y, weight=weight, valid=stop, monotone=monotone, seed=seed * 1000 + bag)
        for bag in range(settings.bags)
    ]
    log_odds = tabulate(bags, encoders, x, settings.pairs)
    if valid:
        loss = float(log_loss(valid[1], 1 / (1 + np.exp(-log_odds.predict(valid[0])))))
    return Challenger(log_odds, library, round(float(np.mean([bag.rounds for bag in bags]))), loss)


def tabulate(bags: Sequence[Ensemble], encoders: Sequence[Encoder], x: np.ndarray, most_pairs: int) -> LogOdds:
    """The average of the ensembles as one table per field and per pair; `x` weighs the purification.

    Of the purified pairs only the `most_pairs` with the largest variance over `x` are kept: hundreds of
    pairs that a bag touched once carry noise, and every kept pair costs time in each request.
    """
    groups: dict[tuple[int, ...], list[Leaf]] = defaultdict(list)
    for bag in bags:
        for leaf in bag.leaves:
            groups[tuple(sorted(leaf.box))].append(leaf)
    cuts: dict[tuple[int, ...], list[list[float]]] = {
        features: [_cuts(leaves, feature) for feature in features] for features, leaves in groups.items() if features
    }
    found: dict[int, set[float]] = defaultdict(set)
    for features, feature_cuts in cuts.items():
        for feature, edges in zip(features, feature_cuts, strict=True):
            found[feature].update(edges)
    own = {feature: sorted(edges) for feature, edges in found.items()}
    axes = {feature: encoders[feature].axis(edges) for feature, edges in own.items()}
    singles = {feature: np.zeros(len(edges) + 2) for feature, edges in own.items()}
    intercept = sum(bag.intercept for bag in bags) / len(bags)
    pairs: list[tuple[float, Term]] = []
    for features, leaves in sorted(groups.items()):
        if not features:  # a tree that found no split is a constant
            intercept += sum(leaf.value for leaf in leaves) / len(bags)
        elif len(features) == 1:
            singles[features[0]] += _table(leaves, features, [own[features[0]]]) / len(bags)
        else:
            table = _table(leaves, features, cuts[features]) / len(bags)
            effects = _purify(table, x, features, cuts[features])
            for feature, edges, effect in zip(features, cuts[features], effects, strict=True):
                singles[feature] += effect[_coarser(own[feature], edges)]
            a, b = features
            strength = float(np.var(table[_bins(x[:, a], cuts[features][0]), _bins(x[:, b], cuts[features][1])]))
            table = table[np.ix_(_coarser(own[a], cuts[features][0]), _coarser(own[b], cuts[features][1]))]
            pairs.append((strength, Term((axes[a], axes[b]), table)))
    mains = [Term((axes[feature],), table) for feature, table in sorted(singles.items())]
    strongest = sorted(pairs, key=lambda pair: -pair[0])[:most_pairs]
    return LogOdds((*mains, *(term for _, term in strongest)), intercept)


def _cuts(leaves: Sequence[Leaf], feature: int) -> list[float]:
    edges = {edge for leaf in leaves for edge in leaf.box[feature][:2]}
    return sorted(edge for edge in edges if math.isfinite(edge))


def _table(leaves: Sequence[Leaf], features: tuple[int, ...], cuts: Sequence[Sequence[float]]) -> np.ndarray:
    """Sum of leaf values over bins: intervals between the cuts, then missing."""
    table = np.zeros([len(c) + 2 for c in cuts])
    places = [{edge: i + 1 for i, edge in enumerate(c)} | {-math.inf: 0, math.inf: len(c) + 1} for c in cuts]
    for leaf in leaves:
        sides = []
        for feature, place in zip(features, places, strict=True):
            low, high, missing = leaf.box[feature]
            side = np.zeros(len(place), dtype=bool)
            side[place[low] : place[high]] = True
            side[-1] = missing
            sides.append(side)
        table[np.ix_(*sides)] += leaf.value
    return table


def _purify(
    table: np.ndarray, x: np.ndarray, features: tuple[int, ...], cuts: Sequence[Sequence[float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Move the weighted row and column means out of `table` (in place) and return them as effects of one field."""
    rows, columns = (_bins(x[:, feature], c) for feature, c in zip(features, cuts, strict=True))
    weight = np.zeros_like(table)
    np.add.at(weight, (rows, columns), 1.0)
    weight += 1e-3  # cells without rows still need an average
    effects = np.zeros(table.shape[0]), np.zeros(table.shape[1])
    for _ in range(PURIFY_SWEEPS):
        for axis in (0, 1):
            mean = (table * weight).sum(1 - axis) / weight.sum(1 - axis)
            effects[axis][:] += mean
            table -= mean[:, None] if axis == 0 else mean[None, :]
        if abs(mean).max() < 1e-9:
            break
    return effects


def _bins(values: np.ndarray, cuts: Sequence[float]) -> np.ndarray:
    places = np.searchsorted(cuts, values, side="right")
    places[np.isnan(values)] = len(cuts) + 1
    return places


def _coarser(fine: Sequence[float], coarse: Sequence[float]) -> np.ndarray:
    """For each bin of the fine cuts (missing last) its bin among the coarse cuts, a subset of the fine ones."""
    lower_edges = [-math.inf, *fine]
    return np.append(np.searchsorted(coarse, lower_edges, side="right"), len(coarse) + 1)


def _matrix(encoders: Sequence[Encoder], columns: Mapping[str, Column]) -> np.ndarray:
    return np.column_stack([encoder.encode(columns[encoder.field.name]) for encoder in encoders])
