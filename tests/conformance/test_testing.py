"""The suite passes a sound system and finds each fault of an unsound one."""

from __future__ import annotations

import importlib
import socket
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import faulty_system
import pytest

import common.system
from common.config import settings
from common.errors import ConformanceError
from common.testing import CHECKS, Subject, check_system, no_network

EXAMPLE = Path(__file__).parents[2] / "docs" / "example"


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    entries = [
        EntryPoint("toy.faulty", "faulty_system:SYSTEM", "espalier.systems"),
        EntryPoint("example.tumour", "espalier_tumour:SYSTEM", "espalier.systems"),
    ]
    monkeypatch.setattr(common.system, "entry_points", lambda group: entries)
    monkeypatch.syspath_prepend(EXAMPLE)


def test_a_sound_system_passes_every_check():
    seen = []
    assert check_system(faulty_system.SYSTEM, seen.append) == list(CHECKS) == seen


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("trains offline", r"a connection to the network was tried: got 192\.0\.2\.1:80"),
        ("network", "a connection to the network was tried"),
        ("examples", "the bundle has no golden examples"),
        ("deterministic", r"training twice gives two models: got model\.safetensors; seed everything"),
        ("batch", "a row is answered differently in a batch"),
        ("order", "a row is answered differently in a batch"),
        ("threads", "answers change when threads share the predictor"),
        ("bad requests", "a request with a wrong 'no such field' is not refused: got HTTP 200, expected HTTP 422"),
        ("floor", "brier does not beat its trivial floor: .* expected better than 0.250"),
    ],
)
def test_a_fault_is_found_and_told(monkeypatch, fault, sentence):
    monkeypatch.setattr(faulty_system, "fault", fault)
    with pytest.raises(ConformanceError, match=sentence):
        check_system(faulty_system.SYSTEM)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "toy"}, "its name is no name"),
        ({"risk": ""}, "risk is empty"),
        ({"train": ""}, "this system has no train"),
        ({"bench": "faulty_system:nothing"}, "the check 'record' failed .*nothing"),
        ({"presets": ("sample", "full")}, r"presets differ: got \['full', 'sample'\], expected \['sample'\]"),
        ({"datasets": ("no-such-set",)}, "no-such-set"),
    ],
)
def test_an_incomplete_record_is_told(change, sentence):
    with pytest.raises(ConformanceError, match=sentence):
        check_system(replace(faulty_system.SYSTEM, **change))


def test_a_bundle_that_loads_with_a_flipped_byte_is_found(monkeypatch):
    with Subject(faulty_system.SYSTEM) as subject:
        assert subject.bundle
        monkeypatch.setattr("common.testing.load_bundle", lambda path: None)
        with pytest.raises(ConformanceError, match="flipped byte is loaded"):
            CHECKS["corruption"](subject)


def test_the_home_of_the_user_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    check_system(faulty_system.SYSTEM)
    assert settings().home == tmp_path / "home"
    assert not (tmp_path / "home").exists()
    settings.cache_clear()


def test_only_connections_that_leave_the_machine_are_refused():
    with socket.create_server(("127.0.0.1", 0)) as server, no_network():
        socket.create_connection(server.getsockname()).close()
        with pytest.raises(ConformanceError):
            socket.create_connection(("192.0.2.1", 80), timeout=0.1)


def test_the_example_of_the_documentation_conforms():
    for name in [name for name in sys.modules if name.startswith("espalier_tumour")]:
        del sys.modules[name]
    assert check_system(importlib.import_module("espalier_tumour").SYSTEM) == list(CHECKS)
