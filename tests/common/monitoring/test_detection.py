"""The declared false-alarm rate and the power, over 200 windows with a fresh reference each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from common.evaluation.stability import reference_histogram
from common.monitoring.check import check_window
from common.monitoring.report import MonitorPolicy, MonitorReport

WINDOWS = 200
LEVELS = np.array(["a", "b", "c", "d"])


def draw_population(generator: np.random.Generator, n: int) -> pd.DataFrame:
    """Ten numbers and ten categories, independent; the same for reference and window."""
    columns: dict[str, Any] = {f"number{i}": generator.normal(size=n) for i in range(10)}
    for i in range(10):
        columns[f"level{i}"] = generator.choice(LEVELS, n, p=[0.5, 0.3, 0.15, 0.05])
    return pd.DataFrame(columns)


def make_reference(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {str(name): reference_histogram(frame[name]) for name in frame}


def most_alarms(rate: float) -> int:
    """So many of 200 windows only one experiment in a thousand exceeds, if the rate is what was declared."""
    return int(binom.ppf(0.999, WINDOWS, rate))


def drifted(report: MonitorReport) -> set[str]:
    return {alarm.field for alarm in report.alarms if alarm.kind == "input_drift"}


@pytest.fixture(scope="module")
def references() -> list[dict[str, Any]]:
    generator = np.random.default_rng(20)
    return [make_reference(draw_population(generator, 1500)) for _ in range(WINDOWS)]


def run(
    references: list[dict[str, Any]],
    policy: MonitorPolicy,
    n: int,
    change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame,
) -> list[MonitorReport]:
    generator = np.random.default_rng(n)
    return [check_window(reference, change(draw_population(generator, n)), policy) for reference in references]


@pytest.mark.parametrize("n", [200, 2000])
def test_nothing_changed(references: list[dict[str, Any]], n: int) -> None:
    # psi=0 leaves the tests alone to decide, which is the harder case for the rate
    reports = run(references, MonitorPolicy(alpha=0.05, psi=0, min_rows=100), n)
    alarmed = sum(bool(drifted(report)) for report in reports)
    uncorrected = sum(any(field.p <= 0.05 for field in report.fields) for report in reports)
    assert alarmed <= most_alarms(0.05)
    assert uncorrected > 0.3 * WINDOWS  # twenty tests without correction cry wolf
    assert sum(alarm.kind != "input_drift" for report in reports for alarm in report.alarms) == 0


def test_the_tests_are_not_empty_words(references: list[dict[str, Any]]) -> None:
    # Single p-values reach near their nominal level: chi-square exactly, grouped KS at most.
    reports = run(references, MonitorPolicy(), 1000)
    for test, low, high in (("chi2", 0.04, 0.06), ("ks", 0.02, 0.055)):
        p = [field.p for report in reports for field in report.fields if field.test == test]
        assert low < np.mean(np.array(p) <= 0.05) < high


def test_a_shifted_field_is_alarmed_and_no_other(references: list[dict[str, Any]]) -> None:
    # 0.8 standard deviations are a PSI of about 0.6
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        levels = frame["level0"].where(frame["level0"] != "a", "c")
        return frame.assign(number0=frame["number0"] + 0.8, level0=levels)

    reports = run(references, MonitorPolicy(), 500, change)
    assert all({"number0", "level0"} <= drifted(report) for report in reports)
    false = sum(bool(drifted(report) - {"number0", "level0"}) for report in reports)
    assert false <= most_alarms(MonitorPolicy().alpha)


def test_a_small_shift_is_found_by_the_test_alone(references: list[dict[str, Any]]) -> None:
    policy = MonitorPolicy(psi=0)
    reports = run(references, policy, 1000, lambda frame: frame.assign(number0=frame["number0"] + 0.3))
    assert np.mean(["number0" in drifted(report) for report in reports]) > 0.95


def test_false_discoveries_stay_few_beside_true_ones(references: list[dict[str, Any]]) -> None:
    policy = MonitorPolicy(alpha=0.1, psi=0)
    changed = {f"number{i}" for i in range(5)}
    reports = run(references, policy, 500, lambda frame: frame.assign(**{name: frame[name] + 0.5 for name in changed}))
    false = [len(drifted(report) - changed) / max(len(drifted(report)), 1) for report in reports]
    assert np.mean(false) <= 0.1
    assert np.mean([len(drifted(report) & changed) for report in reports]) > 4.9
