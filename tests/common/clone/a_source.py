"""A repository to clone from: what is put beside the systems that there are."""

from __future__ import annotations

from pathlib import Path

from common.clone.git import commit_of, git

ROOT = Path(__file__).parents[3]
# A system of another vertical with a module of the frame for itself, and a module that nothing reaches.
STRANGER = "orchard.pruning"
USE = "from common.orchard_tools import SHEARS  # noqa: F401"
MORE = {
    "common/orchard_tools.py": '"""For orchards."""\n\nSHEARS = 2\n',
    "common/orchard.html.j2": "{{ tree }}\n",
    "common/lonely.py": '"""Nobody imports this; common.lonely is only named in a docstring."""\n',
    "tests/common/test_orchard_tools.py": "from common.orchard_tools import SHEARS\n\nassert SHEARS == 2\n",
    "docs/pruning.md": "# Pruning\n",
}


def save(root: Path, message: str) -> str:
    """Commit everything; returns the commit."""
    git(root, "add", "--all")
    git(root, "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "--quiet", "--no-verify", "-m", message)
    return commit_of(root)
