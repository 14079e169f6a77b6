"""Fitting the quantiles of actual / planned time: LightGBM, early stopping, and conformal calibration.

For the level t the model's quantile is moved by an order statistic of its errors on later weeks that no tree has seen,
so that a new operation stays below it with a probability of t (conformalized quantile regression: Romano, Patterson &
Candès, 2019, arXiv:1905.03222, theorem 2; each side by itself). That holds if the weeks to come are like these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from common.progress import bar
from manufacturing.production_scheduling.config import Quantiles
from manufacturing.production_scheduling.durations import GROUPS, Durations, Rows, features, fit_of, hide
from manufacturing.production_scheduling.history import History
from manufacturing.production_scheduling.trees import Trees

PRIOR = 20.0
"""Rows that the overall mean counts for in the mean of a machine, a family, an operator or a shift."""
FEWEST_PAIRS = 30
"""Pairs of operations on one machine and day, below which nothing is said about what they share."""


def rows_of_history(history: History) -> Rows:
    """Operations as the models see them."""
    return Rows(
        machine=history.machine.tolist(),
        family=history.family.tolist(),
        operator=history.operator.tolist(),
        shift=history.shift.tolist(),
        planned=history.planned,
        quantity=np.where(history.quantity > 0, history.quantity, np.nan),
        experience=history.experience,
        hours=history.hours_since_maintenance,
    )


def effects_of(history: History) -> dict[str, dict[str, float]]:
    """Mean log-ratio of each machine, family, both together, operator and shift, drawn to the mean of all."""
    log = np.log(history.ratio)
    mean = float(log.mean())
    texts = {name: getattr(history, name) for name in ("machine", "family", "operator", "shift")}
    both = [fit_of(*pair) for pair in zip(history.machine, history.family, strict=True)]
    known = history.family != ""
    texts["fit"] = np.where(known, np.array(both, dtype=object), "")
    found = {}
    for name, column in texts.items():
        levels, code = np.unique(column.astype(str), return_inverse=True)
        count, total = np.bincount(code), np.bincount(code, weights=log)
        shrunk = (total + PRIOR * mean) / (count + PRIOR)
        found[name] = {str(level): float(value) for level, value in zip(levels, shrunk, strict=True) if level}
    return found


def fit_durations(
    settings: Quantiles, parts: Mapping[str, History], minutes_per_unit: float, seed: int
) -> tuple[Durations, dict[float, str], list[int]]:
    """The calibrated models, LightGBM's text for each level, and how many trees each has.

    `parts` has train, stop and calibration; the test part is not looked at.
    """
    import lightgbm

    rng = np.random.default_rng([seed, 2])
    effects = effects_of(parts["train"])
    x, y = {}, {}
    for name in ("train", "stop", "calibration"):
        part = parts[name] if name != "calibration" else parts[name].rows(slice(-settings.calibration_rows, None))
        x[name], y[name] = features(rows_of_history(part), effects), np.log(part.ratio)
    # Each row as it is, and once more with some of what is known hidden.
    for name in ("train", "stop"):
        bits = rng.random((len(x[name]), len(GROUPS))) < settings.hidden_share
        x[name] = np.concatenate([x[name], hide(x[name], bits @ (1 << np.arange(len(GROUPS))))])
        y[name] = np.tile(y[name], 2)
    # Each level has its own least number of rows in a leaf, on the same bins.
    once = {"verbose": -1, "feature_pre_filter": False}
    data = lightgbm.Dataset(x["train"], y["train"], params=once, free_raw_data=False)
    stop = lightgbm.Dataset(x["stop"], y["stop"], reference=data, params=once)
    texts, rounds = {}, []
    with bar("quantiles", len(settings.levels)) as advance:
        for level in settings.levels:
            booster = lightgbm.train(
                _options(settings, level, seed),
                data,
                settings.rounds,
                valid_sets=[stop],
                callbacks=[lightgbm.early_stopping(settings.patience, verbose=False)],
            )
            texts[level] = booster.model_to_string(num_iteration=booster.best_iteration)
            rounds.append(booster.best_iteration)
            advance(1, f"{level:g}")
    models = [Trees.parse(text) for text in texts.values()]
    levels = np.array(settings.levels)
    latest = parts["calibration"].rows(slice(-settings.calibration_rows, None))
    offset, shared = _calibrate(levels, models, x["calibration"], y["calibration"], _machine_days(latest))
    simulated = parts["train"].simulated
    return Durations(levels, models, effects, offset, shared, minutes_per_unit, simulated), texts, rounds


def _options(settings: Quantiles, level: float, seed: int) -> dict[str, Any]:
    return {
        "objective": "quantile",
        "alpha": level,
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        # A rare quantile needs rows on its rarer side.
        "min_data_in_leaf": max(settings.min_leaf, math.ceil(2 / min(level, 1 - level))),
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
        "verbose": -1,
    }


def _machine_days(history: History) -> np.ndarray:
    """int (rows,): the same for operations that started on one machine on one day."""
    keys = [f"{machine} {day}" for machine, day in zip(history.machine, history.start // 86_400, strict=True)]
    return np.unique(keys, return_inverse=True)[1]


def _calibrate(
    levels: np.ndarray, models: list[Trees], x: np.ndarray, y: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (patterns, levels) and the correlation within groups (patterns,), for each pattern of what is known."""
    patterns = 1 << len(GROUPS)
    offset, shared = np.zeros((patterns, len(levels))), np.zeros(patterns)
    with bar("calibration", patterns) as advance:
        for pattern in range(patterns):
            seen = hide(x, pattern)
            log = np.stack([model.predict(seen) for model in models], axis=1)
            for place, level in enumerate(levels):
                offset[pattern, place] = conformal_offset(y - log[:, place], level)
            shared[pattern] = _shared(np.sort(log + offset[pattern], axis=1), levels, y, group)
            advance(1)
    return offset, shared


