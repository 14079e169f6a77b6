"""`espalier monitor`: add it with `app.command("monitor")(monitor)`; importing this costs nothing but Typer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from common.monitoring.run import MonitorRun, Policies


def monitor(
    bundle: Annotated[str, typer.Argument(help="folder, or models:/<system>@<alias>")],
    source: Annotated[Path, typer.Argument(metavar="DECISIONS", help="CSV, Parquet or JSON lines")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="policy, e.g. monitor.alpha=0.05")
    ] = None,
    every: Annotated[str, typer.Option(help="length of a window, as 1h, 1D or 7D; default all as one")] = "",
    label: Annotated[str, typer.Option(help="column of labels, empty where none has come back")] = "label",
    predicted: Annotated[str, typer.Option(help="column to compare labels with; default the only probability")] = "",
    policy: Annotated[Path | None, typer.Option(help="JSON file with the declared policy: monitor, retrain")] = None,
    state: Annotated[Path | None, typer.Option(help="JSON file kept between runs, for the retraining trigger")] = None,
    out: Annotated[Path, typer.Option(help="folder for monitor.json and monitor.html")] = Path("."),
) -> None:
    """Compare decisions with what the model was built on; exits 1 on an alarm. Prints the page's path last."""
    from common.cli import open_address
    from common.evaluation.report import write_json
    from common.monitoring.page import write_monitor_page
    from common.monitoring.retrain import RetrainState, run_hook
    from common.monitoring.rows import read_rows
    from common.monitoring.run import monitor as run
    from common.progress import working

    opened, policies = open_address(bundle), _policies(policy, overrides or [])
    before = RetrainState.model_validate_json(state.read_bytes()) if state and state.exists() else None
    with working(f"monitoring {opened.manifest.system}"):
        found = run(opened, read_rows(source), policies, every=every, label=label, predicted=predicted, state=before)
        write_json(out / "monitor.json", found)
        page = write_monitor_page(out / "monitor.html", found)
    if state:
        write_json(state, found.state)
    _show(found)
    for decision in found.decisions:
        run_hook(policies.retrain, decision) if decision.decision == "retrain recommended" else None
    typer.echo(page)
    if found.alarmed:
        raise typer.Exit(1)


def _policies(path: Path | None, overrides: list[str]) -> Policies:
    import json

    from common.config import build_config
    from common.errors import UsageError
    from common.monitoring.run import Policies

    try:
        declared = json.loads(path.read_bytes()) if path else {}
    except (OSError, ValueError) as error:
        raise UsageError(f"the policy cannot be read ({error})", where=str(path)) from None
    return build_config(Policies, {"policy": declared}, "policy", overrides)


def _show(found: MonitorRun) -> None:
    """The latest window as a table, worst field first, then alarms and decisions in sentences."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    latest, console = found.latest, Console()
    if latest is None:
        return
    period = (
        f", {latest.since:%Y-%m-%d %H:%M} to {latest.until:%Y-%m-%d %H:%M}" if latest.since and latest.until else ""
    )
    title = f"{found.system} {found.version}: {latest.n:,} rows{period}, window {len(found.windows)}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in ("field", "PSI", "verdict", "p", "missing", "alarms"):
        table.add_column(column, justify="right" if column in ("PSI", "p", "missing") else "left", overflow="fold")
    for field in sorted(latest.fields, key=lambda field: -field.psi):
        raised = ", ".join(alarm.kind.replace("_", " ") for alarm in latest.alarms if alarm.field == field.name)
        numbers = (f"{field.psi:.3f}", field.verdict, f"{field.adjusted_p:.1g}", f"{field.missing:.1%}")
        table.add_row(field.name, *numbers, raised)
    console.print(table)
    if not latest.judged:
        console.print(f"Too few rows to judge: {latest.n}, at least {found.policy.min_rows} are needed.", markup=False)
    for alarm in found.alarms:
        console.print(f"ALARM {alarm.sentence}", markup=False)
    for decision in found.decisions:
        console.print(
            f"{decision.time:%Y-%m-%d %H:%M} {decision.decision}: {'; '.join(decision.reasons)}", markup=False
        )
