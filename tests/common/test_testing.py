"""The suite passes a sound system, and each of its checks finds the fault that it is there for."""

from __future__ import annotations

import importlib
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from faulty_system import SYSTEM
from typer.testing import CliRunner

import common.system
from common.cli import app
from common.config import settings
from common.errors import ConformanceError
from common.sandbox import Subject, no_network
from common.testing import CHECKS, check_system

EXAMPLE = Path(__file__).parents[2] / "examples" / "agriculture"
DIALLED = r"a connection to the network was tried: got 192\.0\.2\.1"

RECORDS: list[tuple[dict[str, Any], str]] = [
    ({"name": "toy"}, r"its name is no name: got toy, expected vertical\.system"),
    ({"risk": " "}, "risk is empty"),
    ({"train": ""}, "this system has no train"),
    ({"predictor": "no_such_package:Echo"}, "the package 'no_such_package' is not installed"),
    ({"bench": "faulty_system:nothing"}, "AttributeError: .*nothing"),
    ({"objective": "faulty_system:PRESETS"}, "its objective cannot be called"),
    ({"presets": ("sample", "full")}, r"presets differ: got \['full', 'sample'\], expected \['sample'\]"),
]
CARD = """
id = "meadow"
title = "Grass"
task = "regression"
licence = ""
redistributable = true
citation = "Ours"
rows = 2
target = "y"
columns = [{ name = "x", kind = "number" }, { name = "y", kind = "target", description = "height" }]
published = [{ model = "GBM", metric = "rmse", value = 0.5, protocol = "", source = "a paper" }]
[[files]]
path = "a.csv"
url = "https://example.com/a.csv"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
bytes = 1
"""
FAULTS = [
    ("trains offline", "dials in training", DIALLED),
    ("trains offline", "swallows that it dialled", r"tried: got weights\.invalid"),
    ("trains offline", "bundle of another", "the bundle is another system's: got toy.other"),
    (
        "trains offline",
        "examples alike",
        "no two golden examples are answered differently",
    ),
    ("deterministic", "unseeded", r"training twice gives two models: got model\.safetensors; seed all and sort sets"),
    ("deterministic", "order of a set", r"training twice gives two models: got model\.safetensors"),
    ("deterministic", "examples drawn", "training twice gives two models: got golden requests"),
    ("round trip", "state beside the bundle", "fails in a new process .BundleError: .*golden example 1 is answered"),
    ("corruption", "weights beside the manifest", r"one flipped byte is not noticed: got more\.bin"),
    ("no network", "dials when loaded by a service", DIALLED),
    ("batch", "batch reversed", r"a row is answered differently in a batch: got rows \["),
    ("batch", "batch rounds", "a row is answered differently in a batch"),
    ("batch", "batch shortened", "a batch has another number of answers: got 32, expected 33"),
    ("batch", "no empty batch", r"ValueError: no rows \(in faulty_system\.py, line \d+\)"),
    ("threads", "shared state", "threads that share the predictor get other answers"),
    ("schemas", "bare response", "the response has no fields"),
    ("service", "answers of a subclass", "the service answers otherwise"),
    ("bad requests", "LetsUnknownFieldsPass", "an unknown field is not refused: got HTTP 200, expected 422"),
    ("bad requests", "AsksForAnything", "its request accepts anything"),
    ("bad requests", "Forgetful", "is not told field, got and expected"),
    ("report", "report of another", "the report is another system's: got toy.other"),
    ("report", "simulation untold", "simulated, says the report: got False, expected True"),
    ("report", "value outside", r"rmse lies outside of its interval: got 0\.9, expected 0\.1 to 0\.2"),
    ("floor", "no floor", "no metric stands beside a trivial floor: got rmse, ece"),
    ("floor", "no better than trivial", r"rmse does not beat .*: got 0\.4 to 0\.6, expected better than 0\.5"),
]


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    yield
    settings.cache_clear()


def test_a_sound_system_passes_every_check() -> None:
    seen: list[str] = []
    assert list(check_system(SYSTEM, seen.append)) == list(CHECKS) == seen


@pytest.mark.parametrize(("check", "fault", "sentence"), FAULTS, ids=[fault for _, fault, _ in FAULTS])
def test_a_fault_is_found_and_told(monkeypatch: pytest.MonkeyPatch, check: str, fault: str, sentence: str) -> None:
    monkeypatch.setenv("FAULT", fault)
    with (
        Subject(SYSTEM) as subject,
        pytest.raises(ConformanceError, match=f"^toy.faulty, check '{check}': .*{sentence}"),
    ):
        CHECKS[check](subject)


