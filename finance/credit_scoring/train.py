"""From applications to a bundle: scorecard and challenger, calibrated, with a cut-off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from common.bundle import Bundle, save_bundle
from common.config import build_config
from common.evaluation.metrics import auc, brier, ks, recalibration
from common.evaluation.stability import reference_histogram
from common.files import sha256
from finance.credit_scoring import SYSTEM
from finance.credit_scoring.additive import AdditiveModel, LogOdds
from finance.credit_scoring.binning import describe_bins
from finance.credit_scoring.config import Config
from finance.credit_scoring.data import FRACTIONS, CreditData, load
from finance.credit_scoring.formula import Formula
from finance.credit_scoring.model import blend, fit_challenger
from finance.credit_scoring.policy import Cutoff, cheapest_cutoff, most_profitable_cutoff
from finance.credit_scoring.reject_inference import infer_rejects
from finance.credit_scoring.scorecard import Scorecard, fit_scorecard

POINTS = 1  # the scorecard's resolution: whole points, as a person would add them up
MILLIPOINTS = 1000  # the challenger's: rounding changes log-odds by less than 1e-5


@dataclass(frozen=True)
class Fitted:
    """Both models in points, the scorecard's bins, and the cut-off of the one that decides."""

    scorecard: Scorecard
    models: dict[str, AdditiveModel]
    serving: str
    cutoff: Cutoff
    metrics: dict[str, Any]


def train(config: Config) -> Bundle:
    """Load, split, fit, calibrate, set the cut-off and save; the test part is not looked at."""
    data = load(config)
    split = data.split(config.seed)
    fitted = fit(config, split["train"], split["valid"])
    return _save(config, data, split, fitted)


def fit(config: Config, train: CreditData, valid: CreditData) -> Fitted:
    """Fit both models on `train`; early stopping, calibration, choice and cut-off use `valid`."""
    rows, y, weight = _labelled(config, train)
    known, judged = train.rows(rows), valid.rows(np.flatnonzero(valid.accepted))
    columns, valid_columns = known.columns(), judged.columns()

    scorecard = fit_scorecard(train.fields, columns, y, config.binning, config.scorecard, weight)
    libraries: list[Literal["xgboost", "lightgbm"]] = (
        ["xgboost", "lightgbm"] if config.challenger.library == "best" else [config.challenger.library]
    )
    candidates = {
        library: fit_challenger(
            library,
            train.fields,
            columns,
            y,
            config.challenger,
            valid=(valid_columns, judged.y),
            weight=weight,
            seed=config.seed,
        )
        for library in libraries
    }
    chosen = max(candidates, key=lambda library: auc(judged.y, candidates[library].predict(valid_columns)))
    share = config.challenger.scorecard_weight
    challenger = blend([(1 - share, candidates[chosen]), (share, scorecard.log_odds)])

    models: dict[str, AdditiveModel] = {}
    metrics: dict[str, Any] = {"challenger_library": chosen}
    for name, log_odds, resolution in (
        ("scorecard", scorecard.log_odds, POINTS),
        ("challenger", challenger, MILLIPOINTS),
    ):
        calibrated = _with_prior(calibrate(log_odds, judged), config.prior, judged)
        models[name] = calibrated.to_points(config.scale, resolution, columns)
        probability = models[name].probability(models[name].score(valid_columns))
        for metric in (auc, ks, brier):
            metrics[f"valid_{metric.__name__}_{name}"] = metric(judged.y, probability)
    best = max(models, key=lambda name: metrics[f"valid_auc_{name}"])
    serving = best if config.serve == "best" else config.serve
    cutoff = choose_cutoff(config, models[serving], judged)
    return Fitted(scorecard, models, serving, cutoff, metrics | {"valid_auc": metrics[f"valid_auc_{serving}"]})


def objective(config: Config, trial: Any) -> float:
    """Validation AUC of the challenger for one Optuna trial; no bundle is written."""
    boosting = {
        "depth": trial.suggest_int("depth", 1, 2),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.1, log=True),
        "min_leaf": trial.suggest_int("min_leaf", 5, 100, log=True),
        "subsample": trial.suggest_float("subsample", 0.4, 1.0),
        "colsample": trial.suggest_float("colsample", 0.1, 1.0),
        "l2": trial.suggest_float("l2", 0.1, 100, log=True),
    }
    values = config.model_dump(mode="json")
    values["challenger"]["boosting"] |= boosting
    tried = build_config(Config, {"trial": values}, "trial", [])
    split = load(tried).split(tried.seed)
    return float(fit(tried, split["train"], split["valid"]).metrics["valid_auc_challenger"])


