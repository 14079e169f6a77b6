"""Fitting: the champion is chosen at past moments, as it would have been, then learns from what is known now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from common.evaluation.metrics import ap, auc, recalibration
from common.progress import bar
from finance.fraud_detection.clock import DAY
from finance.fraud_detection.config import Config
from finance.fraud_detection.data import Events
from finance.fraud_detection.definition import Definition
from finance.fraud_detection.ensemble import Ensemble, Inputs, Model
from finance.fraud_detection.history import Table, history
from finance.fraud_detection.linear import Calibration, Logistic
from finance.fraud_detection.model import Anomaly, fit_lightgbm, fit_network, fit_xgboost
from finance.fraud_detection.policy import AlertBudget, alert_threshold
from finance.fraud_detection.prequential import Moment, customers, moment_of, past_moments

TOGETHER = ("xgboost", "sequence")
"""Of two kinds that err differently: their mean is tried too."""


@dataclass(frozen=True)
class Fitted:
    """All models, which one is the champion, its calibration and thresholds, and what was measured at past moments."""

    definition: Definition
    models: dict[str, Ensemble]
    champion: str
    calibration: Calibration
    anomaly: Anomaly
    budget: AlertBudget
    decline: float
    metrics: dict[str, Any]

    def score(self, inputs: Inputs) -> np.ndarray:
        """The champion's probability of fraud."""
        return self.calibration.probability(self.models[self.champion].predict(*inputs))


class Features:
    """What models see of the transactions that some moments need, and of `others` at these positions, computed once."""

    def __init__(
        self, definition: Definition, events: Events, moments: Sequence[Moment], others: np.ndarray | Sequence[int] = ()
    ) -> None:
        self.definition = definition
        needed = [part for m in moments for part in (m.train, m.test)]
        self.rows = np.unique(np.concatenate([*needed, np.asarray(others, np.int64)]))
        counts = history(definition, table_of(events), self.rows)
        self.all = Inputs.of(definition, counts, events.time[self.rows], events.amount[self.rows])

    def at(self, rows: np.ndarray) -> Inputs:
        """Of transactions at these positions."""
        return self.all.part(np.searchsorted(self.rows, rows))


def definition_of(config: Config, events: Events) -> Definition:
    """What is counted: every entity, each with the next one as its partner."""
    names = tuple(events.entities)
    partners = (*names[1:2], *(names[0] for _ in names[1:])) or names
    return Definition(
        entities=names,
        partners=partners if len(names) > 1 else names,
        windows=config.windows,
        risk_windows=config.risk_windows,
        delay=round(config.label_delay_days * DAY),
        calendar=config.calendar,
        steps=config.sequence.steps if "sequence" in config.models else 0,
    )


def table_of(events: Events) -> Table:
    """Transactions as `history` takes them."""
    codes = [pd.factorize(values)[0] for values in events.entities.values()]
    unknown = [values == "" for values in events.entities.values()]
    found = np.stack([np.where(none, -1, code) for code, none in zip(codes, unknown, strict=True)], axis=1)
    return Table(events.time, events.amount, found, events.fraud, events.label_time)


def fit(config: Config, events: Events, ready: Features | None = None) -> Fitted:
    """Choose the champion at past moments by average precision, then fit all models on what is known at the test.

    Calibration and thresholds come from the champion's scores at the past moments, of what it had not seen.
    """
    moment, past = moment_of(config, events), past_moments(config, events)
    definition = definition_of(config, events)
    ready = ready or Features(definition, events, [moment, *past])
    y = events.fraud
    tested = np.concatenate([m.test for m in past])
    told: dict[str, list[np.ndarray]] = {}
    metrics: dict[str, Any] = {}
    with bar("models at past moments", len(config.models) * (len(past) + 1)) as advance:
        for m in past:
            for name, model in fit_models(config, ready.at(m.train), y[m.train]):
                told.setdefault(name, []).append(model.predict(*ready.at(m.test)))
                advance(len(model.parts) == 1, name)
        for name, scores in told.items():
            pairs = [(y[m.test], score) for m, score in zip(past, scores, strict=True)]
            metrics[f"valid_ap_{name}"] = float(np.mean([ap(*pair) for pair in pairs]))
            metrics[f"valid_auc_{name}"] = float(np.mean([auc(*pair) for pair in pairs]))
        champion = max(told, key=lambda name: metrics[f"valid_ap_{name}"])
        models = {}
        for name, model in fit_models(config, ready.at(moment.train), y[moment.train]):
            models[name] = model
            advance(len(model.parts) == 1, name)
    log_odds = np.concatenate(told[champion])
    calibration = Calibration(*recalibration(y[tested], 1 / (1 + np.exp(-log_odds))))
    score = calibration.probability(log_odds)
    # A day that two moments share counts for each: their customers are alerted again.
    day = np.concatenate([events.time[m.test] // DAY + 10**6 * i for i, m in enumerate(past)])
    alerts = config.alerts_per_day
    budget = alert_threshold(score, day, y[tested], events.amount[tested], alerts, customers(events)[tested])
    decline = max(_precise(score, y[tested], config.decline_precision), budget.threshold)
    known = {"valid_auc": metrics[f"valid_auc_{champion}"], "valid_ap": metrics[f"valid_ap_{champion}"]}
    return Fitted(
        definition=definition,
        models=models,
        champion=champion,
        calibration=calibration,
        anomaly=Anomaly.fit(ready.at(moment.train).x, config.seed),
        budget=budget,
        decline=decline,
        metrics=known | metrics,
    )


def fit_models(config: Config, inputs: Inputs, y: np.ndarray) -> Iterator[tuple[str, Ensemble]]:
    """All models of the configuration, fitted to inputs and y (rows,) in {0, 1}; then the mean of `TOGETHER`."""
    x, parts = inputs.x, dict[str, Model]()
    fits: Mapping[str, Any] = {
        "logistic": lambda: Logistic.fit(x, y, config.seed),
        "xgboost": lambda: fit_xgboost(x, y, config.boosting, config.seed),
        "lightgbm": lambda: fit_lightgbm(x, y, config.boosting, config.seed),
        "sequence": lambda: fit_network(inputs, y, config.sequence, config.seed),
    }
    for name in config.models:
        parts[name] = fits[name]()
        yield name, Ensemble({name: parts[name]})
    if set(TOGETHER) <= set(parts):
        joined = Ensemble({name: parts[name] for name in TOGETHER})
        yield joined.name, joined


def _precise(score: np.ndarray, fraud: np.ndarray, precision: float) -> float:
    """The lowest score from which on so many are frauds; above 1 when there is none."""
    order = np.argsort(-score, kind="stable")
    right = np.cumsum(fraud[order] == 1) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(right >= precision)
    return float(score[order[enough[-1]]]) if len(enough) else 1.01
