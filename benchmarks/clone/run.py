"""From the repository to a served model of one's own: seconds of each step, files and lines of the clone.

`python benchmarks/clone/run.py` takes about five minutes on two idle cores, most of it the installation; writes
results.json and the table in README.md. `--repeats` clones are made of each origin, the median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from common.clone.git import commit_of, files_of
from common.clone.records import records
from common.files import write_whole
from common.provenance import commit, machine

ROOT = HERE.parents[1]
BEGIN, END = "<!-- clone results -->\n", "<!-- end of clone results -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only-new", action="store_true", help="install nothing")
    options = parser.parse_args()
    names = sorted(records(files_of(ROOT, commit_of(ROOT))))
    origins = [*sorted({name.partition(".")[0] for name in names}), *names]
    found: dict[str, Any] = {"machine": machine(), "commit": commit(), "clones": {}}
    for origin in origins:
        with tempfile.TemporaryDirectory() as folder:
            measured = cloned(origin, Path(folder), options.repeats)
            if not options.only_new and "." in origin:
                measured |= lived(origin, Path(folder))
        print(origin, json.dumps(measured), flush=True)
        found["clones"][origin] = measured
    if options.only_new:
        return
    write_whole(HERE / "results.json", json.dumps(found, indent=1) + "\n")
    page = HERE / "README.md"
    text = page.read_text()
    write_whole(page, text[: text.index(BEGIN)] + BEGIN + table(found) + text[text.index(END) :])


def cloned(origin: str, folder: Path, repeats: int) -> dict[str, Any]:
    """`espalier new`, several times; and what one of them holds."""
    seconds = []
    for _ in range(repeats):
        shutil.rmtree(folder / "acme", ignore_errors=True)
        command = [sys.executable, "-m", "common", "new", str(folder / "acme"), "--from", origin, "--yes"]
        seconds.append(timed(command, ROOT, dict(os.environ))[0])
    names = subprocess.check_output(["git", "-C", str(folder / "acme"), "ls-files"], text=True).splitlines()
    lines = {name: (folder / "acme" / name).read_bytes().count(b"\n") for name in names}
    own = origin.partition(".")[0] + "/"
    return {
        "new_s": round(statistics.median(seconds), 2),
        "files": len(names),
        "lines": sum(lines.values()),
        **{
            f"lines_{part.strip('/')}": sum(n for name, n in lines.items() if name.startswith(part))
            for part in ("common/", "tests/")
        },
        "lines_systems": sum(n for name, n in lines.items() if name.startswith(own)),
    }


def lived(origin: str, folder: Path) -> dict[str, Any]:
    """Install the clone into a fresh environment; then train, evaluate and serve until the first answer."""
    project, home = folder / "acme", folder / "home"
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OMP_NUM_THREADS")}
    variables |= {"ESPALIER_HOME": str(home)}
    vertical = origin.partition(".")[0]
    timed([sys.executable, "-m", "venv", str(folder / "venv")], project, variables)
    python = str(folder / "venv" / "bin" / "python")
    install, _ = timed([python, "-m", "pip", "install", "--quiet", "-e", f".[{vertical}]"], project, variables)
    preset = "reference" if variables.get("ESPALIER_DATA_MIRROR") else "sample"
    espalier = [python, "-m", "common"]
    train, said = timed([*espalier, "train", origin, "--preset", preset], project, variables)
    bundle = said.strip().splitlines()[-1]
    evaluate, _ = timed([*espalier, "evaluate", bundle], project, variables)
    serve = served(
        [*espalier, "serve", vertical, "--bundle", bundle, "--port", "0"], origin, bundle, project, variables
    )
    size = sum(path.stat().st_size for path in (folder / "venv").rglob("*") if path.is_file()) / 2**20
    steps = {"train_s": train, "evaluate_s": evaluate, "serve_s": serve}
    return {
        "preset": preset,
        "install_s": round(install, 1),
        "installed_mb": round(size),
        **{name: round(seconds, 1) for name, seconds in steps.items()},
        "trained_evaluated_served_s": round(sum(steps.values()), 1),
    }


def served(command: list[str], origin: str, bundle: str, project: Path, variables: dict[str, str]) -> float:
    """Seconds from the command to the first answer."""
    import httpx

    request = json.loads((Path(bundle) / "examples.jsonl").read_text().splitlines()[0])["request"]
    started = time.perf_counter()
    service = subprocess.Popen(
        command, cwd=project, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert service.stdout
        match = re.search(r"http://\S+:\d+", service.stdout.readline())
        assert match, "the service did not say where it is"
        httpx.post(f"{match[0]}/v1/{origin.partition('.')[2]}/predict", json=request).raise_for_status()
        return time.perf_counter() - started
    finally:
        service.terminate()
        service.wait(timeout=60)


def timed(command: list[str], folder: Path, variables: dict[str, str]) -> tuple[float, str]:
    """Seconds and stdout of a command that has to succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started, done.stdout


ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "`espalier new`": lambda m: f"{m['new_s']} s",
    "files": lambda m: f"{m['files']:,}",
    "lines": lambda m: f"{m['lines']:,}",
    "of these `common/`, tests, systems": lambda m: (
        f"{m['lines_common']:,}, {m['lines_tests']:,}, {m['lines_systems']:,}"
    ),
    "installation, fresh environment": lambda m: f"{m['install_s']} s, {m['installed_mb']:,} MB",
    "train, evaluate, serve until the first answer": lambda m: (
        f"{m['train_s']} + {m['evaluate_s']} + {m['serve_s']} = {m['trained_evaluated_served_s']} s ({m['preset']})"
    ),
}


def table(found: dict[str, Any]) -> str:
    """The results in Markdown, a column for each clone."""
    clones = found["clones"]
    lines = [["what", *(f"`{name}`" for name in clones)], ["---"] * (len(clones) + 1)]
    for what, told in ROWS.items():
        cells = []
        for measured in clones.values():
            try:
                cells.append(told(measured))
            except KeyError:
                cells.append("–")
        lines.append([what, *cells])
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{rows}\n\nMeasured on {found['machine']}; commit {found['commit']}.\n"


if __name__ == "__main__":
    main()