def calibrate(model: LogOdds, valid: CreditData) -> LogOdds:
    """Logistic recalibration (Platt scaling) on validation rows; it keeps the model additive."""
    log_odds = model.predict(valid.columns())
    intercept, slope = recalibration(valid.y, 1 / (1 + np.exp(-log_odds)))
    return model.recalibrated(slope, intercept)


def choose_cutoff(config: Config, model: AdditiveModel, valid: CreditData) -> Cutoff:
    """The cut-off by the configured rule on validation rows."""
    score = model.score(valid.columns()) / model.resolution
    if config.cutoff == "profit":
        return most_profitable_cutoff(score, valid.y, valid.amount, config.costs)
    return cheapest_cutoff(score, valid.y, config.costs)


def reweigh(y: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Weights that make group and label independent (Kamiran & Calders, 2012, Knowl. Inf. Syst. 33)."""
    weight = np.ones(len(y))
    for name in np.unique(group):
        for label in (0, 1):
            cell = (group == name) & (y == label)
            if cell.any():
                weight[cell] = (group == name).mean() * (y == label).mean() / cell.mean()
    return weight


def _labelled(config: Config, train: CreditData) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Rows, labels and weights to train on, after reject inference and reweighing; no weights when all are one."""
    probability = np.full(len(train.y), train.y[train.accepted].mean())
    if config.reject_inference != "none" and not train.accepted.all():
        accepted = train.rows(np.flatnonzero(train.accepted))
        first = fit_scorecard(train.fields, accepted.columns(), accepted.y, config.binning, config.scorecard)
        probability = 1 / (1 + np.exp(-first.log_odds.predict(train.columns())))
    rows, y, weight = infer_rejects(config.reject_inference, train.accepted, train.y, probability, config.seed)
    if config.mitigation == "reweigh":
        weight = weight * reweigh(y, train.sex[rows])
    return rows, y, None if (weight == 1).all() else weight


def _with_prior(model: LogOdds, prior: float | None, valid: CreditData) -> LogOdds:
    """Shift the intercept from the sample's bad rate to the population's (King & Zeng, 2001)."""
    if prior is None:
        return model
    rate = float(valid.y.mean())
    return model.recalibrated(1.0, math.log(prior / (1 - prior)) - math.log(rate / (1 - rate)))


def _save(config: Config, data: CreditData, split: dict[str, CreditData], fitted: Fitted) -> Bundle:
    used = {field for model in fitted.models.values() for field in model.fields}
    used |= {name for field in data.fields if field.name in used for name in Formula(field.formula or "0").fields}
    fields = [field for field in data.fields if field.name in used]
    train, valid = split["train"], split["valid"]
    serving = fitted.models[fitted.serving]
    reference = {field.name: reference_histogram(train.frame[field.name]) for field in fields if not field.formula}
    reference["score"] = reference_histogram(serving.score(train.columns()) / serving.resolution)
    return save_bundle(
        SYSTEM,
        config,
        arrays={f"{name}.safetensors": model.tables() for name, model in fitted.models.items()},
        preprocess={
            "fields": [field.model_dump(mode="json") for field in fields],
            "models": {name: model.to_json() for name, model in fitted.models.items()},
            "serving": fitted.serving,
            "cutoff": fitted.cutoff.model_dump(),
            "bins": describe_bins(fitted.scorecard.variables, fitted.models["scorecard"]),
            "dropped": dict(fitted.scorecard.dropped),
        },
        metrics=fitted.metrics | {"cutoff": fitted.cutoff.score, "valid_approval_rate": fitted.cutoff.approval_rate},
        data={
            "cards": [{"id": data.id, "title": data.title, "licence": data.licence, "sha256": data.sha256}],
            "simulated": data.simulated,
            "split": f"{FRACTIONS}, seed {config.seed}, "
            + ("by month" if data.month is not None else "stratified, duplicates together"),
            "test_rows_sha256": sha256(split["test"].row.tobytes()),
        },
        reference=reference,
        examples=[record_of(valid, i, fields) for i in range(min(5, len(valid.y)))],
    )


def record_of(data: CreditData, i: int, fields: list[Any]) -> dict[str, Any]:
    """One applicant as a request: raw fields only, plain Python values, missing as None."""
    record = {}
    for field in fields:
        if field.formula:
            continue
        value = data.frame[field.name].iloc[i]
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, float) and math.isnan(value):
            value = None
        elif field.integer and value is not None:
            value = int(value)
        record[field.name] = value
    return record
