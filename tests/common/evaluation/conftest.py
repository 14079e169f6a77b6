from __future__ import annotations

import pytest

from common.data.card import Published
from common.evaluation.report import Metric, Report, Seconds, Slice


@pytest.fixture
def report() -> Report:
    return Report(
        system="branch.system",
        preset="reference",
        dataset="some-set",
        protocol="5x2cv",
        simulated=False,
        data_sha256="0" * 64,
        metrics={
            "auc": Metric(value=0.79, low=0.76, high=0.82, n=1000),
            "ece": Metric(value=0.02, low=0.01, high=0.03, n=1000),
        },
        floor={"auc": 0.5, "ece": 0.0},
        baselines={"logistic": {"auc": 0.77, "ece": 0.04}, "forest": {"auc": 0.78, "ece": 0.05}},
        published=[
            Published(model="LDA", metric="auc", value=0.770, protocol="5x2cv", source="Somebody 2015"),
            Published(model="Boosting", metric="auc", value=0.767, protocol="5x2cv", source="https://example.org/p"),
        ],
        slices=[Slice(name="sex", group="female", metrics={"auc": Metric(value=0.8, low=0.7, high=0.9, n=310)})],
        seconds=Seconds(data=0.1, train=2, evaluate=1),
        peak_rss_mb=300.5,
        machine="a machine",
        commit="abc1234",
    )
