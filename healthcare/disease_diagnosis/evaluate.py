"""The report of one bundle on its test part and on other centres, opened here and nowhere else."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from common.bundle import Bundle
from common.data.card import load_card
from common.errors import DataError
from common.evaluation import plots
from common.evaluation.metrics import auc, brier, trivial_floor
from common.evaluation.page import Section
from common.evaluation.report import Metric, Published, Report, Seconds
from common.files import sha256
from common.provenance import commit, machine, peak_rss_mb
from healthcare.disease_diagnosis import SYSTEM
from healthcare.disease_diagnosis.config import Config
from healthcare.disease_diagnosis.data import Patients, Pictures, load
from healthcare.disease_diagnosis.knowledge import INTENDED_USE
from healthcare.disease_diagnosis.measure import (
    by_finding,
    decision_curve,
    discrimination,
    held,
    promise_kept,
    referred,
    share,
    slices,
)
from healthcare.disease_diagnosis.patients import PatientEngine
from healthcare.disease_diagnosis.promise import probability
from healthcare.disease_diagnosis.serve import DiagnosisPredictor
from healthcare.disease_diagnosis.train import cut, other_sites


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
    test = split["test"]
    check_closed(bundle, sha256(test.row.tobytes()))
    loaded = time.perf_counter()
    columns = test.columns()
    p, place = engine.probabilities(columns), engine.linear.place(columns)
    sets = engine.sites[engine.home].sets(p, config.coverage, place, test.sex)
    groups = {"finding": by_finding(test.y, test.findings), "sex": test.sex, "age": test.age}
    sites, rows = _sites(config, engine, split)
    report = report_of(
        config,
        test,
        protocol="holdout",
        metrics=discrimination(test.y, p) | promise_kept(coverage_name(config), sets, test.y) | sites,
        floor=trivial_floor(test.y),
        slices=slices(test.y, p, sets, groups),
        seconds=Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded),
    )
    event = test.findings[1]
    sections = [
        Section("Intended use", INTENDED_USE),
        Section("Discrimination", "How well diseased and healthy are told apart.", [plots.roc_pr(test.y, p, event)]),
        Section(
            "Calibration", "Whether a stated probability is what happens.", [plots.calibration(test.y, p, 5, event)]
        ),
        decisions(test.y, p, engine.threshold),
        promises(config, test.y, sets, groups),
        *([Section("Other centres", OTHER_CENTRES.format(config.labels_per_site), table=rows)] if rows else []),
    ]
    return report, sections


OTHER_CENTRES = (
    "The model as it is, and after {} labelled patients of the centre have set its calibration and its promise; "
    "those are left out here. The ranking, and so the AUC, is the model's own."
)


def coverage_name(config: Config) -> str:
    """The metric's name: `coverage90` for a promise of 90 %."""
    return f"coverage{config.coverage * 100:g}"


def check_closed(bundle: Bundle, test_rows: str) -> None:
    """Raise `DataError` unless the test part is the one that training kept closed."""
    if test_rows != bundle.json("data.json")["test_rows_sha256"]:
        raise DataError(
            "the test part is not the one that training kept closed",
            where=f"bundle {bundle.path}",
            fix="train the bundle again on this data",
        )


def report_of(config: Config, data: Patients | Pictures, **values: Any) -> Report:
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


def published(dataset: str, protocol: str) -> list[Published]:
    """Published numbers of one protocol."""
    return [Published(**entry.model_dump()) for entry in load_card(dataset).published if entry.protocol == protocol]


def _sites(config: Config, engine: PatientEngine, split: dict[str, Patients]) -> tuple[dict[str, Metric], list[Any]]:
    """Coverage at every other centre, and a row for each: before and after its few labels."""
    metrics, rows = {}, []
    for name in other_sites(split):
        _, rest = cut(config, split[name])
        columns = rest.columns()
        raw, place = engine.linear.log_odds(columns), engine.linear.place(columns)
        before = probability(engine.sites[engine.home].log_odds(raw, place))
        after = engine.probabilities(columns, name)
        ours = engine.sites[engine.home].sets(before, config.coverage, place, rest.sex)
        sets = engine.sites[name].sets(after, config.coverage, place, rest.sex)
        metrics[f"{coverage_name(config)}_{name}"] = share(held(sets, rest.y))
        rows.append(
            {
                "centre": name,
                "patients": len(rest),
                "diseased": float(rest.y.mean()),
                "AUC": auc(rest.y, raw),
                "Brier before": brier(rest.y, before),
                "after": brier(rest.y, after),
                "coverage before": share(held(ours, rest.y)),
                "coverage after": share(held(sets, rest.y)),
                "referred after": float(referred(sets).mean()),
                "findings in a set": float(sets.sum(axis=1).mean()),
            }
        )
    return metrics, rows


def decisions(y: np.ndarray, p: np.ndarray, threshold: float) -> Section:
    """The decision curve, and errors at the threshold that the costs give."""
    act = p >= threshold
    text = (
        f"Acting from a probability of {threshold:.2f}, where a missed disease costs {1 / threshold - 1:g} times "
        f"a false alarm, finds {act[y == 1].mean():.1%} of the diseased and alarms "
        f"{act[y == 0].mean():.1%} of the healthy."
    )
    return Section("Decisions", text, [decision_curve(y, p, threshold)])


def promises(config: Config, y: np.ndarray, sets: np.ndarray, groups: dict[str, np.ndarray]) -> Section:
    """What was promised and what came true, for everybody and by group."""
    rows: list[dict[str, Any]] = []
    everybody = {"all": np.full(len(y), "everybody")}
    for name, group in (everybody | groups).items():
        for value in np.unique(group) if name == "all" or len(np.unique(group)) > 1 else ():
            own = group == value
            rows.append(
                {
                    "group": str(value),
                    "cases": int(own.sum()),
                    "coverage": share(held(sets, y)[own]),
                    "findings in a set": float(sets[own].sum(axis=1).mean()),
                    "referred": float(referred(sets)[own].mean()),
                }
            )
    text = f"Promised: the set holds the true finding in {config.coverage:.0%} of cases of a site and subgroup. "
    text += "Not promised: the same for each finding, or by anything else that is listed here."
    return Section("Promise", text, table=rows)
