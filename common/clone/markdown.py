"""Pages for a clone: tables without the rows, tables of results and links of what stays behind."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from posixpath import normpath

from common.clone.prune import Pruning

RESULTS = re.compile(r"<!-- results:([\w.-]+):[\w-]+ -->\n.*?<!-- end -->\n", re.DOTALL)
TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
TOCTREE = re.compile(r"^```\{toctree\}\n.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s]+)\)")


def pruned(path: str, text: str, pruning: Pruning) -> str:
    """The page at `path` as it stands in the clone."""
    names = {record.name for record in pruning.systems}
    text = RESULTS.sub(lambda block: block[0] if block[1] in names else "", text)
    text = TABLE.sub(lambda table: _rows(table[0], pruning), text)
    text = TOCTREE.sub(lambda block: _entries(path, block[0], pruning), text)
    return LINK.sub(lambda link: link[0] if _leads(path, link[2], pruning) else link[1], text)


def _rows(table: str, pruning: Pruning) -> str:
    """Without the rows about other systems; nothing when no row is left."""
    lines = table.splitlines(keepends=True)
    mention = re.compile(rf"`({'|'.join(sorted(pruning.all_verticals))})([./])(\w+)")

    def stays(line: str) -> bool:
        for vertical, mark, name in mention.findall(line):
            system = f"{vertical}.{name}"
            if vertical in pruning.absent or system in pruning.absent:
                return False
            if mark == "." and name != "service" and system not in {record.name for record in pruning.systems}:
                return False
        return True

    kept = lines[:2] + [line for line in lines[2:] if stays(line)]
    return "".join(kept) if len(kept) > 2 or len(lines) <= 2 else ""


def _entries(path: str, block: str, pruning: Pruning) -> str:
    def stays(line: str) -> bool:
        page = str(PurePosixPath(path).parent / f"{line.strip()}.md")
        return page not in pruning.tree or page in pruning.files

    return "\n".join(line for line in block.splitlines() if stays(line))


def _leads(path: str, target: str, pruning: Pruning) -> bool:
    """Whether a link still leads somewhere: out into the world, or to what goes along."""
    file = target.partition("#")[0]
    if not file or "://" in target or target.startswith("mailto:"):
        return True
    there = normpath(str(PurePosixPath(path).parent / file))
    kept = {*pruning.files, "README.md"}
    known = there in pruning.tree or any(name.startswith(f"{there}/") for name in pruning.tree)
    return not known or there in kept or any(name.startswith(f"{there}/") for name in kept)
