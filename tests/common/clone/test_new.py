"""`espalier new`: a project in a folder of its own, or one sentence and nothing written."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from a_source import STRANGER, save
from typer.testing import CliRunner

from common.clone.brief import Brief
from common.clone.cli import new as new_command
from common.clone.create import new
from common.clone.git import checkout, git
from common.clone.records import Record
from common.clone.render import RECORD
from common.errors import EspalierError, SystemUnavailable, UsageError
from common.files import sha256


@pytest.fixture
def ready(source: Path, running: Callable[[Path], None]) -> Path:
    running(source)
    return source


def run(*arguments: str, answers: str | None = None) -> tuple[int, str, str]:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(new_command)
    done = CliRunner().invoke(app, list(arguments), input=answers)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_a_project_is_a_repository_with_one_commit_and_its_checksums(
    ready: Path, native: Record, tmp_path: Path
) -> None:
    code, out, err = run(str(tmp_path / "acme-lending"), "--from", native.name)
    project = tmp_path / "acme-lending"
    assert (code, out) == (0, f"{project}\n")
    assert f"{native.name}, " in err
    record = json.loads((project / RECORD).read_bytes())
    for name, digest in record["files"].items():
        assert sha256(project / name) == digest
    committed = set(git(project, "ls-files").decode().splitlines())
    assert committed == {*record["files"], RECORD, "PLAN.md", "acceptance.toml"}
    assert git(project, "status", "--porcelain") == b""
    assert git(project, "log", "--format=%s").decode().startswith(f"Start from Espalier {record['commit'][:12]}")
    assert git(ready, "cat-file", "-t", record["commit"]) == b"commit\n"
    assert [path.name for path in tmp_path.iterdir()] == ["acme-lending"]


def test_the_brief_is_in_the_plan_and_in_the_thresholds(ready: Path, native: Record, tmp_path: Path) -> None:
    said = Brief("Lend well.", "Clerks.", "Approve?", "Debt.", "Risk dept.", ("auc >= 0.7", "ece <= 0.05"))
    new(tmp_path / "acme", native.name, said)
    plan = (tmp_path / "acme" / "PLAN.md").read_text()
    for text in ("Lend well.", "Clerks.", "Approve?", "Debt.", "Risk dept.", "`auc >= 0.7`, `ece <= 0.05`"):
        assert text in plan
    for heading in ("Requirements", "Plan", "Data", "Risks"):
        assert f"\n## {heading}\n" in plan
    assert all(f"| {dataset} | " in plan for dataset in native.datasets)
    found = tomllib.loads((tmp_path / "acme" / "acceptance.toml").read_text())
    assert found == {"thresholds": {native.name: ["auc >= 0.7", "ece <= 0.05"]}}


def test_without_a_brief_the_thresholds_are_the_system_s_and_the_plan_says_what_is_open(
    ready: Path, native: Record, tmp_path: Path
) -> None:
    new(tmp_path / "acme", native.vertical, Brief())
    found = tomllib.loads((tmp_path / "acme" / "acceptance.toml").read_text())
    assert found["thresholds"][native.name] == list(native.acceptance)
    assert "- Goal: to be decided" in (tmp_path / "acme" / "PLAN.md").read_text()


def test_a_person_is_asked_for_what_is_not_said(ready: Path, native: Record, tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(question: str, default: str) -> str:
        asked.append(question)
        return "auc >= 0.8, ks >= 0.3" if "reach" in question else f"answer {len(asked)}"

    new(tmp_path / "acme", native.name, Brief(goal="Said."), answer)
    assert len(asked) == 5
    plan = (tmp_path / "acme" / "PLAN.md").read_text()
    assert "- Goal: Said." in plan
    assert "- Users: answer 1" in plan
    thresholds = tomllib.loads((tmp_path / "acme" / "acceptance.toml").read_text())["thresholds"]
    assert thresholds[native.name] == ["auc >= 0.8", "ks >= 0.3"]


def test_what_is_copied_is_the_last_commit_and_a_changed_checkout_is_told(
    upstream: Path, running: Callable[[Path], None], native: Record, tmp_path: Path
) -> None:
    running(upstream)
    (upstream / "LICENSE").write_text("changed, not committed\n")
    _, _, err = run(str(tmp_path / "acme"), "--from", native.name)
    assert "as they were last committed" in err
    assert "changed, not committed" not in (tmp_path / "acme" / "LICENSE").read_text()


def test_an_empty_folder_will_do(ready: Path, tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    new(tmp_path / "acme", STRANGER, Brief())
    assert (tmp_path / "acme" / "orchard" / "pruning" / "train.py").is_file()


@pytest.mark.parametrize(
    ("folder", "origin", "sentence"),
    [
        ("full", STRANGER, "there is something already: expected a new or an empty folder"),
        ("file", STRANGER, "there is something already"),
        ("9 lives", STRANGER, "not a name for a project: got '9 lives', expected letters, digits"),
        ("naïve", STRANGER, "not a name for a project"),
        ("-x", STRANGER, "not a name for a project"),
        ("common", STRANGER, "this name is taken by Espalier"),
        ("acme", "orchard.pruned", "no such system or vertical: got 'orchard.pruned', expected one of "),
        ("acme", "nowhere", "no such system or vertical"),
        ("acme", "empty", "this vertical has no system yet: got 'empty'"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    upstream: Path, running: Callable[[Path], None], tmp_path: Path, folder: str, origin: str, sentence: str
) -> None:
    (upstream / "empty").mkdir()
    (upstream / "empty" / "service.py").write_text("")
    save(upstream, "a vertical without a system")
    running(upstream)
    home = tmp_path / "home"
    (home / "full").mkdir(parents=True)
    (home / "full" / "mine.txt").write_text("mine")
    (home / "file").write_text("mine")
    before = sorted(home.rglob("*"))
    with pytest.raises(EspalierError) as refused:
        new(home / folder, origin, Brief())
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2
    assert sorted(home.rglob("*")) == before
    assert (home / "full" / "mine.txt").read_text() == "mine"


def test_more_bad_input(ready: Path, native: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="a project inside the repository it comes from"):
        new(ready / "acme", native.name, Brief())
    with pytest.raises(UsageError, match=r"not a threshold: got 'auc > 0\.7', expected for example"):
        new(tmp_path / "acme", native.name, Brief(accept=("auc > 0.7",)))
    with pytest.raises(UsageError, match="say what to start from"):
        run(str(tmp_path / "acme"))
    with pytest.raises(UsageError, match="say what to start from"):
        run(str(tmp_path / "acme"), "--from", native.name, "--blank", "a.b")
    with pytest.raises(UsageError, match="say where to write the project"):
        run("--from", native.name)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="git is not on the path; install git"):
        new(tmp_path / "acme", native.name, Brief())
    assert not (tmp_path / "acme").exists()


def test_an_installation_without_its_repository_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "site" / "common" / "__init__.py"
    monkeypatch.setattr("common.clone.git.common.__file__", str(package))
    with pytest.raises(UsageError, match="installed without its repository; clone the repository and install"):
        checkout()


def test_a_failure_half_way_leaves_nothing(ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("common.clone.create.first_commit", fails)
    with pytest.raises(OSError, match="No space left"):
        new(tmp_path / "acme", STRANGER, Brief())
    assert list(tmp_path.iterdir()) == []


def test_a_clone_can_be_cloned(ready: Path, native: Record, tmp_path: Path, running: Callable[[Path], None]) -> None:
    new(tmp_path / "first", native.vertical, Brief())
    running(tmp_path / "first")
    new(tmp_path / "second", native.name, Brief())
    first, second = (
        set(subprocess.check_output(["git", "-C", str(tmp_path / name), "ls-files"], text=True).splitlines())
        for name in ("first", "second")
    )
    assert second <= first
    assert f"{native.folder}/train.py" in second
    with pytest.raises(SystemUnavailable, match="no such system or vertical"):
        new(tmp_path / "third", STRANGER, Brief())
