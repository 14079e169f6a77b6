"""`espalier audit`: export, erase, purge."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The audit log: export decisions, erase a subject, end retention.", no_args_is_help=True)

DAY_S = 86_400.0


@app.command("export")
def export_decisions(
    target: Annotated[Path, typer.Argument(metavar="OUT", help="JSON lines, one per decided row")],
    system: Annotated[str, typer.Option(help="only of this system")] = "",
    days: Annotated[float, typer.Option(help="only of the last days")] = 36_500,
) -> None:
    """Write decisions with inputs (masked), output and label; `espalier monitor` reads the file."""
    from pydantic_core import to_json

    from common.audit.setup import open_store
    from common.config import settings
    from common.files import whole_file
    from common.progress import working

    n = 0
    with working("exporting decisions"), whole_file(target) as part, part.open("wb") as file:
        for row in open_store(settings()).export(system, time.time() - days * DAY_S):
            file.write(to_json(row) + b"\n")
            n += 1
    typer.echo(f"{n:,} decided rows", err=True)
    typer.echo(target)


@app.command()
def erase(subject: Annotated[str, typer.Argument(help="the X-Subject-Key that came with the requests")]) -> None:
    """Erase every decision of a subject, with its labels."""
    from common.audit.setup import open_mask, open_store
    from common.config import settings

    erased = open_store(settings()).erase(open_mask(settings()).subject(subject.encode()))
    typer.echo(f"{erased:,} decisions erased")


@app.command()
def purge(days: Annotated[float, typer.Option(min=0, help="keep what is younger")]) -> None:
    """Delete decisions older than some days, with their labels."""
    from common.audit.setup import open_store
    from common.config import settings

    purged = open_store(settings()).purge(time.time() - days * DAY_S)
    typer.echo(f"{purged:,} decisions deleted")
