"""Gradient boosting by XGBoost or LightGBM with early stopping on validation data, and its leaves as data."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from common.config import Strict

Library = Literal["xgboost", "lightgbm"]


class Boosting(Strict):
    """Parameters under one name for both libraries (XGBoost's / LightGBM's in brackets)."""

    depth: int = 2
    learning_rate: float = 0.05
    rounds: int = 2000
    patience: int = 50
    subsample: float = 0.8  # (subsample / bagging_fraction)
    colsample: float = 1.0  # per split (colsample_bynode / feature_fraction_bynode)
    min_leaf: float = 20  # rows in a leaf (min_child_weight, as hessian / min_data_in_leaf)
    l2: float = 1.0
    max_bin: int = 64


@dataclass(frozen=True)
class Leaf:
    """One leaf: its value (log-odds) where every condition holds.

    `box` maps a feature's index to `(low, high, missing)`: `low <= x < high`, or missing goes here too.
    """

    value: float
    box: dict[int, tuple[float, float, bool]]


@dataclass(frozen=True)
class Ensemble:
    """A fitted booster as leaves: summed values plus `intercept` are the log-odds."""

    leaves: list[Leaf]
    intercept: float
    rounds: int


def fit_boosting(
    library: Library,
    params: Boosting,
    x: np.ndarray,
    y: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    valid: tuple[np.ndarray, np.ndarray] | None = None,
    monotone: Sequence[int] | None = None,
    seed: int = 0,
) -> Ensemble:
    """Fit log loss on `x` (rows, features; NaN is missing) and `y` in {0, 1}.

    With `valid` it stops after `patience` rounds without a better validation log loss and keeps the
    best round; without, it runs all `rounds`. `monotone` gives +1, 0 or -1 per feature.
    """
    if library == "xgboost":
        import xgboost

        options, data = _xgboost(params, x, y, weight, monotone, seed)
        booster = xgboost.train(
            options,
            data,
            params.rounds,
            evals=[(xgboost.DMatrix(*valid), "valid")] if valid else [],
            early_stopping_rounds=params.patience if valid else None,
            verbose_eval=False,
        )
        rounds = booster.best_iteration + 1 if valid else params.rounds
        trees = [json.loads(tree) for tree in booster[:rounds].get_dump(dump_format="json")]
        rate = options["base_score"]
        leaves = [leaf for tree in trees for leaf in _xgboost_leaves(tree, {})]
        return Ensemble(leaves, math.log(rate / (1 - rate)), rounds)
    import lightgbm

    options, data = _lightgbm(params, x, y, weight, monotone, seed)
    booster = lightgbm.train(
        options,
        data,
        params.rounds,
        valid_sets=[lightgbm.Dataset(*valid, reference=data)] if valid else None,
        callbacks=[lightgbm.early_stopping(params.patience, verbose=False)] if valid else None,
    )
    rounds = booster.best_iteration if valid else params.rounds
    trees = booster.dump_model(num_iteration=rounds)["tree_info"]
    # LightGBM writes the average log-odds into the first tree's leaves, so there is no intercept left.
    return Ensemble([leaf for tree in trees for leaf in _lightgbm_leaves(tree["tree_structure"], {})], 0.0, rounds)


def choose_rounds(
    library: Library,
    params: Boosting,
    x: np.ndarray,
    y: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    weight: np.ndarray | None = None,
    monotone: Sequence[int] | None = None,
    seed: int = 0,
) -> tuple[int, float]:
    """Rounds with the least mean log loss over cross-validation `folds`, and that loss.

    For training parts without validation rows of their own; all folds grow together and stop after
    `patience` rounds without a better mean.
    """
    if library == "xgboost":
        import xgboost

        options, data = _xgboost(params, x, y, weight, monotone, seed)
        curve = xgboost.cv(
            options,
            data,
            params.rounds,
            folds=list(folds),
            metrics="logloss",
            early_stopping_rounds=params.patience,
            as_pandas=False,
        )["test-logloss-mean"]
    else:
        import lightgbm

        options, data = _lightgbm(params, x, y, weight, monotone, seed)
        stop = lightgbm.early_stopping(params.patience, verbose=False)
        curve = lightgbm.cv(options, data, params.rounds, folds=list(folds), callbacks=[stop])[
            "valid binary_logloss-mean"
        ]
    best = int(np.argmin(curve))
    return best + 1, float(curve[best])


def _xgboost(
    params: Boosting, x: Any, y: Any, weight: Any, monotone: Sequence[int] | None, seed: int
) -> tuple[dict[str, Any], Any]:
    import xgboost

    rate = float(np.average(y, weights=weight))
    options = {
        "objective": "binary:logistic",
        "base_score": rate,
        "max_depth": params.depth,
        "eta": params.learning_rate,
        "subsample": params.subsample,
        "colsample_bynode": params.colsample,
        # XGBoost bounds the hessian of a leaf, which is p (1 - p) a row.
        "min_child_weight": params.min_leaf * rate * (1 - rate),
        "lambda": params.l2,
        "max_bin": params.max_bin,
        "tree_method": "hist",
        "monotone_constraints": "(" + ",".join(map(str, monotone or [0] * x.shape[1])) + ")",
        "seed": seed,
        "nthread": 1,
    }
    return options, xgboost.DMatrix(x, y, weight=weight)


def _lightgbm(
    params: Boosting, x: Any, y: Any, weight: Any, monotone: Sequence[int] | None, seed: int
) -> tuple[dict[str, Any], Any]:
    import lightgbm

    options = {
        "objective": "binary",
        "max_depth": params.depth,
        "num_leaves": 2**params.depth,
        "learning_rate": params.learning_rate,
        "bagging_fraction": params.subsample,
        "bagging_freq": 1,
        "feature_fraction_bynode": params.colsample,
        "min_data_in_leaf": max(1, round(params.min_leaf)),
        "lambda_l2": params.l2,
        "max_bin": params.max_bin,
        "monotone_constraints": list(monotone or [0] * x.shape[1]),
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    data = lightgbm.Dataset(x, y, weight=weight, params={"verbose": -1, "max_bin": params.max_bin}, free_raw_data=False)
    return options, data


def _xgboost_leaves(node: dict[str, Any], box: dict[int, tuple[float, float, bool]]) -> Iterator[Leaf]:
    if "leaf" in node:
        yield Leaf(node["leaf"], box)
        return
    children = {child["nodeid"]: child for child in node["children"]}
    feature, cut = int(node["split"].removeprefix("f")), _double_cut(node["split_condition"])
    missing_left = node["missing"] == node["yes"]
    yield from _xgboost_leaves(children[node["yes"]], _narrow(box, feature, -math.inf, cut, missing_left))
    yield from _xgboost_leaves(children[node["no"]], _narrow(box, feature, cut, math.inf, not missing_left))


def _double_cut(cut: float) -> float:
    """The least double that XGBoost sends right: it rounds values to 32 bits before it compares.

    Without this a value at a cut, such as 0.1, which 32 bits hold as 0.100000001, falls on the wrong side.
    """
    single = np.float32(cut)
    middle = (float(single) + float(np.nextafter(single, np.float32(-np.inf)))) / 2
    return middle if np.float32(middle) == single else math.nextafter(middle, math.inf)


def _lightgbm_leaves(node: dict[str, Any], box: dict[int, tuple[float, float, bool]]) -> Iterator[Leaf]:
    if "leaf_value" in node:
        yield Leaf(node["leaf_value"], box)
        return
    # LightGBM sends x <= threshold left; the next float makes it x < cut, as everywhere else.
    feature, cut = node["split_feature"], math.nextafter(node["threshold"], math.inf)
    # Without missing values in training LightGBM reads NaN as zero.
    missing_left = node["default_left"] if node["missing_type"] == "NaN" else cut > 0
    yield from _lightgbm_leaves(node["left_child"], _narrow(box, feature, -math.inf, cut, missing_left))
    yield from _lightgbm_leaves(node["right_child"], _narrow(box, feature, cut, math.inf, not missing_left))


def _narrow(
    box: dict[int, tuple[float, float, bool]], feature: int, low: float, high: float, missing: bool
) -> dict[int, tuple[float, float, bool]]:
    old_low, old_high, old_missing = box.get(feature, (-math.inf, math.inf, True))
    return box | {feature: (max(low, old_low), min(high, old_high), missing and old_missing)}
