"""The command line; every body imports what it needs, so that `--help` and `list` stay fast."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from common.audit.cli import app as audit_app
from common.clone import cli as clone
from common.data_cli import app as data_app
from common.errors import EspalierError, UsageError
from common.monitoring.cli import monitor
from common.serving.security.cli import app as key_app

app = typer.Typer(
    help="Espalier: complete industry AI systems on one small frame.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")
app.add_typer(key_app, name="key")
app.add_typer(audit_app, name="audit")
app.command("monitor")(monitor)
app.command("new")(clone.new)
app.command("update")(clone.update)

SystemName = Annotated[str, typer.Argument(metavar="SYSTEM", help="vertical.system, as in `espalier list`")]
Preset = Annotated[str, typer.Option(help="one of the presets that `espalier list` shows")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="settings, e.g. seed=7")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON on stdout; logs go to stderr")]


def main() -> None:
    """Run a command; an `EspalierError` is one sentence on stderr and its exit code, one of the system's is 1."""
    try:
        app()
    except EspalierError as error:
        typer.echo(f"espalier: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a folder that may not be written: its text names the file
        typer.echo(f"espalier: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command("list")
def list_systems(as_json: AsJson = False) -> None:
    """The systems with task, presets and risk; broken ones with their error."""
    from common.system import Broken, discover

    systems = discover()
    if as_json:
        rows = [
            {"name": s.name, "error": s.error}
            if isinstance(s, Broken)
            else {"name": s.name, "task": s.task, "summary": s.summary, "presets": s.presets, "risk": s.risk}
            for s in systems.values()
        ]
        typer.echo(json.dumps(rows, indent=1))
        return
    for system in systems.values():
        if isinstance(system, Broken):
            typer.echo(f"{system.name}  BROKEN: {system.error}")
        else:
            typer.echo(f"{system.name}  {system.summary}\n    {system.task}; presets {', '.join(system.presets)}")
            typer.echo(f"    risk {system.risk}")


@app.command()
def train(
    system: SystemName,
    overrides: Overrides = None,
    preset: Preset = "reference",
    register: Annotated[bool, typer.Option(help="register the bundle in MLflow")] = False,
    alias: Annotated[str, typer.Option(help="registry alias to give it")] = "production",
    allow_simulated: Annotated[bool, typer.Option(help="let a bundle of simulated data be `production`")] = False,
) -> None:
    """Data to bundle; prints the bundle's path last."""
    from common.progress import working
    from common.system import find

    found = find(system)
    config = _config(found, preset, overrides)
    with working(f"training {system} ({preset})"):
        bundle = found.load("train")(config)
    if register:
        from common.bundle.acceptance import required, verdicts
        from common.demo import report
        from common.training.registry import PRODUCTION
        from common.training.registry import register as register_bundle

        # A threshold on a metric of the test part: only the report knows it.
        if alias == PRODUCTION and any(v.value is None for v in verdicts(bundle, required(found, bundle))):
            typer.echo(f"report: {report(bundle)}", err=True)
        with working("registering"):
            typer.echo(register_bundle(bundle, alias, allow_simulated=allow_simulated), err=True)
    typer.echo(bundle.path)


@app.command()
def tune(
    system: SystemName,
    overrides: Overrides = None,
    preset: Preset = "reference",
    trials: Annotated[int, typer.Option(min=1)] = 20,
) -> None:
    """Search the system's declared space on validation data; prints the best settings as overrides."""
    from common.progress import bar
    from common.system import find
    from common.training.tuning import tune as run

    found = find(system)
    config = _config(found, preset, overrides)
    with bar(f"tuning {system}", trials) as advance:
        study = run(found, config, trials, lambda study, trial: advance(1))
    typer.echo(f"best validation value {study.best_value:.5f} with", err=True)
    for name, value in study.best_params.items():
        typer.echo(f"{name}={value}")


@app.command()
def evaluate(bundle: Annotated[str, typer.Argument(help="folder, or models:/<system>@<alias>")]) -> None:
    """The report of one bundle on its test part, as HTML and JSON; prints the page's path last.

    Each acceptance threshold is shown with its value; exits 1 when one is missed.
    """
    from common.bundle.acceptance import required, verdicts
    from common.demo import report
    from common.system import find

    opened = open_address(bundle)
    page = report(opened)
    accepted = [_say(verdict) for verdict in verdicts(opened, required(find(opened.manifest.system), opened))]
    typer.echo(page)
    if not all(accepted):
        raise typer.Exit(1)


@app.command()
def bench(
    target: Annotated[str, typer.Argument(metavar="SYSTEM|VERTICAL|all")],
    overrides: Overrides = None,
    preset: Preset = "reference",
    as_json: AsJson = False,
) -> None:
    """The benchmark; writes benchmarks/<vertical>.<system>/<preset>.json and shows ours beside the published."""
    from common.evaluation.report import write_json
    from common.evaluation.tables import show
    from common.system import Broken, discover, find, in_vertical

    named = [find(target)] if "." in target else in_vertical(target) if target != "all" else discover().values()
    printed: list[Any] = []
    for system in named:
        if isinstance(system, Broken):
            typer.echo(f"{system.name}: skipped, it cannot be imported ({system.error})", err=True)
            continue
        if not system.bench and system.name != target:
            typer.echo(f"{system.name}: skipped, this system has no bench", err=True)
            continue
        reports = system.load("bench")(_config(system, preset, overrides), preset)
        path = Path("benchmarks") / system.name / f"{preset}.json"
        if overrides:
            typer.echo("settings were changed, so no benchmark file is written", err=True)
        else:
            write_json(path, reports)
            typer.echo(f"wrote {path}", err=True)
        printed += [report.model_dump(mode="json") for report in reports]
        if not as_json:
            show(reports)
    if as_json:
        typer.echo(json.dumps(printed, indent=1, ensure_ascii=False))


@app.command()
def serve(
    vertical: Annotated[str, typer.Argument(envvar="ESPALIER_VERTICAL", help="finance, manufacturing or healthcare")],
    bundle: Annotated[list[str] | None, typer.Option(envvar="ESPALIER_BUNDLES", help="repeatable")] = None,
    host: Annotated[str, typer.Option(envvar="ESPALIER_HOST")] = "127.0.0.1",
    port: int = 8000,
) -> None:
    """The microservice of one vertical, until Ctrl+C or SIGTERM; a bundle is a folder or models:/<system>@<alias>."""
    from common.serving.run import serve as run

    opened = [open_address(address) for address in bundle or []]
    run(vertical, {one.manifest.system: one.path for one in opened}, host, port)


@app.command()
def score(
    bundle: Annotated[str, typer.Argument(help="folder, or models:/<system>@<alias>")],
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="CSV, Parquet, JSON lines; a folder, tar, zip of pictures")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="CSV, Parquet or JSON lines")],
    pictures: Annotated[Path | None, typer.Option(help="folder for the pictures in the answers, as PNG files")] = None,
) -> None:
    """Score a file of any size, or any number of pictures, in constant memory."""
    from common.bundle import open_predictor
    from common.progress import bar
    from common.tables import score_file

    predictor = open_predictor(open_address(bundle))
    left_out = 0
    with bar(f"scoring {source.name}", 1.0) as advance:
        done = 0.0

        def on_progress(rows: int, share: float) -> None:
            nonlocal done
            advance(share - done, f"{rows:,} rows")
            done = share

        if hasattr(predictor, "request_of"):
            from common.vision.score import score_pictures

            rows, left_out = score_pictures(predictor, source, target, on_progress, pictures)
        elif pictures:
            raise UsageError("--pictures is for a model of pictures", got=type(predictor).__name__)
        else:
            rows = score_file(predictor, source, target, on_progress)
    typer.echo(f"{rows - left_out:,} rows scored into {target}", err=True)
    if left_out:
        typer.echo(f"{left_out:,} of {rows:,} left out, the column error says why", err=True)


