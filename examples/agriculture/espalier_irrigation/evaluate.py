"""The report of a bundle on the test part, opened here and nowhere else; and the benchmark."""

from __future__ import annotations

import time

import numpy as np

from common.bundle import Bundle
from common.evaluation import plots
from common.evaluation.metrics import BINARY, bootstrap, trivial_floor
from common.evaluation.page import Section
from common.evaluation.report import Report, Seconds
from common.provenance import commit, machine, peak_rss_mb
from espalier_irrigation import SYSTEM
from espalier_irrigation.config import Config
from espalier_irrigation.data import DATASET, FEATURES, SIMULATED, load
from espalier_irrigation.model import Model, fit
from espalier_irrigation.serve import IrrigationPredictor

EVENT = "drought stress"


def evaluate(bundle: Bundle) -> tuple[Report, list[Section]]:
    """The report of one bundle, and the sections of its page."""
    model = IrrigationPredictor.load(bundle).model
    report, y, p = _measure(Config.model_validate(bundle.manifest.config), "bundle", model)
    sections = [
        Section("Discrimination", "How well it ranks.", [plots.roc_pr(y, p, EVENT)]),
        Section("Calibration", "Whether a stated probability is what happens.", [plots.calibration(y, p, event=EVENT)]),
    ]
    return report, sections


def bench(config: Config, preset: str) -> list[Report]:
    """One report: trained on the training part, measured on the test part."""
    return [_measure(config, preset)[0]]


def _measure(config: Config, preset: str, model: Model | None = None) -> tuple[Report, np.ndarray, np.ndarray]:
    started = time.perf_counter()
    data = load(config.rows, config.seed)
    split = data.split(config.seed)
    train, test = split["train"], split["test"]
    loaded = time.perf_counter()
    model = model or fit(train.x, train.y, config.inverse_penalty)
    trained = time.perf_counter()
    p = np.array([model.probability(row) for row in test.x.tolist()])
    alone = np.abs([np.corrcoef(column, train.y)[0, 1] for column in train.x.T])
    strongest = int(alone.argmax())
    sign = np.sign(np.corrcoef(train.x[:, strongest], train.y)[0, 1])
    rank = sign * test.x[:, strongest]
    report = Report(
        system=SYSTEM.name,
        preset=preset,
        dataset=DATASET,
        protocol="holdout",
        simulated=SIMULATED,
        data_sha256=data.sha256,
        metrics={name: bootstrap(test.y, p, metric) for name, metric in BINARY.items()},
        floor=trivial_floor(test.y),
        baselines={f"{list(FEATURES)[strongest]} alone": {name: BINARY[name](test.y, rank) for name in ("auc", "ks")}},
        published=[],
        slices=[],
        seconds=Seconds(data=loaded - started, train=trained - loaded, evaluate=time.perf_counter() - trained),
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )
    return report, test.y, p
