from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from workshop import Pricer

import common.console
from common.console.words import language_of, speaker

HERE = Path(common.console.__file__).parent


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "en-US,en;q=0.9,zh;q=0.8", "en"),
        ("", "fr,zh;q=0.5,en;q=0.6", "en"),
        ("", "zh;q=0,fr", "en"),
        ("zh", "en", "zh"),
        ("en", "zh", "en"),
        ("xx", "zh", "zh"),
        ("", "", "en"),
        ("../..", ";;;q=x,,", "en"),
    ],
)
def test_the_language_is_the_switch_then_the_browsers(asked: str, accepted: str, language: str) -> None:
    assert language_of(asked, accepted) == language


def test_every_text_of_the_console_has_chinese() -> None:
    """Texts are what `say("...")` is called with; what is translated is said somewhere, or a field or a status."""
    known = tomllib.loads((HERE / "words.zh.toml").read_text(encoding="utf-8"))
    said = set()
    for path in HERE.glob("*.py"):
        said |= {found[1] for found in re.findall(r"say\(([\"'])([^\"']+)\1\)", path.read_text(encoding="utf-8"))}
    assert len(said) > 20
    assert said <= set(known)


def test_a_system_says_it_its_own_way_and_what_it_does_not_say_stays_english() -> None:
    say = speaker("zh", Pricer, {"colour_of_it": "colour"})
    assert [say(text) for text in ("red", "colour", "colour of it", "yes", "weight")] == [
        "红",
        "颜色",
        "颜色",
        "是",
        "weight",
    ]
    assert speaker("en", Pricer)("red") == "red"
    assert speaker("zh")("red") == "red"
