"""The report of one bundle on the test part, opened here and nowhere else."""

from __future__ import annotations

import time

from common.bundle import Bundle, open_predictor
from common.evaluation import plots
from common.evaluation.metrics import BINARY, bootstrap, trivial_floor
from common.evaluation.page import Section
from common.evaluation.report import Report, Seconds
from common.provenance import commit, machine, peak_rss_mb
from espalier_tumour import SYSTEM
from espalier_tumour.config import Config
from espalier_tumour.data import FIELDS, load


def evaluate(bundle: Bundle) -> tuple[Report, list[Section]]:
    """Metrics with intervals beside the trivial floor, and one section with a figure."""
    started = time.perf_counter()
    config = Config.model_validate(bundle.manifest.config)
    data = load()
    test = data.split(config.seed)["test"]
    loaded = time.perf_counter()
    predictor = open_predictor(bundle)
    requests = [predictor.request(**dict(zip(FIELDS, row, strict=True))) for row in test.x.tolist()]
    p = [answer.probability for answer in predictor.predict(requests)]
    report = Report(
        system=SYSTEM.name,
        preset="bundle",
        dataset="breast-cancer-wisconsin",
        protocol="holdout",
        simulated=False,
        data_sha256=data.sha256,
        metrics={name: bootstrap(test.y, p, metric) for name, metric in BINARY.items()},
        floor=trivial_floor(test.y),
        baselines={},
        published=[],
        slices=[],
        seconds=Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded),
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )
    return report, [Section("Discrimination", "How well it ranks.", [plots.roc_pr(test.y, p, "malignant")])]
