"""The report of one bundle on its test part, opened here and nowhere else."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from common.bundle import Bundle
from common.data.card import published
from common.evaluation import plots
from common.evaluation.fairness import group_report
from common.evaluation.metrics import BINARY, bootstrap, calibration_slope, trivial_floor
from common.evaluation.page import Section
from common.evaluation.report import Metric, Report, Seconds, Slice
from common.evaluation.stability import stability_table
from common.provenance import commit, machine, peak_rss_mb
from finance.credit_scoring import SYSTEM
from finance.credit_scoring.config import Config
from finance.credit_scoring.data import CreditData, load
from finance.credit_scoring.knowledge import SEX_CAVEAT
from finance.credit_scoring.policy import cost
from finance.credit_scoring.reasons import MOST_REASONS
from finance.credit_scoring.serve import CreditPredictor

EVENT = "default"
SLOPE_DRAWS = 300  # each fits a regression: 1,000 took three quarters of the time of a report


def evaluate(bundle: Bundle) -> tuple[Report, list[Section]]:
    """Score the test part with both models of the bundle; metrics, slices, and the sections of the page.

    Raises `DataError` when the data or the split is not the one the bundle was trained on.
    """
    started = time.perf_counter()
    config = Config.model_validate(bundle.manifest.config)
    data = load(config)
    split = data.split(config.seed)
    test = split["test"]
    bundle.check_test_rows(test.row.tobytes())
    loaded = time.perf_counter()

    kept = bundle.json("preprocess.json")
    models = {name: CreditPredictor.of(bundle, name) for name in kept["models"]}
    serving = models[kept["serving"]]
    probabilities = {name: _probability(predictor, test) for name, predictor in models.items()}
    p, y = probabilities[kept["serving"]], test.y
    report = Report(
        system=SYSTEM.name,
        preset="bundle",
        dataset=test.id,
        protocol="holdout",
        simulated=test.simulated,
        data_sha256=test.sha256,
        metrics={
            **{name: bootstrap(y, p, metric) for name, metric in BINARY.items()},
            "slope": bootstrap(y, p, calibration_slope, repeats=SLOPE_DRAWS),
        },
        floor=trivial_floor(y),
        baselines={
            name: {key: metric(y, q, None) for key, metric in {**BINARY, "slope": calibration_slope}.items()}
            for name, q in {**probabilities, "logistic regression": one_hot_baseline(split["train"], test)}.items()
            if name != kept["serving"]
        },
        published=published(test.id) if not test.simulated else [],
        slices=slices(test, p),
        seconds=Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded),
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )
    sections = [
        *_discrimination(y, p),
        _decisions(config, serving, test),
        _reasons(serving, test),
        _scorecard(kept),
        *_fairness(serving, test, p),
        _stability(bundle, serving, test),
    ]
    return report, sections


def one_hot_baseline(train: CreditData, test: CreditData) -> np.ndarray:
    """The simple baseline: logistic regression on standardised numbers and one-hot categories, raw fields only."""
    raw = [field.name for field in train.fields if not field.formula]
    known = train.rows(np.flatnonzero(train.accepted))
    both = pd.get_dummies(pd.concat([known.frame[raw], test.frame[raw]]).reset_index(drop=True))
    both = both.fillna(both.mean())
    x = ((both - both.mean()) / both.std().replace(0, 1)).to_numpy(float)
    model = LogisticRegression(max_iter=1000).fit(x[: len(known.y)], known.y)
    return np.asarray(model.predict_proba(x[len(known.y) :])[:, 1])


def slices(data: CreditData, p: np.ndarray, rows: np.ndarray | None = None) -> list[Slice]:
    """AUC and calibration by sex and age band; groups with fewer than ten of either label are left out."""
    rows = np.arange(len(data.y)) if rows is None else rows
    found = []
    for name, groups in (("sex", data.sex), ("age", data.age)):
        for group in np.unique(groups) if len(np.unique(groups)) > 1 else ():
            members = groups == group
            y = data.y[members]
            if min(y.sum(), (1 - y).sum()) >= 10:
                metrics = {key: bootstrap(y, p[members], BINARY[key], repeats=300) for key in ("auc", "ece")}
                found.append(Slice(name=name, group=str(group), metrics=metrics))
    return found


def _probability(predictor: CreditPredictor, data: CreditData) -> np.ndarray:
    return predictor.model.probability(predictor.model.score(data.columns()))


def _discrimination(y: np.ndarray, p: np.ndarray) -> list[Section]:
    return [
        Section(
            "Discrimination", "How well the model ranks.", [plots.roc_pr(y, p, EVENT), plots.ks_curve(y, p, EVENT)]
        ),
        Section("Calibration", "Whether a stated probability is what happens.", [plots.calibration(y, p, event=EVENT)]),
        Section("Gains", "How many defaults the riskiest tenths hold.", [plots.gains(y, p, EVENT)]),
    ]


def _decisions(config: Config, serving: CreditPredictor, test: CreditData) -> Section:
    score = serving.model.score(test.columns()) / serving.model.resolution
    approved = score >= serving.cutoff.score
    everybody, nobody = np.ones(len(score), bool), np.zeros(len(score), bool)
    rows = [
        {
            "policy": name,
            "approved": f"{chosen.mean():.1%}",
            "bad rate of approved": f"{test.y[chosen].mean():.1%}" if chosen.any() else "–",
            "cost per applicant": cost(chosen, test.y, config.costs),
            "profit per applicant": float(
                np.where(
                    chosen,
                    test.amount * np.where(test.y == 1, -config.costs.loss_given_default, config.costs.margin),
                    0,
                ).mean()
            ),
        }
        for name, chosen in (
            ("this cut-off", approved),
            ("approve everybody", everybody),
            ("decline everybody", nobody),
        )
    ]
    text = (
        f"Approved from {serving.cutoff.score:g} points up, set by {serving.cutoff.rule} on validation data "
        f"(there {serving.cutoff.approval_rate:.1%} were approved at {serving.cutoff.value:.3f} per applicant)."
    )
    if not test.accepted.all():
        text += f"\n\nA past policy had accepted {test.accepted.mean():.1%} of these applicants; all are scored here."
    figure = plots.score_distribution(test.y, score, EVENT, serving.cutoff.score, "score (points, higher is safer)")
    return Section("Scores and decisions", text, [figure], rows)


def _reasons(serving: CreditPredictor, test: CreditData) -> Section:
    contributions = serving.model.contributions(test.columns()) / serving.model.resolution
    score = serving.model.score(test.columns()) / serving.model.resolution
    declined = contributions[score < serving.cutoff.score]
    order = np.argsort(-np.abs(contributions).mean(axis=0))[:15]
    top = np.argsort(declined, axis=1)[:, :MOST_REASONS] if len(declined) else np.empty((0, MOST_REASONS), int)
    names = [serving.labels[serving.model.fields[i]] for i in order]
    rows = [
        {
            "reason": serving.labels[serving.model.fields[i]],
            "code": serving.model.fields[i],
            "mean points, absolute": float(np.abs(contributions[:, i]).mean()),
            "named to declined": f"{((top == i) & (np.take_along_axis(declined, top, 1) < 0)).any(1).mean():.1%}"
            if len(declined)
            else "–",
        }
        for i in order
    ]
    figure = plots.bars(
        names, np.abs(contributions).mean(axis=0)[order].tolist(), "What moves the score", "mean points, absolute"
    )
    text = (
        "Points are against the average applicant and add up to the score exactly. "
        f"A declined applicant is told at most {MOST_REASONS} fields that cost the most."
    )
    return Section("Reasons", text, [figure], rows)


def _scorecard(kept: dict[str, Any]) -> Section:
    reasons: dict[str, list[str]] = {}
    for name, why in kept["dropped"].items():
        reason, _, other = why.partition(" with ")
        reasons.setdefault(reason, []).append(f"{name} ({other})" if other else name)
    text = "Points per bin, centred on the average applicant."
    for why, names in reasons.items():
        text += f"\n\nLeft out, {why}: {', '.join(names)}."
    return Section("Scorecard", text, table=kept["bins"])


def _fairness(serving: CreditPredictor, test: CreditData, p: np.ndarray) -> list[Section]:
    declined = (serving.model.score(test.columns()) / serving.model.resolution < serving.cutoff.score).astype(int)
    sections = []
    for name, groups in (("sex", test.sex), ("age", test.age)):
        if len(np.unique(groups)) < 2:  # one's own data may not say
            continue
        found = group_report(test.y, declined, p, groups, favourable=0)
        ratio = found.summary.demographic_parity_ratio
        text = f"Who is approved, and which errors are made, by {name}. "
        if name == "sex" and test.id in SEX_CAVEAT:
            text += SEX_CAVEAT[test.id] + " "
        if ratio:
            text += f"Lowest to highest approval rate: {_interval(ratio)} (four-fifths rule: at least 0.8)."
        rows = [
            {
                "group": row.group,
                "people": row.n,
                "default rate": row.base_rate,
                "approved": row.selection_rate,
                "defaulters declined": row.tpr,
                "good ones declined": row.fpr,
                "auc": row.auc,
                "mean predicted": row.predicted,
            }
            for row in found.groups
        ]
        sections.append(Section(f"Fairness by {name}", text, [plots.group_bars(found, name)], rows))
    return sections


def _stability(bundle: Bundle, serving: CreditPredictor, test: CreditData) -> Section:
    reference = bundle.json("reference.json")
    frame = test.frame.assign(score=serving.model.score(test.columns()) / serving.model.resolution)
    table = stability_table(reference, frame)
    text = "Population stability (PSI) of the score and of every field (CSI), test part against training part."
    figures = []
    if test.month is not None:
        figures.append(plots.stability_lines(stability_table(reference, frame.assign(month=test.month), by="month")))
        text += " Below: month by month."
    ordered = table.sort_values("psi", ascending=False)
    rows = [{str(key): value for key, value in row.items()} for row in ordered.to_dict("records")]
    return Section("Stability", text, figures, rows)


def _interval(metric: Metric) -> str:
    return f"{metric.value:.2f} [{metric.low:.2f}, {metric.high:.2f}]"
