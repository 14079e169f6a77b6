"""Credit scoring in the console, in Chinese, in a real Chromium before a real service."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from common.console.words import speaker
from finance.credit_scoring.knowledge import KNOWLEDGE
from finance.credit_scoring.serve import CreditPredictor
from finance.credit_scoring.simulator import SIMULATED_FIELDS

SERVE = """
from pathlib import Path
from common.serving.app import create_app
from finance.credit_scoring import SYSTEM
from common.serving.run import run_app
run_app(create_app("finance", {{SYSTEM.name: Path({bundle!r})}}, systems=[SYSTEM]), port=0)
"""
CHINESE = re.compile(r"[\u4e00-\u9fff]")
LATIN = re.compile(r"[A-Za-z]{3,}")


@pytest.fixture(scope="module")
def service(bundle: Any, tmp_path_factory: pytest.TempPathFactory, serve: Callable[..., str]) -> str:
    pytest.importorskip("gradio")
    return serve(SERVE.format(bundle=str(bundle.path)), ESPALIER_HOME=str(tmp_path_factory.mktemp("home")))


def test_every_field_and_level_has_chinese() -> None:
    say = speaker("zh", CreditPredictor)
    texts = {field.label for field in SIMULATED_FIELDS}
    texts |= {level for field in SIMULATED_FIELDS for level in field.levels}
    for facts in KNOWLEDGE.values():
        texts |= {level for fact in facts.values() for level in fact.get("levels", ()) if isinstance(level, str)}
    texts |= _labels_of_cards()
    assert len(texts) > 100
    assert [text for text in sorted(texts) if LATIN.search(text) and not CHINESE.search(say(text))] == []


def _labels_of_cards() -> set[str]:
    from common.data.card import load_card

    found = set()
    for name, facts in KNOWLEDGE.items():
        card = load_card(name)
        found |= {column.description for column in card.columns if column.name in facts}
        found |= {
            value
            for column in card.columns
            if column.name in facts
            for value in column.values
            if isinstance(value, str)
        }
    return found


def test_an_applicant_is_scored_in_chinese(service: str, visit: Callable[..., Any]) -> None:
    seen = visit(f"{service}/console", locale="zh-CN")
    page = seen.page
    page.get_by_role("tab", name="信用评分").wait_for()
    labels = page.locator(".esp-form").first.inner_text()
    assert not LATIN.search(labels), labels
    page.get_by_role("button", name="提交给模型").click()
    page.locator(".esp-decision").wait_for()
    answer = page.locator(".esp-answer").inner_text()
    assert re.search("批准|拒绝", answer)
    assert "用模拟数据训练" in answer
    assert not LATIN.search(answer.split("详细信息")[0].replace("scorecard", "").replace("challenger", "")), answer
    page.get_by_role("button", name="怎样才能获批").click()
    page.get_by_text("需要的改变").wait_for()
    page.get_by_label("贷款期限（月）").fill("500")
    page.get_by_role("button", name="提交给模型").click()
    page.locator(".esp-problem").wait_for()
    assert page.get_by_role("cell", name="贷款期限（月）").is_visible()
    assert (seen.elsewhere, seen.complaints) == ([], [])


def test_it_is_scored_on_a_phone_in_english(service: str, visit: Callable[..., Any]) -> None:
    seen = visit(f"{service}/console", width=390)
    page = seen.page
    page.get_by_role("button", name="Ask the model").click()
    page.locator(".esp-decision").wait_for()
    assert re.search("approve|decline", page.locator(".esp-decision").inner_text())
    assert "probability of default" in page.locator(".esp-answer").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("tab", name="Monitoring").click()
    page.get_by_role("heading", name="finance.credit_scoring").wait_for()
    assert (seen.elsewhere, seen.complaints) == ([], [])
