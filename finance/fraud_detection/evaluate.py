"""The report of a detector on the test period, opened here and nowhere else."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

import numpy as np

from common.bundle import Bundle
from common.evaluation import plots
from common.evaluation.metrics import ap, auc, bootstrap, trivial_floor
from common.evaluation.page import Section
from common.evaluation.report import Metric, Report, Seconds, Slice
from common.progress import warn
from common.provenance import commit, machine, peak_rss_mb
from finance.fraud_detection import SYSTEM
from finance.fraud_detection.clock import DAY
from finance.fraud_detection.config import BoostingSettings, Config
from finance.fraud_detection.data import Events, load, published
from finance.fraud_detection.fit import Features
from finance.fraud_detection.model import Anomaly, fit_xgboost
from finance.fraud_detection.policy import alert_threshold, cost_saved
from finance.fraud_detection.prequential import Moment, card_precision, customers, moment_of
from finance.fraud_detection.serve import FraudPredictor
from finance.fraud_detection.train import CLOSED_DATA

DRAWS = 300
"""Of customers, for intervals."""
SCENARIOS = {1: "large amount", 2: "compromised terminal", 3: "stolen card"}
HANDBOOK = BoostingSettings(depth=6, rounds=100, learning_rate=0.3, subsample=1, colsample=1, min_leaf=1, bags=1)
"""XGBoost as it comes."""
HANDBOOK_FEATURES = re.compile(r"amount|hour|weekday|customer_(count|mean)_(1|7|30)d|terminal_(known|risk)_(1|7|30)d")


def evaluate(bundle: Bundle) -> tuple[Report, list[Section]]:
    """Score the test period with the bundle's champion, as the service would have; metrics, slices and sections.

    Raises `DataError` when the data or the period is not the one the bundle was trained for.
    """
    started = time.perf_counter()
    config = Config.model_validate(bundle.manifest.config)
    events = load(config)
    moment = moment_of(config, events)
    bundle.check_test_rows("\n".join(events.id[moment.test]).encode())
    loaded = time.perf_counter()
    predictor = FraudPredictor.load(bundle)
    ready = Features(predictor.definition, events, [moment])
    score = predictor.score(ready.at(moment.test))
    seconds = Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded)
    report = assess(config, events, moment, score, baselines(config, events, moment, ready), "bundle", seconds)
    y = events.fraud[moment.test]
    sections = [
        Section(
            "Ranking",
            "How well frauds stand before the rest."
            + (f" Mind that these are {CLOSED_DATA}." if events.simulated else ""),
            figures=[plots.roc_pr(y, score, event="fraud"), plots.calibration(y, score, event="fraud")],
        ),
        _budget(config, events, moment, score, predictor),
    ]
    return report, sections


def assess(
    config: Config,
    events: Events,
    moment: Moment,
    score: np.ndarray,
    rivals: Mapping[str, np.ndarray],
    preset: str,
    seconds: Seconds,
    protocol: str = "",
) -> Report:
    """The report of scores (test rows,) in the test period of `moment`; `rivals` are those of the baselines.

    `protocol` is what the split is called where it is not one by time.
    """
    protocol = protocol or protocol_of(config)
    if events.simulated:
        warn(f"{events.dataset}: {CLOSED_DATA}")
    return Report(
        system=SYSTEM.name,
        preset=preset,
        dataset=events.dataset,
        protocol=protocol,
        simulated=events.simulated,
        data_sha256=events.sha256,
        metrics=measured(config, events, moment.test, score),
        floor=floor(config, events, moment.test),
        baselines={name: values_of(config, events, moment.test, other) for name, other in rivals.items()},
        published=published(events.dataset, protocol) if _as_published(config) else [],
        slices=_slices(events, moment.test, score),
        seconds=seconds,
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )


def protocol_of(config: Config) -> str:
    """What the split is called in tables."""
    return "baseline-split" if config.periods.test_start else "past-only"


def _as_published(config: Config) -> bool:
    """Whether a simulated town is as large as the one that others measured on."""
    full = Config()
    size = ("customers", "terminals", "label_delay_days")
    return config.dataset != full.dataset or all(getattr(config, name) == getattr(full, name) for name in size)


def measured(config: Config, events: Events, rows: np.ndarray, score: np.ndarray) -> dict[str, Metric]:
    """AUC and average precision with intervals over customers, and the precision of the daily alerts."""
    y, customer = events.fraud[rows], np.unique(customers(events)[rows], return_inverse=True)[1]
    found = {name: bootstrap(y, score, metric, DRAWS, groups=customer) for name, metric in (("auc", auc), ("ap", ap))}
    most = int(config.alerts_per_day)
    if config.calendar:
        found[f"cp{most}"] = card_precision(customers(events)[rows], events.time[rows], y, score, most)
    return found


def values_of(config: Config, events: Events, rows: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """The same without intervals."""
    y, most = events.fraud[rows], int(config.alerts_per_day)
    found = {"auc": auc(y, score), "ap": ap(y, score)}
    if config.calendar:
        found[f"cp{most}"] = card_precision(customers(events)[rows], events.time[rows], y, score, most).value
    return found


def floor(config: Config, events: Events, rows: np.ndarray) -> dict[str, float]:
    """What alerts at random reach: the share of frauds, and of defrauded among the customers of a day."""
    y, most = events.fraud[rows], int(config.alerts_per_day)
    found = {name: value for name, value in trivial_floor(y).items() if name in ("auc", "ap")}
    if config.calendar:
        day = events.time[rows] // DAY
        shares = []
        for date in np.unique(day):
            today = day == date
            everybody = len(np.unique(customers(events)[rows[today]]))
            bad = len(np.unique(customers(events)[rows[today & (y == 1)]]))
            shares.append(bad / max(everybody, most))
        found[f"cp{most}"] = float(np.mean(shares))
    return found


def baselines(config: Config, events: Events, moment: Moment, ready: Features) -> dict[str, np.ndarray]:
    """Scores of the amount alone, of an anomaly detector without labels, and of XGBoost on the Handbook's features."""
    train, test, y = ready.at(moment.train).x, ready.at(moment.test).x, events.fraud[moment.train]
    found = {"isolation forest, no labels": Anomaly.fit(train, config.seed).predict(test)}
    if events.amount.any():
        found["amount alone"] = events.amount[moment.test].astype(float)
    if events.simulated and config.calendar and "terminal" in events.entities:
        columns = [i for i, name in enumerate(ready.definition.names) if HANDBOOK_FEATURES.fullmatch(name)]
        model = fit_xgboost(train[:, columns], y, HANDBOOK, config.seed)
        found["XGBoost, Handbook's features"] = model.predict(test[:, columns])
    return found


