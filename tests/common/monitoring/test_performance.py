from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.evaluation.metrics import auc
from common.monitoring.performance import measure, performance_alarms
from common.monitoring.report import MonitorPolicy, Performance

GENERATOR = np.random.default_rng(5)
P = GENERATOR.beta(2, 3, 2000)
Y = (GENERATOR.random(2000) < P).astype(int)


def alarms(labels: Any, predicted: Any, **baseline: float) -> set[str]:
    return {alarm.kind for alarm in performance_alarms(measure(labels, predicted, baseline), MonitorPolicy())}


def test_a_model_that_keeps_its_promise() -> None:
    found = measure(Y.tolist(), P, {"valid_auc": auc(Y, P)})
    assert found is not None
    assert (found.task, found.n) == ("binary", 2000)
    values = {metric.name: metric for metric in found.metrics}
    assert values["auc"].value == pytest.approx(auc(Y, P))
    assert values["auc"].low < auc(Y, P) < values["auc"].high
    assert alarms(Y, P, valid_auc=auc(Y, P)) == set()


def test_a_worse_ranking_is_alarmed() -> None:
    noise = GENERATOR.permutation(P)
    assert alarms(Y, 0.5 * P + 0.5 * noise, valid_auc=auc(Y, P)) == {"performance"}
    assert alarms(Y, 0.5 * P + 0.5 * noise) == set()  # nothing was promised


def test_more_events_than_predicted_are_alarmed() -> None:
    more = np.where(GENERATOR.random(2000) < 0.3, 1, Y)
    assert alarms(more, P) == {"calibration"}
    assert alarms(more[:60], P[:60]) == set()  # too few labels


def test_calibration_holds_its_rate() -> None:
    false = 0
    for _ in range(200):
        p = GENERATOR.beta(1, 20, 300)
        observed, predicted = float((GENERATOR.random(300) < p).mean()), float(p.mean())
        found = Performance(n=300, task="binary", metrics=[], observed=observed, predicted=predicted)
        false += bool(performance_alarms(found, MonitorPolicy()))
    assert false <= 8  # 1 % declared; more happens once in a thousand experiments


def test_only_rows_with_both_count() -> None:
    labels: list[Any] = [*Y[:500], *[None] * 1500]
    found = measure(labels, P, {})
    assert found is not None
    assert found.n == 500
    assert measure([None] * 2000, P, {}) is None
    assert performance_alarms(None, MonitorPolicy()) == []


def test_labels_of_one_class_have_no_auc() -> None:
    found = measure([0] * 200, P[:200], {})
    assert found is not None
    assert [metric.name for metric in found.metrics] == ["brier"]


def test_classes_and_numbers() -> None:
    truth = ["cat", "dog"] * 200
    assert alarms(truth, ["cat", "cat"] * 200, valid_accuracy=0.9) == {"performance"}
    assert alarms(truth, truth, valid_accuracy=0.9) == set()
    hours = np.linspace(10, 100, 400)
    assert alarms(hours, hours + 8, valid_mae=4.0) == {"performance"}
    assert alarms(hours, hours + 4, valid_mae=4.0) == set()
