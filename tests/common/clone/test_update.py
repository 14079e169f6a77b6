"""`espalier update`: Espalier's changes come in, the project's own are never lost, nothing is half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from a_source import STRANGER, save
from typer.testing import CliRunner

from common.clone.brief import Brief
from common.clone.cli import update as update_command
from common.clone.create import new
from common.clone.git import commit_of
from common.clone.render import RECORD
from common.clone.update import find_project, update
from common.errors import EspalierError, UsageError

TRAIN, SPLIT, LICENSE = "orchard/pruning/train.py", "common/data/split.py", "LICENSE"


@pytest.fixture
def project(upstream: Path, running: Callable[[Path], None], tmp_path: Path) -> Path:
    running(upstream)
    new(tmp_path / "acme", STRANGER, Brief())
    return tmp_path / "acme"


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def prepend(path: Path, text: str) -> None:
    path.write_text(text + path.read_text())


def kinds(project: Path, **options: object) -> dict[str, str]:
    return {change.path: change.kind for change in update(project, **options).changes}  # type: ignore[arg-type]


def snapshot(project: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(project)): path.read_bytes()
        for path in sorted(project.rglob("*"))
        if path.is_file() and ".git" not in path.parts
    }


def test_without_a_change_there_is_nothing_to_do(project: Path) -> None:
    before = snapshot(project)
    assert kinds(project) == {}
    assert snapshot(project) == before


def test_each_kind_of_change(project: Path, upstream: Path) -> None:
    append(project / TRAIN, "\nMINE = 1\n")  # here at the end, there at the start: merged
    prepend(upstream / TRAIN, "# theirs\n")
    append(project / "SECURITY.md", "mine\n")  # here only: stays
    append(upstream / SPLIT, "\nTHEIRS = 1\n")  # there only: taken over
    (upstream / "common" / "fresh.py").write_text('"""New."""\n')
    append(upstream / "orchard" / "pruning" / "serve.py", "\nfrom common import fresh  # noqa: E402, F401\n")
    (upstream / "docs" / "audit.md").unlink()  # removed there, unchanged here
    (upstream / "docs" / "bundle.md").unlink()  # removed there, changed here
    append(project / "docs" / "bundle.md", "mine\n")
    (project / "docs" / "deploy.md").unlink()  # removed here, changed there
    append(upstream / "docs" / "deploy.md", "theirs\n")
    append(project / LICENSE, "mine\n")  # the same lines
    append(upstream / LICENSE, "theirs\n")
    append(project / "CONTRIBUTING.md", "both\n")  # the same change
    append(upstream / "CONTRIBUTING.md", "both\n")
    (upstream / "healthy.txt").write_text("new at the root\n")
    commit = save(upstream, "changes")
    before = snapshot(project)

    expected = {
        TRAIN: "merged",
        SPLIT: "updated",
        "common/fresh.py": "new",
        "orchard/pruning/serve.py": "updated",
        "docs/audit.md": "removed",
        "docs/bundle.md": "kept",
        "docs/deploy.md": "kept",
        LICENSE: "conflict",
        "README.md": "updated",
        "NOTICE": "updated",
        "healthy.txt": "new",
    }
    assert kinds(project, dry_run=True) == expected
    assert snapshot(project) == before
    assert kinds(project) == expected
    after = snapshot(project)
    train = after[TRAIN].decode()
    assert train.startswith("# theirs\n")
    assert train.endswith("\nMINE = 1\n")
    assert after["SECURITY.md"] == before["SECURITY.md"]
    assert after["docs/bundle.md"] == before["docs/bundle.md"]
    assert "docs/audit.md" not in after
    assert "docs/deploy.md" not in after
    marked = after[LICENSE].decode()
    assert "<<<<<<< here\nmine\n=======\ntheirs\n>>>>>>> Espalier\n" in marked
    assert json.loads(after[RECORD])["commit"] == commit
    assert {name for name in after if "update" in name and name.startswith(".")} == set()
    assert after["PLAN.md"] == before["PLAN.md"]


def test_conflicts_must_be_settled_before_the_next_update(project: Path, upstream: Path) -> None:
    append(project / LICENSE, "mine\n")
    append(upstream / LICENSE, "theirs\n")
    save(upstream, "one")
    update(project)
    append(upstream / SPLIT, "\nTHEIRS = 1\n")
    save(upstream, "two")
    before = snapshot(project)
    with pytest.raises(UsageError, match=r"LICENSE: a conflict of an earlier update is still in this file; settle"):
        update(project)
    assert snapshot(project) == before
    append(project / LICENSE, "")
    text = (project / LICENSE).read_text()
    (project / LICENSE).write_text(text[: text.index("<<<<<<<")] + "mine and theirs\n")
    assert kinds(project)[SPLIT] == "updated"
    assert (project / LICENSE).read_text().endswith("mine and theirs\n")


def test_local_edits_to_every_file_are_all_there_afterwards(project: Path, upstream: Path) -> None:
    record = json.loads((project / RECORD).read_bytes())
    for name in record["files"]:
        append(project / name, "\n# mine, at the end\n")
    for name in record["files"]:
        if (upstream / name).is_file():
            prepend(upstream / name, "# theirs, at the start\n") if name.endswith((".py", ".yaml", ".yml")) else None
    save(upstream, "everything changes")
    done = update(project)
    assert not done.conflicts
    for name in record["files"]:
        assert (project / name).read_text().endswith("\n# mine, at the end\n"), name
    assert (project / TRAIN).read_text().startswith("# theirs, at the start\n")


def test_the_base_is_made_by_the_code_of_its_own_commit(project: Path, upstream: Path) -> None:
    """A later generator that words things otherwise makes no conflict where the project changed its README."""
    append(project / "README.md", "mine\n")
    render = upstream / "common" / "clone" / "render.py"
    render.write_text(render.read_text().replace("Grown from Espalier", "Descended from Espalier"))
    save(upstream, "other words")
    found = kinds(project)
    assert found["README.md"] == "merged"
    text = (project / "README.md").read_text()
    assert "Descended from Espalier" in text
    assert "Grown from" not in text
    assert text.endswith("mine\n")


def test_an_update_that_breaks_off_loses_nothing_and_goes_on(
    project: Path, upstream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(project / TRAIN, "\nMINE = 1\n")
    prepend(upstream / TRAIN, "# theirs\n")
    append(upstream / SPLIT, "\nTHEIRS = 1\n")
    save(upstream, "changes")
    replace, calls = Path.replace, []

    def fails(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", fails)
        with pytest.raises(OSError, match="No space"):
            update(project)
    assert not [path for path in project.iterdir() if path.name.startswith(".update")]
    update(project)
    text = (project / TRAIN).read_text()
    assert text.count("# theirs\n") == text.count("MINE = 1") == 1
    assert "THEIRS = 1" in (project / SPLIT).read_text()


def test_a_binary_file_that_both_changed_stays_and_is_told(project: Path, upstream: Path) -> None:
    for root, content in ((upstream, b"\0one"), (project, b"\0mine")):
        (root / "logo.png").write_bytes(content)
    save(upstream, "a picture")
    [change] = update(project).conflicts
    assert (change.path, change.kind) == ("logo.png", "conflict")
    assert (project / "logo.png").read_bytes() == b"\0mine"


def test_the_command_tells_each_file_and_exits_by_conflicts(
    project: Path, upstream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "common")
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(update_command)
    append(upstream / SPLIT, "\nTHEIRS = 1\n")
    save(upstream, "one")
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 0
    assert f"updated   {SPLIT}\n" in done.stdout
    append(project / LICENSE, "mine\n")
    append(upstream / LICENSE, "theirs\n")
    save(upstream, "two")
    done = CliRunner().invoke(app, ["--dry-run"])
    assert done.exit_code == 1
    assert f"conflict  {LICENSE}: 1 place marked <<<<<<< here\n" in done.stdout
    assert "<<<<<<<" not in (project / LICENSE).read_text()


def test_another_source_and_revision_can_be_named(project: Path, upstream: Path, tmp_path: Path) -> None:
    first = commit_of(upstream)
    append(upstream / SPLIT, "\nTHEIRS = 1\n")
    save(upstream, "one")
    moved = tmp_path / "moved"
    shutil.move(upstream, moved)
    with pytest.raises(UsageError, match=r"there is no repository; say where Espalier is by --source"):
        update(project)
    assert update(project, str(moved), first).changes == ()
    assert SPLIT in kinds(project, source=moved.as_uri(), dry_run=True)
    assert SPLIT in kinds(project, source=str(moved))
    with pytest.raises(UsageError, match="v9 is no commit of the source repository"):
        update(project, str(moved), "v9")
    with pytest.raises(UsageError, match="the source cannot be fetched"):
        update(project, "file:///no/such/place")


def test_bad_input_is_one_sentence(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"no \.template\.json here or above: expected a project made by"):
        find_project(tmp_path)
    assert find_project(project / "common" / "data") == project
    record = (project / RECORD).read_text()
    for damaged in ("{", '{"files": {}}', "[]"):
        (project / RECORD).write_text(damaged)
        with pytest.raises(EspalierError, match="this record is damaged"):
            update(project)
    (project / RECORD).write_text(record.replace(json.loads(record)["commit"], "0" * 40))
    with pytest.raises(UsageError, match="is no commit of the source repository"):
        update(project)
    (project / RECORD).write_text(record)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="git is not on the path"):
        update(project)