def _slices(events: Events, rows: np.ndarray, score: np.ndarray) -> list[Slice]:
    """Each kind of simulated fraud against all good transactions."""
    y, scenario, found = events.fraud[rows], events.scenario[rows], []
    for kind, name in SCENARIOS.items():
        some = (y == 0) | (scenario == kind)
        if (scenario == kind).any():
            metrics = {
                "auc": bootstrap(y[some], score[some], auc, DRAWS),
                "ap": bootstrap(y[some], score[some], ap, DRAWS),
            }
            own = {name: one.model_copy(update={"n": int((scenario == kind).sum())}) for name, one in metrics.items()}
            found.append(Slice(name="fraud", group=name, metrics=own))
    return found


def _budget(config: Config, events: Events, moment: Moment, score: np.ndarray, predictor: FraudPredictor) -> Section:
    """What the thresholds of past moments did in the test period."""
    rows, kept = moment.test, predictor.kept
    y, amount, day = events.fraud[rows], events.amount[rows], events.time[rows] // DAY
    decision = np.where(score >= kept["decline"], "decline", np.where(score >= kept["review"], "review", "approve"))
    days = len(np.unique(day))
    raised = score >= kept["review"]
    alerted = set(zip(day[raised].tolist(), customers(events)[rows][raised].tolist(), strict=True))
    best = alert_threshold(score, day, y, amount, config.alerts_per_day, customers(events)[rows])
    saved = cost_saved(decision, y, amount, config.review_cost) / 10 ** kept["decimals"]
    lost = amount[y == 1].sum() / 10 ** kept["decimals"]
    table = [
        {"what": "alerts a day, promised", "value": f"{config.alerts_per_day:g}"},
        {"what": "alerts a day, with the threshold of past moments", "value": f"{len(alerted) / days:.1f}"},
        {"what": "frauds found by these alerts", "value": f"{(decision[y == 1] != 'approve').mean():.1%}"},
        {
            "what": "frauds found had the threshold been known in advance",
            "value": f"{best.recall or 0:.1%} of customers",
        },
        {"what": f"saved a day, reviews at {config.review_cost / 100:g} each", "value": f"{saved / days:,.0f}"},
        {"what": "lost to fraud a day without any alert", "value": f"{lost / days:,.0f}"},
        {"what": "good transactions declined", "value": f"{(decision[y == 0] == 'decline').mean():.3%}"},
    ]
    text = f"Amounts in {kept['currency']}. A review is taken to recognise every fraud it sees."
    figure = plots.score_distribution(y, score, event="fraud", cutoff=kept["review"])
    return Section("Alerts and money", text, figures=[figure], table=table)
