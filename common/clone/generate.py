"""The clone as a given commit would make it, by that commit's own code.

A later generator may write other text for the same commit; a three-way merge needs the base that was really written.
So `generate` keeps its arguments: clones of every age call it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from os import environ
from pathlib import Path

from common.clone.git import File, Tree, files_of, write_tree
from common.clone.render import Template, render
from common.errors import UsageError

CODE = "import sys; from common.clone.generate import generate; generate(*sys.argv[1:])"


def generated(source: Path, commit: str, template: Template) -> Tree:
    """The files of a clone as the source's commit makes them; raises `UsageError` when it cannot."""
    with tempfile.TemporaryDirectory() as folder:
        tree, out = Path(folder, "tree"), Path(folder, "out")
        write_tree(tree, files_of(source, commit))
        said = json.dumps(asdict(replace(template, commit=commit)))
        command = [sys.executable, "-c", CODE, str(tree), said, str(out)]
        variables = environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        run = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=folder, check=False)
        if run.returncode:
            said = run.stderr.strip().rpartition("\n")[2].removeprefix("common.errors.")
            raise UsageError("this commit cannot make the project", where=f"{source} {commit[:12]}", got=said)
        return read_tree(out)


def generate(folder: str, template: str, out: str) -> None:
    """Write the clone that the tree in `folder` makes, by a `Template` as JSON, to the folder `out`."""
    write_tree(Path(out), render(read_tree(Path(folder)), Template(**json.loads(template))))


def read_tree(folder: Path) -> Tree:
    """All files below a folder."""
    return {
        str(path.relative_to(folder)): File(path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