@pytest.mark.parametrize(("change", "sentence"), RECORDS, ids=[next(iter(change)) for change, _ in RECORDS])
def test_an_incomplete_record_is_told(change: dict[str, Any], sentence: str) -> None:
    system = replace(SYSTEM, **change)
    with Subject(system) as subject, pytest.raises(ConformanceError, match=f"check 'record': .*{sentence}"):
        CHECKS["record"](subject)


@pytest.mark.parametrize(
    ("presets", "sentence"),
    [({"full": {}}, "unknown preset: got 'sample'"), ({"sample": {"sed": 1}}, "sed: unknown setting")],
)
def test_presets_that_cannot_be_used_are_told(
    monkeypatch: pytest.MonkeyPatch, presets: dict[str, object], sentence: str
) -> None:
    monkeypatch.setattr("faulty_system.PRESETS", presets)
    with Subject(replace(SYSTEM, presets=tuple(presets))) as subject, pytest.raises(ConformanceError, match=sentence):
        CHECKS["record"](subject)


def test_an_incomplete_card_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "datasets" / "meadow").mkdir(parents=True)
    (tmp_path / "datasets" / "meadow" / "card.toml").write_text(CARD)
    monkeypatch.chdir(tmp_path)
    told = "the card of meadow is incomplete: got no licence, no pitfalls, no description of x, no source of GBM's rmse"
    with Subject(replace(SYSTEM, datasets=("meadow",))) as subject, pytest.raises(ConformanceError, match=told):
        CHECKS["cards"](subject)
    with Subject(replace(SYSTEM, datasets=("desert",))) as subject, pytest.raises(ConformanceError, match="desert"):
        CHECKS["cards"](subject)


def test_every_check_has_a_fault_that_it_finds() -> None:
    assert {"record", "cards"} | {check for check, _, _ in FAULTS} == set(CHECKS)


def test_the_settings_of_the_user_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ESPALIER_VERIFY_KEY", str(tmp_path / "key.pem"))  # would refuse every unsigned bundle
    settings.cache_clear()
    with Subject(SYSTEM) as subject:
        assert subject.bundle
    assert settings().home == tmp_path / "home"
    assert settings().verify_key == tmp_path / "key.pem"
    assert not (tmp_path / "home").exists()


def test_only_what_leaves_the_machine_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, no_network():
        socket.create_connection(server.getsockname()).close()
        socket.create_connection(("localhost", server.getsockname()[1])).close()
        with socket.socket(socket.AF_UNIX) as client, pytest.raises(FileNotFoundError):
            client.connect(str(tmp_path / "no.sock"))
    for dial in (
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=0.1),
        lambda: socket.socket().connect_ex(("192.0.2.1", 80)),
        lambda: socket.getaddrinfo(b"example.com", 443),
    ):
        with pytest.raises(ConformanceError, match=r"got (192\.0\.2\.1|example\.com)"), no_network():
            dial()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy and a plug-in that cannot be imported, as if they alone were installed."""
    names = {"toy.faulty": "faulty_system:SYSTEM", "toy.absent": "no_such_package:SYSTEM"}
    entries = [EntryPoint(name, value, "espalier.systems") for name, value in names.items()]
    monkeypatch.setattr(common.system, "entry_points", lambda group: entries)


@pytest.mark.usefixtures("installed")
def test_the_command_reports_every_system_and_fails_if_one_does() -> None:
    alone = CliRunner().invoke(app, ["check", "toy.faulty"])
    assert alone.exit_code == 0
    assert f"toy.faulty: {len(CHECKS)} checks passed in" in alone.stdout
    both = CliRunner().invoke(app, ["check"])
    assert both.exit_code == 1
    assert "toy.absent: cannot be imported (ModuleNotFoundError" in both.stderr
    assert "toy.faulty: 14 checks passed" in both.stdout


@pytest.mark.usefixtures("installed")
def test_the_command_names_the_check_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULT", "no better than trivial")
    result = CliRunner().invoke(app, ["check", "toy.faulty"])
    assert result.exit_code == 1
    assert "espalier: toy.faulty, check 'floor': rmse does not beat its trivial floor" in result.stderr


def test_the_example_of_the_documentation_conforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)
    for name in [name for name in sys.modules if name.startswith("espalier_irrigation")]:
        monkeypatch.delitem(sys.modules, name)
    assert list(check_system(importlib.import_module("espalier_irrigation").SYSTEM)) == list(CHECKS)
