"""From applications to a bundle: scorecard and challenger, calibrated, with a cut-off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.bundle import Bundle, save_bundle
from common.config import build_config
from common.data.split import repeated_cv
from common.evaluation.metrics import auc, brier, ks, recalibration
from common.evaluation.stability import reference_histogram
from common.files import sha256
from common.training.boosting import Library
from finance.credit_scoring import SYSTEM
from finance.credit_scoring.additive import AdditiveModel, Column, LogOdds
from finance.credit_scoring.binning import describe_bins
from finance.credit_scoring.config import Config
from finance.credit_scoring.data import FRACTIONS, CreditData, load
from finance.credit_scoring.formula import Formula
from finance.credit_scoring.model import fit_challenger
from finance.credit_scoring.policy import Cutoff, cheapest_cutoff, most_profitable_cutoff
from finance.credit_scoring.reject_inference import infer_rejects
from finance.credit_scoring.scorecard import Scorecard, fit_scorecard

POINTS = 1  # the scorecard's resolution: whole points, as a person would add them up
CROSS_FIT_BAGS = 2  # half the noise of one booster at a fifth of the cost of the final bags
MILLIPOINTS = 1000  # the challenger's: rounding changes log-odds by less than 1e-5


@dataclass(frozen=True)
class Fitted:
    """Both models in points with their cut-offs, the scorecard's bins, and which model decides."""

    scorecard: Scorecard
    models: dict[str, AdditiveModel]
    serving: str
    cutoffs: dict[str, Cutoff]
    metrics: dict[str, Any]


def train(config: Config) -> Bundle:
    """Load, split, fit, calibrate, set the cut-off and save; the test part is not looked at."""
    data = load(config)
    split = data.split(config.seed)
    fitted = fit(config, split["train"], split["valid"])
    return _save(config, data, split, fitted)


def fit(config: Config, train: CreditData, valid: CreditData | None = None) -> Fitted:
    """Fit both models on `train`; early stopping, calibration, choice of the champion and cut-off use `valid`.

    Without `valid` (a cross-validation's training part) these come from folds inside `train`.
    """
    judged = valid.rows(np.flatnonzero(valid.accepted)) if valid else None
    models, chosen, columns = _fit_log_odds(config, train, judged)
    if judged:
        held_out = {name: model.predict(judged.columns()) for name, model in models.items()}
        y, amount = judged.y, judged.amount
    else:
        held_out, y, amount = _cross_fitted(config, train, chosen)

    points: dict[str, AdditiveModel] = {}
    metrics: dict[str, Any] = {"challenger_library": chosen.library, "challenger_rounds": chosen.rounds}
    cutoffs = {}
    weight = _prior_weight(config.prior, y)
    for name, resolution in (("scorecard", POINTS), ("challenger", MILLIPOINTS)):
        # Logistic recalibration (Platt scaling): the model stays additive, so reasons stay exact.
        intercept, slope = recalibration(y, 1 / (1 + np.exp(-held_out[name])))
        shift = _prior_shift(config.prior, float(y.mean()))
        points[name] = models[name].recalibrated(slope, intercept + shift).to_points(config.scale, resolution, columns)
        calibrated = held_out[name] * slope + intercept
        probability = 1 / (1 + np.exp(-calibrated))
        exact = config.scale.points(0.0) - config.scale.factor * (calibrated + shift)
        score = np.rint(exact * resolution) / resolution
        if config.cutoff == "profit":
            cutoffs[name] = most_profitable_cutoff(score, y, amount, config.costs, weight)
        else:
            cutoffs[name] = cheapest_cutoff(score, y, config.costs, weight)
        for metric in (auc, ks, brier):
            metrics[f"valid_{metric.__name__}_{name}"] = metric(y, probability)
    best = max(points, key=lambda name: metrics[f"valid_auc_{name}"])
    serving = best if config.serve == "best" else config.serve
    return Fitted(chosen.scorecard, points, serving, cutoffs, metrics | {"valid_auc": metrics[f"valid_auc_{serving}"]})


@dataclass(frozen=True)
class _Chosen:
    scorecard: Scorecard
    library: Library
    rounds: int


