"""`pyproject.toml` of a clone: the text as it is, comments and all, without what only other systems need."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

from common.clone.prune import Pruning
from common.errors import UsageError

EXTRA = re.compile(r"(?P<notes>(?:^#[^\n]*\n)*)^(?P<name>[\w-]+) = \[(?P<items>.*?)\]\n", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r'^"(?P<name>[\w.]+)" = ".*"\n', re.MULTILINE)
PACKAGES = re.compile(r"^(?:include|packages) = \[(?P<items>[^\]]*)\]$", re.MULTILINE)
ENTRIES = '[project.entry-points."espalier.systems"]\n'
SERVE = "serve"


def pruned(text: str, name: str, pruning: Pruning) -> str:
    """The project's file under another name, with the extras, entry points and packages of some systems."""
    old, extras = _read(text)
    own = re.compile(rf'"{re.escape(old)}\[([\w,-]+)\]"')
    refers = {extra: {e for item in items for e in _inside(item, old)} for extra, items in extras.items()}
    kept, unions = _extras(pruning, refers)

    def entry(match: re.Match[str]) -> str:
        extra = match["name"]
        if extra not in kept:
            return ""
        if extra in unions:
            return f'{match["notes"]}{extra} = ["{name}[{",".join(sorted(unions[extra]))}]"]\n'
        items = own.sub(lambda found: f'"{name}[{",".join(e for e in found[1].split(",") if e in kept)}]"', match[0])
        return items.replace(f'"{name}[]", ', "").replace(f'"{name}[]"', "")

    start, header, rest = text.partition("[project.optional-dependencies]\n")
    middle, after = re.split(r"(?=^\[)", rest, maxsplit=1, flags=re.MULTILINE)
    start = re.sub(r'^name = ".*"$', f'name = "{name}"', start, count=1, flags=re.MULTILINE)
    systems = ", ".join(record.name for record in pruning.systems)
    start = re.sub(
        r'^description = ".*"$', f'description = "{systems}, grown from Espalier."', start, flags=re.MULTILINE
    )
    after = ENTRY.sub(lambda line: line[0] if line["name"] in {r.name for r in pruning.systems} else "", after)
    after = PACKAGES.sub(lambda line: _packages(line[0], pruning), after)
    made = start + header + EXTRA.sub(entry, middle) + after
    tomllib.loads(made)
    return made


def _read(text: str) -> tuple[str, dict[str, list[str]]]:
    try:
        project = tomllib.loads(text)["project"]
        return project["name"], project["optional-dependencies"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise UsageError(
            "not the project file of an Espalier repository", where="pyproject.toml", got=str(error)
        ) from None


def _inside(requirement: str, project: str) -> list[str]:
    """The extras that a requirement of the project's own names."""
    match = re.fullmatch(rf"{re.escape(project)}\[([\w,-]+)\]", requirement)
    return match[1].split(",") if match else []


def _extras(pruning: Pruning, refers: dict[str, set[str]]) -> tuple[set[str], dict[str, set[str]]]:
    """Extras to keep; and for a vertical of which some systems stay behind, the union of those that go along."""
    all_unions = {extra for v in pruning.all_verticals for extra in (v, f"{v}-serve") if extra in refers}
    kept = _closure((e for record in pruning.systems for e in (*record.extras, SERVE)), refers)
    unions = {}
    for vertical in pruning.verticals:
        wanted = {e for record in pruning.systems if record.vertical == vertical for e in (*record.extras, SERVE)}
        complete = not any(name.startswith(f"{vertical}.") for name in pruning.absent)
        if vertical in refers and not complete and vertical not in wanted:
            unions[vertical] = wanted & set(refers)
        elif vertical in refers:
            kept |= _closure([vertical], refers)
        kept |= {vertical, f"{vertical}-serve"} & set(refers)
    general = set(refers) - _closure(all_unions, refers)  # tools and options, which no vertical is made of
    return kept | _closure(general, refers), unions


def _closure(extras: Iterable[str], refers: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = list(extras)
    while ahead:
        extra = ahead.pop()
        if extra in refers and extra not in found:
            found.add(extra)
            ahead += refers[extra]
    return found


def _packages(line: str, pruning: Pruning) -> str:
    """A list of packages on one line, without those of other verticals."""
    key, _, items = line.partition(" = ")
    kept = [item for item in re.findall(r'"([^"]+)"', items) if item.partition(".")[0] not in pruning.absent]
    return f"{key} = [{', '.join(f'{chr(34)}{item}{chr(34)}' for item in kept)}]"


def with_system(text: str, name: str) -> str:
    """The project's file with one more system, and its vertical's extras and packages where they are new."""
    vertical = name.partition(".")[0]
    old, extras = _read(text)
    text = text.replace(ENTRIES, f'{ENTRIES}"{name}" = "{name}:SYSTEM"\n', 1)
    if vertical not in extras:
        added = f'{vertical} = ["{old}[tabular,serve]"]\n{vertical}-serve = ["{old}[serve]"]\n'
        text = text.replace("\n[project.scripts]", f"{added}\n[project.scripts]", 1)
        text = PACKAGES.sub(lambda line: _more(line[0], vertical), text)
    tomllib.loads(text)
    return text


def _more(line: str, vertical: str) -> str:
    many = line.startswith("include")
    added = f', "{vertical}", "{vertical}.*"]' if many else f', "{vertical}"]'
    return line.removesuffix("]") + added
