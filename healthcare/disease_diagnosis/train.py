"""From patients or pictures to a bundle: a model, its calibration at every site, and what it can promise there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from common.bundle import Bundle, save_bundle
from common.evaluation.stability import reference_histogram
from common.files import sha256
from healthcare.disease_diagnosis import SYSTEM
from healthcare.disease_diagnosis.config import Config
from healthcare.disease_diagnosis.data import Patients, Pictures, load
from healthcare.disease_diagnosis.fit import fit
from healthcare.disease_diagnosis.promise import site_of
from healthcare.disease_diagnosis.question import Question

if TYPE_CHECKING:
    from healthcare.disease_diagnosis.network import Ensemble

EXAMPLES = 5


def train(config: Config) -> Bundle:
    """Load, split, fit, calibrate, promise and save; the test part is not looked at."""
    data = load(config)
    if not isinstance(data, Patients):
        from healthcare.disease_diagnosis.fit_pictures import fit_ensemble  # needs torch

        parts = data.split()
        return save_pictures(config, data, parts, fit_ensemble(config, parts["train"]))
    return train_patients(config, data)


def save_pictures(config: Config, data: Pictures, split: dict[str, Pictures], ensemble: Ensemble) -> Bundle:
    """The bundle of an ensemble fitted on `split["train"]`."""
    from healthcare.disease_diagnosis.fit_pictures import contents

    return save_bundle(SYSTEM, config, **contents(config, data, split, ensemble))


def train_patients(config: Config, data: Patients) -> Bundle:
    """Fit on one centre, recalibrate for every other by its few labels; each question for itself."""
    split = data.split(config.centre, config.seed)
    questions: list[Question] = []
    metrics: dict[str, Any] = {}
    labelled = {name: cut(config, split[name])[0].questions() for name in other_sites(split)}
    for name, part in split["train"].questions().items():
        question, found = fit(config, part)
        for site, few in labelled.items():
            raw = question.linear.log_odds(few[name].columns())
            question.sites[site] = site_of(raw, few[name].y, few[name].sex)
        questions.append(question)
        metrics |= {f"{key}_{name}" if name else key: value for key, value in found.items()}
    return _save(config, data, split, questions, metrics)


def other_sites(split: dict[str, Patients]) -> list[str]:
    """The centres where the model was not fitted."""
    return [name for name in split if name not in ("train", "test")]


def cut(config: Config, site: Patients, draw: int = 0) -> tuple[Patients, Patients]:
    """Of another centre the few labelled patients that recalibrate, and all others, for the test."""
    order = np.random.default_rng([config.seed, draw]).permutation(len(site))
    count = min(config.labels_per_site, len(site) // 2)
    return site.rows(np.sort(order[:count])), site.rows(np.sort(order[count:]))


def _save(
    config: Config, data: Patients, split: dict[str, Patients], questions: list[Question], metrics: dict[str, Any]
) -> Bundle:
    train = split["train"]
    p = 1 - questions[0].chances(train.columns())[:, 0]
    reference = {field.name: reference_histogram(train.frame[field.name]) for field in data.fields}
    arrays = {key: value for i, one in enumerate(questions) for key, value in one.arrays(str(i)).items()}
    return save_bundle(
        SYSTEM,
        config,
        arrays={"model.safetensors": arrays},
        preprocess={
            "kind": "patients",
            "questions": [question.json() for question in questions],
            "coverage": config.coverage,
            "threshold": config.costs.threshold,
        },
        metrics=metrics | {"threshold": config.costs.threshold},
        data={
            "cards": [{"id": data.id, "title": data.title, "licence": data.licence, "sha256": data.sha256}],
            "simulated": data.simulated,
            "split": f"three quarters of the centre to train, stratified, equal patients together, seed {config.seed}; "
            f"{config.labels_per_site} patients of every other centre recalibrate, the others are for the test",
            "test_rows_sha256": sha256(split["test"].row.tobytes()),
        },
        reference=reference | {"probability": reference_histogram(p)},
        examples=[record_of(train, i) for i in range(EXAMPLES)],
    )


def record_of(data: Patients, i: int) -> dict[str, Any]:
    """One patient as a request: plain Python values, missing as None."""
    found: dict[str, Any] = {}
    for field in data.fields:
        value = data.frame[field.name].iloc[i]
        number = field.kind == "number"
        found[field.name] = None if value is None or (number and np.isnan(value)) else float(value) if number else value
    return found