def _fit_log_odds(
    config: Config, train: CreditData, valid: CreditData | None
) -> tuple[dict[str, LogOdds], _Chosen, dict[str, Column]]:
    rows, y, weight = _labelled(config, train)
    columns = train.rows(rows).columns()
    scorecard = fit_scorecard(train.fields, columns, y, config.binning, config.scorecard, weight)
    settings = config.challenger
    libraries: list[Library] = ["xgboost", "lightgbm"] if settings.library == "best" else [settings.library]
    candidates = [
        fit_challenger(
            library,
            train.fields,
            columns,
            y,
            settings,
            valid=(valid.columns(), valid.y) if valid else None,
            weight=weight,
            seed=config.seed,
        )
        for library in libraries
    ]
    best = min(candidates, key=lambda candidate: candidate.loss) if len(candidates) > 1 else candidates[0]
    models = {"scorecard": scorecard.log_odds, "challenger": best.log_odds}
    return models, _Chosen(scorecard, best.library, best.rounds), columns


def _cross_fitted(
    config: Config, train: CreditData, chosen: _Chosen
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Log-odds of every training row from models that did not see it, with the labels and amounts of these rows."""
    known = train.rows(np.flatnonzero(train.accepted))
    settings = config.challenger.model_copy(
        update={
            "library": chosen.library,
            "bags": CROSS_FIT_BAGS,
            "boosting": config.challenger.boosting.model_copy(update={"rounds": chosen.rounds, "patience": 0}),
        }
    )
    inner = config.model_copy(update={"challenger": settings})
    held_out = {name: np.empty(len(known.y)) for name in ("scorecard", "challenger")}
    for _, fitted_on, judged_on in repeated_cv(known.y, known.groups, folds=5, repeats=1, seed=config.seed):
        models, _, _ = _fit_log_odds(inner, known.rows(fitted_on), None)
        columns = known.rows(judged_on).columns()
        for name, model in models.items():
            held_out[name][judged_on] = model.predict(columns)
    return held_out, known.y, known.amount


def objective(config: Config, trial: Any) -> float:
    """Validation AUC of the challenger for one Optuna trial; no bundle is written."""
    # Named as overrides, so that the best ones can be given to `espalier train` as they are printed.
    trial.suggest_int("challenger.boosting.depth", 1, 2)
    trial.suggest_float("challenger.boosting.learning_rate", 0.01, 0.1, log=True)
    trial.suggest_int("challenger.boosting.min_leaf", 1, 100, log=True)
    trial.suggest_float("challenger.boosting.subsample", 0.4, 1.0)
    trial.suggest_float("challenger.boosting.colsample", 0.1, 1.0)
    trial.suggest_float("challenger.boosting.l2", 0.1, 100, log=True)
    overrides = [f"{name}={value!r}" for name, value in trial.params.items()]
    tried = build_config(Config, {"trial": config.model_dump(mode="json")}, "trial", overrides)
    split = load(tried).split(tried.seed)
    return float(fit(tried, split["train"], split["valid"]).metrics["valid_auc_challenger"])


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


def _prior_shift(prior: float | None, rate: float) -> float:
    """What to add to log-odds when the population's bad rate is `prior`, the sample's `rate` (King & Zeng, 2001)."""
    return 0.0 if prior is None else math.log(prior / (1 - prior)) - math.log(rate / (1 - rate))


def _prior_weight(prior: float | None, y: np.ndarray) -> np.ndarray | None:
    """Weights that give these rows the population's bad rate, so that the cut-off is the cheapest there."""
    return None if prior is None else np.where(y == 1, prior / y.mean(), (1 - prior) / (1 - y.mean()))


def _save(config: Config, data: CreditData, split: dict[str, CreditData], fitted: Fitted) -> Bundle:
    used = {field for model in fitted.models.values() for field in model.fields}
    used |= {n for field in data.fields if field.formula and field.name in used for n in Formula(field.formula).fields}
    fields = [field for field in data.fields if field.name in used]
    train, valid = split["train"], split["valid"]
    serving, cutoff = fitted.models[fitted.serving], fitted.cutoffs[fitted.serving]
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
            "cutoffs": {name: cutoff.model_dump() for name, cutoff in fitted.cutoffs.items()},
            "bins": describe_bins(fitted.scorecard.variables, fitted.models["scorecard"]),
            "dropped": dict(fitted.scorecard.dropped),
        },
        metrics=fitted.metrics | {"cutoff": cutoff.score, "valid_approval_rate": cutoff.approval_rate},
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
