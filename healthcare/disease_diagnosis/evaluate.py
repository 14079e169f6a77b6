"""The report of one bundle on its test part and on other centres, opened here and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from common.bundle import Bundle
from common.evaluation import plots
from common.evaluation.metrics import auc, brier
from common.evaluation.page import Section
from common.evaluation.report import Metric, Report, Seconds, Slice
from common.provenance import commit, machine, peak_rss_mb
from healthcare.disease_diagnosis import SYSTEM
from healthcare.disease_diagnosis.config import Config
from healthcare.disease_diagnosis.data import Patients, Pictures, load
from healthcare.disease_diagnosis.measure import (
    decision_curve,
    each_against_the_rest,
    floor_of,
    held,
    measured,
    promise_kept,
    referred,
    share,
    slices,
)
from healthcare.disease_diagnosis.promise import chances
from healthcare.disease_diagnosis.question import Question
from healthcare.disease_diagnosis.serve import DiagnosisPredictor
from healthcare.disease_diagnosis.train import cut, other_sites

TWO = ("auc", "brier", "ece", "sensitivity_at_97")
SEVERAL = (*TWO, "accuracy", "log_loss")
"""What is measured of two findings, and of several."""
SITES = (
    "The model as it is, and after {} labelled patients of another centre have set its calibration and its promise; "
    "those are left out here. The ranking, and so the AUC, is the model's own."
)


def evaluate(bundle: Bundle) -> tuple[Report, list[Section]]:
    """Metrics, slices and the sections of the page.

    Raises `DataError` when the data or the split is not the one the bundle was trained on.
    """
    started = time.perf_counter()
    config = Config.model_validate(bundle.manifest.config)
    data = load(config)
    engine = DiagnosisPredictor.load(bundle).engine
    if isinstance(data, Pictures):
        from healthcare.disease_diagnosis.evaluate_pictures import evaluate_pictures

        return evaluate_pictures(bundle, config, data, engine, started)
    split = data.split(config.centre, config.seed)
    test, main = split["test"], engine.main
    bundle.check_test_rows(test.row.tobytes())
    loaded = time.perf_counter()
    p = main.chances(test.columns())
    sets = main.sets(test.columns(), config.coverage, test.sex)
    groups = {"finding": np.array(test.findings)[test.y], "sex": test.sex, "age": test.age}
    metrics = measured(test.y, [(np.arange(len(test)), p)], SEVERAL if len(test.findings) > 2 else TWO)
    metrics |= promise_kept(coverage_name(config), sets, test.y)
    centres, elsewhere = centre_rows(config, engine.questions, split)
    parts = slices(test.y, p, groups, sets)
    report = report_of(
        test,
        protocol="holdout",
        metrics=metrics | elsewhere,
        floor=floor_of(test.y, metrics),
        slices=parts + each_against_the_rest(test.y, p, test.findings),
        seconds=Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded),
    )
    event = test.findings[1] if len(test.findings) == 2 else "disease"
    sections = sections_of(config, test.diseased, 1 - p[:, 0], event, 5, report.metrics, parts)
    asked = Section("Centres and findings", SITES.format(config.labels_per_site), table=centres)
    return report, [*sections, *([asked] if centres else [])]


def sections_of(
    config: Config,
    y: np.ndarray,
    ill: np.ndarray,
    event: str,
    bins: int,
    metrics: dict[str, Metric],
    parts: Sequence[Slice],
) -> list[Section]:
    """What the page says of measurements and of pictures alike; labels 0/1 (n,) and probabilities of disease (n,)."""
    threshold = config.costs.threshold
    act = ill >= threshold
    acting = (
        f"Acting from a probability of {threshold:.2f}, where a missed disease costs {1 / threshold - 1:g} times "
        f"a false alarm, finds {act[y == 1].mean():.1%} of the diseased and alarms {act[y == 0].mean():.1%} of the "
        "healthy."
    )
    promise = (
        f"Promised: the set holds the true finding in {config.coverage:.0%} of cases of a site and subgroup. "
        "Not promised: the same for each finding, or by anything else that is listed here."
    )
    named = {"everybody": {**metrics, "coverage": metrics[coverage_name(config)]}} | {s.group: s.metrics for s in parts}
    rows = [
        {
            "group": group,
            "cases": found["coverage"].n,
            "coverage": found["coverage"],
            "findings in a set": found["set_size"].value,
            "referred": found["referral_rate"].value,
        }
        for group, found in named.items()
    ]
    return [
        Section("Intended use", SYSTEM.intended_use),
        Section("Discrimination", "How well ill and healthy are told apart.", [plots.roc_pr(y, ill, event)]),
        Section(
            "Calibration", "Whether a stated probability is what happens.", [plots.calibration(y, ill, bins, event)]
        ),
        Section("Decisions", acting, [decision_curve(y, ill, threshold)]),
        Section("Promise", promise, table=rows),
    ]


def centre_rows(
    config: Config, questions: Sequence[Question], split: dict[str, Patients]
) -> tuple[list[dict[str, Any]], dict[str, Metric]]:
    """A row for each other centre and each further finding, where both labels occur; metrics of the same."""
    rows: list[dict[str, Any]] = []
    metrics: dict[str, Metric] = {}
    parts = {questions[0].home: split["test"]} | {name: cut(config, split[name])[1] for name in other_sites(split)}
    for site, everybody in parts.items():
        for question, (name, part) in zip(questions, everybody.questions().items(), strict=True):
            if (not name and site == question.home) or len(np.unique(part.diseased)) < 2:
                continue
            columns, y = part.columns(), part.diseased
            own = chances(question.linear.log_odds(columns))
            before, after = (1 - question.chances(columns, at)[:, 0] for at in ("", site))
            ours, sets = (question.sets(columns, config.coverage, part.sex, at) for at in ("", site))
            suffix = "_".join(key for key in (name, site if site != question.home else "") if key)
            metrics[f"{coverage_name(config)}_{suffix}"] = share(held(sets, part.y))
            if name and site == question.home:
                metrics[f"auc_{name}"] = measured(part.y, [(np.arange(len(part)), own)], ["auc"])["auc"]
            rows.append(
                {
                    "finding": "disease" if not name else part.findings[1],
                    "centre": site,
                    "patients": len(part),
                    "have it": float(y.mean()),
                    "AUC": auc(y, 1 - own[:, 0]),
                    "Brier before": brier(y, before),
                    "after": brier(y, after),
                    "coverage before": share(held(ours, part.y)),
                    "coverage after": share(held(sets, part.y)),
                    "referred after": float(referred(sets).mean()),
                    "in a set": float(sets.sum(axis=1).mean()),
                }
            )
    return rows, metrics


def coverage_name(config: Config) -> str:
    """The metric's name: `coverage90` for a promise of 90 %."""
    return f"coverage{config.coverage * 100:g}"


def report_of(data: Patients | Pictures, **values: Any) -> Report:
    """A report with what is the same in all of them."""
    same = {"preset": "bundle", "baselines": {}, "published": []} | values
    return Report(
        system=SYSTEM.name,
        dataset=data.id,
        simulated=data.simulated,
        data_sha256=data.sha256,
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
        **same,
    )