def conformal_offset(error: np.ndarray, level: float) -> float:
    """What to add to a quantile so that a share `level` of new outcomes stays below it (upper half) or as many do at
    most (lower half), from errors (rows,) = outcome - quantile."""
    n = len(error)
    rank = math.ceil((n + 1) * level) if level >= 0.5 else math.floor((n + 1) * level)
    return float(np.sort(error)[min(max(rank, 1), n) - 1])


def _shared(log: np.ndarray, levels: np.ndarray, y: np.ndarray, group: np.ndarray) -> float:
    """Mean product of the normal scores of two outcomes of a group (intraclass correlation), from 0 to .9."""
    from scipy.special import ndtri

    ends = {"left": levels[0] / 2, "right": (1 + levels[-1]) / 2}
    z = ndtri(np.array([np.interp(value, row, levels, **ends) for value, row in zip(y, log, strict=True)]))
    z = (z - z.mean()) / max(z.std(), 1e-9)
    total, square, count = (np.bincount(group, weights=w) for w in (z, z * z, np.ones_like(z)))
    pairs = (count * (count - 1)).sum() / 2
    if pairs < FEWEST_PAIRS:
        return 0.0
    return float(np.clip((total**2 - square).sum() / 2 / pairs, 0.0, 0.9))


def predicted(durations: Durations, history: History, pattern: int = 0) -> np.ndarray:
    """Calibrated quantiles (rows, levels) of actual / planned time, without what the pattern hides."""
    return durations.predict(hide(features(rows_of_history(history), durations.effects), pattern))[0]


def pinball(ratio: np.ndarray, quantile: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Mean pinball loss (rows,) over the levels (Koenker & Bassett, 1978); in planned times, smaller is better."""
    error = ratio[:, None] - quantile
    return np.maximum(levels * error, (levels - 1) * error).mean(axis=1)


def covered(ratio: np.ndarray, quantile: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Whether each ratio (rows,) lies between its quantiles .1 and .9."""
    low, high = (quantile[:, int(np.flatnonzero(levels == level)[0])] for level in (0.1, 0.9))
    return (ratio >= low) & (ratio <= high)


def baselines(past: Mapping[str, History], now: History, levels: np.ndarray) -> dict[str, np.ndarray]:
    """Quantiles (rows, levels) by the past of the same machine and family: its mean ratio, and its own quantiles.

    Where both together are rarer than `PRIOR` rows, those of the machine, or of all.
    """
    ratio = np.concatenate([part.ratio for part in past.values()])
    machine, family = (
        np.concatenate([getattr(part, name) for part in past.values()]) for name in ("machine", "family")
    )
    rows: dict[tuple[str, ...], list[float]] = {(): ratio.tolist()}
    for m, f, value in zip(machine, family, ratio.tolist(), strict=True):
        rows.setdefault((m,), []).append(value)
        rows.setdefault((m, f), []).append(value)
    known = {key: values for key, values in rows.items() if len(values) >= PRIOR or not key}
    mean = {key: np.full(len(levels), np.mean(values)) for key, values in known.items()}
    quantile = {key: np.quantile(values, levels) for key, values in known.items()}
    keys: list[tuple[str, ...]] = [
        next(key for key in ((m, f), (m,), ()) if key in known) for m, f in zip(now.machine, now.family, strict=True)
    ]
    tables = {"historical mean": mean, "historical quantiles": quantile}
    return {name: np.stack([table[key] for key in keys]) for name, table in tables.items()}
