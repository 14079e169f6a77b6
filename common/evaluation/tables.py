"""Result tables in Markdown, generated from `benchmarks/<vertical>.<system>/<preset>.json`.

A table stands between `<!-- results:<vertical>.<system>:<preset> -->` and `<!-- end -->` in any Markdown file
below the project root; `:<protocol>,<protocol>` after the preset leaves the other protocols out.
`python -m common.evaluation.tables` rewrites them; with `--check` it writes nothing and exits 1, naming the files that
are out of date.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from common.errors import EspalierError, UsageError
from common.evaluation.report import LOWER_IS_BETTER, Report, best_published
from common.files import write_whole

BLOCK = re.compile(
    r"(?P<opening><!-- results:(?P<system>[\w.-]+):(?P<preset>[\w-]+)(:(?P<protocols>[\w.,-]+))? -->\n)"
    r".*?(?P<end><!-- end -->)",
    re.S,
)
OPENING = re.compile(r"^<!-- results:", re.MULTILINE)
SKIPPED = {"node_modules", "build", "dist", "_build"}
HEADER = ("data set", "protocol", "metric", "ours [95 % interval]", "best published", "trivial floor", "best baseline")


def main(arguments: list[str] | None = None) -> int:
    """The command: 0 when all tables are up to date or were rewritten, 1 when `--check` finds a stale one."""
    parser = argparse.ArgumentParser(prog="python -m common.evaluation.tables", description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path.cwd(), help="the project root")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when a table is out of date")
    options = parser.parse_args(arguments)
    try:
        changed = [path for path in markdown_files(options.root) if update(path, options.root, write=not options.check)]
    except EspalierError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    names = ", ".join(str(path.relative_to(options.root)) for path in changed)
    if changed and options.check:
        print(f"{names}: result tables are out of date; run python -m common.evaluation.tables.", file=sys.stderr)
        return 1
    print(f"Rewrote the result tables of {names}." if changed else "All result tables are up to date.")
    return 0


def markdown_files(root: Path) -> Iterator[Path]:
    """Every Markdown file below `root`, in order; hidden, built and foreign folders are skipped."""
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith(".") and name not in SKIPPED)
        yield from (Path(folder) / name for name in sorted(files) if name.endswith(".md"))


def update(path: Path, root: Path, *, write: bool) -> bool:
    """Whether the file's tables differ from the benchmarks; rewrites them when `write`.

    Raises `UsageError` when a block is not closed, and when its benchmark is missing or not a list of reports.
    """
    text = path.read_text(encoding="utf-8")
    where = str(path.relative_to(root))
    if len(OPENING.findall(text)) != len(BLOCK.findall(text)):
        raise UsageError("a results block is not closed", where=where, expected="<!-- end --> on a line of its own")

    def fill(block: re.Match[str]) -> str:
        reports = _read(root / "benchmarks" / block["system"] / f"{block['preset']}.json", where, root)
        if names := set(filter(None, (block["protocols"] or "").split(","))):
            if unknown := sorted(names - {report.protocol for report in reports}):
                raise UsageError("no such protocol in the benchmark", where=where, got=", ".join(unknown))
            reports = [report for report in reports if report.protocol in names]
        return f"{block['opening']}{results_table(reports)}{block['end']}"

    fresh = BLOCK.sub(fill, text)
    if fresh == text:
        return False
    if write:
        write_whole(path, fresh)
    return True


def results_table(reports: list[Report]) -> str:
    """The Markdown table of a benchmark, one line per data set, protocol and metric, and where it was measured."""
    lines = [_line(HEADER), _line(["---"] * 3 + ["---:"] + ["---"] + ["---:"] + ["---"])]
    sources: dict[str, int] = {}
    for report in reports:
        dataset = f"{report.dataset} (simulated)" if report.simulated else report.dataset
        for name, metric in report.metrics.items():
            ours = f"**{_number(metric.value)}** [{_number(metric.low)}, {_number(metric.high)}]"
            floor = _number(report.floor[name]) if name in report.floor else "–"
            label = f"{name} ↓" if name in LOWER_IS_BETTER else name
            others = _published(report, name, sources), floor, _baseline(report, name)
            lines.append(_line((dataset, report.protocol, label, ours, *others)))
    made = dict.fromkeys(f"{report.machine}; commit {report.commit}" for report in reports)
    notes = [f"[{place}] {_cell(source)}  " for source, place in sources.items()]
    return "\n".join([*lines, "", *notes, *([""] if notes else []), *(f"Measured on {_cell(w)}." for w in made), ""])


def show(reports: list[Report]) -> None:
    """Print ours beside the published on stdout."""
    print(results_table(reports))


def _published(report: Report, metric: str, sources: dict[str, int]) -> str:
    """The best entry; a source that is no link gets a number, and its text a line below the table."""
    best = best_published(report.published, metric)
    if best is None:
        return "–"
    if best.source.startswith(("https://", "http://")):
        return f"{_number(best.value)} [{best.model}]({best.source}) ({best.protocol})"
    note = sources.setdefault(best.source, len(sources) + 1)
    return f"{_number(best.value)} {best.model} ({best.protocol}) [{note}]"


def _baseline(report: Report, metric: str) -> str:
    values = {model: scores[metric] for model, scores in report.baselines.items() if metric in scores}
    if not values:
        return "–"
    pick = min if metric in LOWER_IS_BETTER else max
    model = pick(values, key=values.__getitem__)
    return f"{_number(values[model])} {model}"


def _read(path: Path, where: str, root: Path) -> list[Report]:
    name = path.relative_to(root)
    try:
        return TypeAdapter(list[Report]).validate_json(path.read_bytes())
    except FileNotFoundError:
        system, preset = path.parent.name, path.stem
        raise UsageError(
            f"the benchmark {name} does not exist", where=where, fix=f"run espalier bench {system} --preset {preset}"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError("not a list of reports", where=str(name), got=f"{place}: {first['msg']}") from None


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """A bar or a line break would end the cell, an angle bracket would start HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 5 if 0 < abs(value) < 0.0005 else 3
    return f"{value:,.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
