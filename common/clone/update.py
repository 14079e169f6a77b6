"""`espalier update`: what changed in Espalier since, merged into a clone; what was changed here is never lost.

For each file: the base is what the clone was given, ours what stands there now, theirs what the new commit would give.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.clone.generate import generated
from common.clone.git import File, Tree, commit_of, git
from common.clone.render import RECORD, Template
from common.errors import UsageError
from common.files import sha256

MARK = b"<<<<<<< here"
MOST_CONFLICTS = 127  # as an exit code of git merge-file; more is an error
Kind = Literal["new", "updated", "merged", "removed", "kept", "conflict"]


@dataclass(frozen=True)
class Change:
    """What becomes of one file, and why; `file` is what to write (None: nothing, or remove)."""

    path: str
    kind: Kind
    file: File | None = None
    why: str = ""


@dataclass(frozen=True)
class Update:
    """All changes from one commit to another."""

    old: str
    new: str
    changes: tuple[Change, ...]

    @property
    def conflicts(self) -> list[Change]:
        """Files that a person has to look at."""
        return [change for change in self.changes if change.kind == "conflict"]


def update(project: Path, source: str = "", revision: str = "HEAD", *, dry_run: bool = False) -> Update:
    """Merge a revision of the source (a folder or url; default: the recorded one) into the clone at `project`.

    Everything is worked out and staged before the first file is replaced. Raises `UsageError` when this is no clone,
    its source cannot be reached, or conflicts of an earlier update are still in its files.
    """
    template = read_template(project)
    with _repository(source or template.source, project) as repository:
        commit = commit_of(repository, revision)
        old = commit_of(repository, template.commit)
        base = generated(repository, old, template)
        theirs = generated(repository, commit, template)
    recorded = json.loads((project / RECORD).read_bytes())["files"]
    found = (
        _change(project / path, path, base.get(path), theirs.get(path), recorded.get(path))
        for path in sorted({*theirs, *recorded} - {RECORD})
    )
    changes = tuple(change for change in found if change)
    if not dry_run and commit != template.commit:
        _apply(project, changes, theirs[RECORD])
    return Update(template.commit, commit, changes)


def find_project(start: Path) -> Path:
    """The clone that a folder is in; raises `UsageError` when it is in none."""
    for folder in (start / RECORD).resolve().parents:
        if (folder / RECORD).is_file():
            return folder
    raise UsageError(
        f"no {RECORD} here or above", where=str(start), expected="a project made by `espalier new PATH --from ...`"
    )


def read_template(project: Path) -> Template:
    """What the clone was made of; raises `UsageError` when its record is damaged."""
    path = project / RECORD
    try:
        record = json.loads(path.read_bytes())
        record.pop("files")
        return Template(**record)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError("this record is damaged", where=str(path), fix=f"`git checkout {RECORD}`") from None


@contextmanager
def _repository(source: str, project: Path) -> Iterator[Path]:
    folder = Path(source).expanduser()
    if (folder / ".git").exists() or (folder / "objects").is_dir():
        yield folder.resolve()
        return
    if "://" not in source and "@" not in source:
        raise UsageError("there is no repository", where=source, fix="say where Espalier is by --source FOLDER or URL")
    with tempfile.TemporaryDirectory() as cloned:
        fails = "the source cannot be fetched"
        git(project, "clone", "--quiet", "--bare", source, cloned, fails=fails)
        yield Path(cloned)


def _change(place: Path, path: str, base: File | None, theirs: File | None, recorded: str | None) -> Change | None:
    """What to do with the file at `place`; None when there is nothing to do."""
    if place.is_dir():
        return Change(path, "conflict", why="a folder stands here") if theirs else None
    ours = place.read_bytes() if place.is_file() else None
    if ours is not None and any(line.startswith(MARK) for line in ours.splitlines()):
        raise UsageError(
            "a conflict of an earlier update is still in this file", where=str(place), fix="settle it first"
        )
    if theirs is None:
        if ours is None or recorded is None:
            return None
        unedited = sha256(ours) == recorded
        return Change(path, "removed") if unedited else Change(path, "kept", why="removed in Espalier, changed here")
    if ours == theirs.content or (base and base.content == theirs.content):
        return None
    if ours is None:
        if recorded is None:
            return Change(path, "new", theirs)
        return Change(path, "kept", why="removed here, changed in Espalier")
    if sha256(ours) == recorded:
        return Change(path, "updated", theirs)
    known = base and sha256(base.content) == recorded  # else what the clone was given cannot be made again
    return _merge(path, base.content if base and known else b"", ours, theirs)


def _merge(path: str, base: bytes, ours: bytes, theirs: File) -> Change:
    """Both sides' changes in one text; where they touch the same lines, both stand there with marks."""
    with tempfile.TemporaryDirectory() as folder:
        names = [Path(folder, name) for name in ("ours", "base", "theirs")]
        for name, content in zip(names, (ours, base, theirs.content), strict=True):
            name.write_bytes(content)
        labels = [part for label in ("here", "before", "Espalier") for part in ("-L", label)]
        command = ["git", "merge-file", "-p", *labels, *map(str, names)]
        run = subprocess.run(command, capture_output=True, check=False)
    if run.returncode > MOST_CONFLICTS or run.returncode < 0:  # not text
        return Change(path, "conflict", why="not text: yours stays, see Espalier's own")
    merged = File(run.stdout, theirs.executable)
    if run.returncode:
        places = "1 place" if run.returncode == 1 else f"{run.returncode} places"
        return Change(path, "conflict", merged, f"{places} marked {MARK.decode()}")
    return Change(path, "merged", merged)


def _apply(project: Path, changes: tuple[Change, ...], record: File) -> None:
    """Stage every file, then put each in its place; the record comes last, so an update that broke off goes on."""
    staging = Path(tempfile.mkdtemp(dir=project, prefix=".update."))
    try:
        written: Tree = {change.path: change.file for change in changes if change.file}
        for path, file in (written | {RECORD: record}).items():
            part = staging / path
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(file.content)
            there = project / path
            mode = there.stat().st_mode & 0o777 if there.exists() else 0o644
            part.chmod(mode | 0o111 if file.executable else mode)
        for path in [*written, RECORD]:
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            if path == RECORD:
                for change in changes:
                    if change.kind == "removed":
                        (project / change.path).unlink()
            (staging / path).replace(project / path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
