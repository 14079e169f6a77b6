"""Whoever clones one vertical deletes the other two: what is left imports, lists and passes its tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERTICALS = tuple(name for name in ("finance", "manufacturing", "healthcare") if (ROOT / name).is_dir())
# An editable install would find the deleted packages in the checkout: its finder forgets them, its path is left out.
GONE = """
import sys

for finder in sys.meta_path:
    mapping = getattr(sys.modules.get(getattr(finder, "__module__", "")), "MAPPING", {{}})
    for name in {gone}:
        mapping.pop(name, None)
sys.path[:] = [path for path in sys.path if path != {root!r}]
"""
IMPORT_ALL = """
import importlib, pathlib, common
root = pathlib.Path(common.__file__).parents[1]
files = [path.relative_to(root) for top in {left} for path in (root / top).rglob("*.py")]
for name in sorted(".".join(path.with_suffix("").parts) for path in files):
    if not name.endswith(("__main__", ".service")):
        importlib.import_module(name.removesuffix(".__init__"))
print(root)
"""
FAST = (
    *("common/bundle", "common/data", "common/evaluation", "common/serving/test_problems.py"),
    *("common/serving/test_verticals.py", "deploy/test_schemas.py", "packaging/test_house_rules.py"),
    *("packaging/test_entry_points.py", "packaging/test_imports.py"),
)

pytestmark = pytest.mark.skipif(len(VERTICALS) < 3, reason="the other verticals were deleted already")


def keep_one(kept: str, folder: Path) -> dict[str, str]:
    """Copy the tree with one vertical only; returns the environment to run it in."""
    gone = {name for name in VERTICALS if name != kept}
    made = ("__pycache__", ".git", ".venv", ".*_cache", "build", "dist", "*.egg-info", "_build")
    ignored = shutil.ignore_patterns(*made, *gone)
    shutil.copytree(ROOT, folder / "tree", ignore=ignored)
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(GONE.format(gone=gone, root=str(ROOT)))
    path = os.pathsep.join([str(folder / "site"), str(folder / "tree")])
    return os.environ | {"PYTHONPATH": path, "ESPALIER_HOME": str(folder / "home")}


def python(environment: dict[str, str], folder: Path, *arguments: str) -> str:
    command = [sys.executable, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder / "tree", check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.parametrize("kept", VERTICALS)
def test_what_is_left_imports_and_lists(kept: str, tmp_path: Path) -> None:
    environment = keep_one(kept, tmp_path)
    imported = python(environment, tmp_path, "-c", IMPORT_ALL.format(left=("common", kept)))
    assert imported.strip() == str(tmp_path / "tree")
    listed = python(environment, tmp_path, "-m", "common", "list")
    for line in listed.splitlines():
        name, _, rest = line.partition("  ")
        vertical = name.partition(".")[0]
        if vertical in VERTICALS:
            assert rest.startswith("BROKEN: ModuleNotFoundError") is (vertical != kept)


@pytest.mark.parametrize("kept", VERTICALS)
def test_what_is_left_stays_green(kept: str, tmp_path: Path) -> None:
    """Every test module that is left can be loaded; those of its services, the house and much of the frame pass.

    The other tests of its systems run in their clones, with less around them (`test_clones.py`).
    """
    environment = keep_one(kept, tmp_path)
    options = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist")
    assert "tests/common/" in python(environment, tmp_path, "-m", "pytest", "--collect-only", *options)
    tests = tmp_path / "tree" / "tests"
    served = [path.relative_to(tests) for path in (tests / kept).glob("*/test_serve.py")]
    chosen = [f"tests/{name}" for name in (*FAST, "conformance", *served) if (tests / name).exists()]
    assert " passed" in python(environment, tmp_path, "-m", "pytest", *options, *chosen)
