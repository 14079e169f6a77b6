"""Thresholds of the system, of the project's file, and of the bundle; held against the bundle and its report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from garden import SYSTEM, Config, train

from common.bundle import load_bundle
from common.bundle.acceptance import FILE, of_project, parse, required, unmet, verdicts
from common.config import settings
from common.errors import RegistryError, UsageError
from common.training.registry import register

pytestmark = pytest.mark.usefixtures("garden")
NAME = SYSTEM.name


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "deep").mkdir(parents=True)
    monkeypatch.chdir(folder / "deep")
    monkeypatch.setattr("common.__file__", str(tmp_path / "site" / "common" / "__init__.py"))  # none beside the frame
    return folder


def write(project: Path, *thresholds: str) -> None:
    (project / FILE).write_text(f"[thresholds]\n{json.dumps(NAME)} = {json.dumps(thresholds)}\n")


def test_the_file_is_found_from_below_and_adds_to_the_system_s_own(project: Path) -> None:
    bundle = train(Config())
    strict = dataclasses.replace(SYSTEM, acceptance=("valid_auc >= 0.6",))
    assert required(strict, bundle) == ("valid_auc >= 0.6",)
    write(project, "auc >= 0.7", "valid_auc >= 0.6")
    assert of_project(NAME) == ["auc >= 0.7", "valid_auc >= 0.6"]
    assert required(strict, bundle) == ("valid_auc >= 0.6", "auc >= 0.7")
    assert of_project("another.system") == []


def test_a_bundle_carries_the_thresholds_to_where_there_is_no_project(project: Path) -> None:
    write(project, "auc >= 0.7")
    bundle = train(Config())
    (project / FILE).unlink()
    assert required(SYSTEM, load_bundle(bundle.path)) == ("auc >= 0.7",)
    write(project, "auc >= 0.5")  # where there is one, it is the project's to say
    assert required(SYSTEM, load_bundle(bundle.path)) == ("auc >= 0.5",)


def test_a_metric_of_the_test_part_is_read_from_the_report(project: Path) -> None:
    bundle = train(Config())
    assert unmet(bundle, ["auc >= 0.7"]) == ["auc is unknown, expected >= 0.7"]
    folder = settings().home / "reports" / NAME / bundle.manifest.version
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({"metrics": {"auc": {"value": 0.75}}}))
    assert unmet(bundle, ["auc >= 0.7"]) == []
    [verdict] = verdicts(bundle, ["auc >= 0.8"])
    assert (verdict.met, str(verdict)) == (False, "auc is 0.75, expected >= 0.8")


def test_no_bundle_that_misses_one_becomes_production(project: Path) -> None:
    write(project, "auc >= 0.7")
    bundle = train(Config())
    with pytest.raises(RegistryError, match=r"got auc is unknown, expected >= 0\.7; train a better one, or register"):
        register(bundle, "production", allow_simulated=True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[thresholds", "acceptance.toml: cannot be read"),
        (
            f"[thresholds]\n{NAME} = 1\n",
            f'a name that is cut in two: got garden, expected the system\'s name in quotes, such as "{NAME}"',
        ),
        (f'[thresholds]\n"{NAME}" = "auc >= 1"\n', "not a list of thresholds: expected for example"),
        (f'[thresholds]\n"{NAME}" = ["auc => 1"]\n', "not a threshold: got 'auc => 1', expected for example"),
        ("thresholds = 3\n", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(project: Path, text: str, sentence: str) -> None:
    (project / FILE).write_text(text)
    with pytest.raises(UsageError) as refused:
        of_project(NAME)
    assert sentence in str(refused.value)


def test_how_a_threshold_is_written() -> None:
    assert parse("ece<=0.05") == ("ece", "<=", 0.05)
    assert parse(" gain >= -2 ") == ("gain", ">=", -2.0)
