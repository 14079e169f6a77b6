from __future__ import annotations

import random

from common.console.charts import monitor_html
from common.console.words import speaker
from common.monitoring.online import Monitor

SAY = speaker("en")
REFERENCE = {
    "age": {"edges": [20, 40, 60], "shares": [0.25, 0.25, 0.25, 0.25], "missing": 0.0, "n": 1000},
    "colour": {"levels": ["red", "<i>"], "shares": [0.5, 0.5, 0.0], "missing": 0.0, "n": 1000},
    "score": {"edges": [0.5], "shares": [0.5, 0.5], "missing": 0.0, "n": 1000},
}


def watched(rows: int, age: float) -> list[dict]:
    """What `/v1/monitor?reference=true` tells of a model whose people are about `age`."""
    monitor = Monitor(REFERENCE, system="toy.model", version="v1")
    draw = random.Random(0)
    for _ in range(rows):
        request = {"age": draw.uniform(age - 20, age + 20), "colour": draw.choice(["red", "<i>"])}
        monitor.observe(request, {"score": draw.random()})
        if monitor._waiting and len(monitor._waiting) > 900:
            monitor.fold()
    monitor.fold()
    for _ in range(rows // 2):
        monitor.observe_label(draw.random(), draw.randint(0, 1))
    monitor.judge()
    return [monitor.snapshot().model_dump(mode="json")]


def test_drift_is_a_bar_with_its_alarm_and_answers_have_their_distribution() -> None:
    html = monitor_html(watched(500, 90), SAY, {})
    assert "toy.model" in html
    assert "esp-shifted" in html
    assert "input drift" in html
    assert "Distribution: score" in html
    assert "auc" in html
    assert "<i>" not in html.replace('<i class="esp-', "")


def test_calm_and_empty_are_said_so() -> None:
    assert "No model is watched" in monitor_html([], SAY, {})
    assert "Nothing to judge yet" in monitor_html(watched(0, 40), SAY, {})
    assert "Too few rows to judge: 200 are needed" in monitor_html(watched(20, 40), SAY, {})
    assert "Too few labels" in monitor_html(watched(20, 40), SAY, {})


def test_fields_are_called_as_the_system_calls_them() -> None:
    html = monitor_html(watched(300, 40), SAY, {"toy.model": speaker("zh", None, {"age": "年龄"})})
    assert "年龄" in html
    assert "分布" in html
