"""What is asked of git: the files of a commit, a three-way merge, a first commit."""

from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import dataclass
from os import environ
from pathlib import Path

import common
from common.errors import UsageError


@dataclass(frozen=True)
class File:
    """Content of a file, and whether it may be run."""

    content: bytes
    executable: bool = False

    @property
    def text(self) -> str | None:
        """The content as text; None when it is none."""
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            return None


Tree = dict[str, File]


def git(folder: Path, *arguments: str, fails: str = "") -> bytes:
    """Run git in a folder and return its stdout; raises `UsageError` with `fails` when it does not succeed."""
    # Inside a hook these name the repository of the hook, whatever the folder.
    variables = {
        name: value for name, value in environ.items() if name not in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE")
    }
    command = ["git", "-C", str(folder), *arguments]
    try:
        run = subprocess.run(command, capture_output=True, check=False, env=variables)
    except FileNotFoundError:
        raise UsageError("git is not on the path", fix="install git (Debian and Ubuntu: apt install git)") from None
    if run.returncode:
        said = run.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise UsageError(fails or f"git {arguments[0]} failed", where=str(folder), got=said)
    return run.stdout


def checkout() -> Path:
    """The repository that this Espalier runs from; raises `UsageError` when it was installed without one."""
    root = Path(common.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        raise UsageError(
            "this Espalier was installed without its repository",
            where=str(root),
            fix="clone the repository and install from there with `pip install -e .`",
        )
    git(root, "--version")
    return root


def commit_of(root: Path, revision: str = "HEAD") -> str:
    """The full hash of a revision; raises `UsageError` when the repository has no such commit."""
    fails = f"{revision} is no commit of the source repository"
    return git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", fails=fails).decode().strip()


def is_dirty(root: Path) -> bool:
    """Whether files under version control differ from the last commit."""
    return bool(git(root, "status", "--porcelain", "--untracked-files=no"))


def files_of(root: Path, commit: str) -> Tree:
    """Every file of a commit by its path."""
    with tarfile.open(fileobj=io.BytesIO(git(root, "archive", "--format=tar", commit))) as archive:
        found: Tree = {}
        for member in archive.getmembers():
            if member.isfile() and (stream := archive.extractfile(member)):
                found[member.name] = File(stream.read(), bool(member.mode & 0o100))
        return found


def address_of(root: Path) -> str:
    """Where others get this repository: the url of `origin`, or its folder."""
    try:
        return git(root, "remote", "get-url", "origin").decode().strip()
    except UsageError:
        return str(root)


def write_tree(folder: Path, tree: Tree) -> None:
    """Write files into a folder; the caller makes sure that it appears whole."""
    for name, file in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        if file.executable:
            path.chmod(path.stat().st_mode | 0o111)


def first_commit(folder: Path, message: str) -> None:
    """Make a folder a repository with one commit of all its files."""
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    who: list[str] = []
    try:
        git(folder, "config", "user.email")
    except UsageError:  # a fresh machine; whoever commits next is asked by git itself
        who = ["-c", "user.name=Espalier", "-c", "user.email=espalier@localhost"]
    git(folder, *who, "-c", "commit.gpgsign=false", "commit", "--quiet", "--no-verify", "--message", message)