@app.command()
def check(system: Annotated[str | None, typer.Argument(metavar="[SYSTEM]")] = None) -> None:
    """The conformance suite, for one system or for all; exits 1 when one fails, and says in which check."""
    from common.errors import ConformanceError
    from common.progress import bar
    from common.system import Broken, discover, find
    from common.testing import CHECKS, check_system

    systems = discover()
    failed = False
    for known in [systems.get(system) or find(system)] if system else systems.values():
        try:
            if isinstance(known, Broken):
                raise ConformanceError(f"cannot be imported ({known.error})", where=known.name)
            with bar(f"checking {known.name}", len(CHECKS)) as advance:
                seconds = check_system(known, partial(advance, 1))
        except EspalierError as error:
            typer.echo(f"espalier: {error}", err=True)
            failed = True
        else:
            times = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
            typer.echo(f"{known.name}: {len(seconds)} checks passed in {sum(seconds.values()):.1f} s ({times})")
    if failed:
        raise typer.Exit(1)


@app.command()
def demo(
    vertical: Annotated[str, typer.Argument(help="finance, manufacturing or healthcare")],
    once: Annotated[bool, typer.Option("--once", help="stop the service after the requests")] = False,
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 8000,
) -> None:
    """Train what is missing, report, register, serve, send real requests and show the answers."""
    from common.demo import demo as run

    run(vertical, once=once, port=port)


def _say(verdict: Any) -> bool:
    """Show a threshold beside the value; returns whether it is met."""
    typer.echo(f"{'met' if verdict.met else 'NOT MET'}: {verdict}", err=True)
    return bool(verdict.met)


def _config(system: Any, preset: str, overrides: list[str] | None) -> Any:
    from importlib import import_module

    from common.config import build_config

    config = system.load("config")
    presets = import_module(config.__module__).PRESETS
    return build_config(config, presets, preset, overrides or [])


def open_address(address: str) -> Any:
    """The bundle of a folder, or of `models:/<system>@<alias>`, as commands take it; raises what `load_bundle` does."""
    from common.bundle import load_bundle

    if address.startswith("models:/"):
        from common.training.registry import resolve

        return load_bundle(resolve(address))
    return load_bundle(address)
