from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import common.clone.blank
import common.clone.create
from common.clone.git import Tree, commit_of, files_of, git
from common.clone.records import Record, records
from common.clone.render import Template

sys.path.insert(0, str(Path(__file__).parent))  # so that "a_source" can be imported in every import mode

from a_source import MORE, ROOT, STRANGER, USE, save


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository as it stands, committed, with a stranger beside the systems there are."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("needs git, and a checkout")
    root = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=False
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    git(root, "init", "--quiet", "--initial-branch=main")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(common.clone.blank, "checkout", lambda: root)
        common.clone.blank.new_blank(STRANGER, None)
    for name, text in MORE.items():
        (root / name).write_text(text)
    room = root / "orchard" / "pruning" / "model.py"
    room.write_text(room.read_text().replace("import numpy as np\n", f"import numpy as np\n\n{USE}\n"))
    (root / "orchard" / "pruning" / "page.py").write_text('"""A page."""\n\nPAGE = "orchard.html.j2"\n')
    save(root, "as it is")
    return root


@pytest.fixture
def upstream(source: Path, tmp_path: Path) -> Path:
    """A copy of the source that a test may change."""
    return Path(shutil.copytree(source, tmp_path / "upstream"))


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Behave as the Espalier of that repository."""

    def use(root: Path) -> None:
        monkeypatch.setattr(common.clone.blank, "checkout", lambda: root)
        monkeypatch.setattr(common.clone.create, "checkout", lambda: root)

    return use


@pytest.fixture(scope="session")
def tree(source: Path) -> Tree:
    return files_of(source, commit_of(source))


@pytest.fixture(scope="session")
def native(tree: Tree) -> Record:
    """The first system that is not the stranger."""
    return next(record for name, record in records(tree).items() if name != STRANGER)


@pytest.fixture(scope="session")
def template(source: Path) -> Callable[..., Template]:
    def make(origin: str, name: str = "acme", **more: Any) -> Template:
        return Template(str(source), commit_of(source), origin, name, **more)

    return make


@pytest.fixture(autouse=True)
def git_of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the developer's git, as on a fresh machine."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "no-gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "no-gitconfig"))
