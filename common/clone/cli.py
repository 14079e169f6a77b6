"""`espalier new` and `espalier update`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def new(
    path: Annotated[
        Path | None, typer.Argument(metavar="[PATH]", help="a new folder; its name is the project's")
    ] = None,
    origin: Annotated[str, typer.Option("--from", metavar="VERTICAL|SYSTEM", help="what the project starts as")] = "",
    blank: Annotated[str, typer.Option(metavar="VERTICAL.SYSTEM", help="an empty system: in PATH, or in here")] = "",
    goal: Annotated[str, typer.Option(help="what it is for")] = "",
    users: Annotated[str, typer.Option(help="who uses its answers")] = "",
    decision: Annotated[str, typer.Option(help="which decision hangs on an answer")] = "",
    risk: Annotated[str, typer.Option(help="the worst that a wrong answer does")] = "",
    data_owner: Annotated[str, typer.Option(help="who owns the data")] = "",
    accept: Annotated[list[str] | None, typer.Option(metavar="'NAME >= VALUE'", help="a threshold; repeatable")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="ask nothing; what is not said stays open")] = False,
) -> None:
    """A project of one's own: a vertical or a system cut out of this repository, or an empty system.

    Asks for the brief, where it is not said by options, when run by a person.
    """
    from common.errors import UsageError

    if bool(origin) == bool(blank):
        raise UsageError("say what to start from", expected="--from VERTICAL, --from VERTICAL.SYSTEM or --blank NAME")
    if blank:
        from common.clone.blank import new_blank

        for line in new_blank(blank, path):
            typer.echo(line)
        return
    from common.clone.brief import Brief
    from common.clone.create import new as create

    if path is None:
        raise UsageError("say where to write the project", expected=f"espalier new PATH --from {origin}")
    brief = Brief(goal, users, decision, risk, data_owner, tuple(accept or ()))
    person = sys.stdin.isatty() and not yes
    made = create(path, origin, brief, _answer if person else None)
    if made.dirty:
        typer.echo("note: files here are changed; the project has them as they were last committed", err=True)
    typer.echo(f"{made.path}: {', '.join(made.systems)}, {made.files} files", err=True)
    typer.echo(f"next: cd {path}; read PLAN.md; make demo", err=True)
    typer.echo(made.path)


def update(
    project: Annotated[Path, typer.Argument(metavar="[PATH]", help="the project")] = Path(),
    source: Annotated[str, typer.Option(help="folder or url of Espalier; default: the recorded one")] = "",
    to: Annotated[str, typer.Option(metavar="REVISION", help="a commit, tag or branch of it")] = "HEAD",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="tell, and change nothing")] = False,
) -> None:
    """Bring what changed in Espalier into a project made from it; your own changes stay. Exits 1 on conflicts."""
    from common.clone.update import find_project
    from common.clone.update import update as run

    done = run(find_project(project), source, to, dry_run=dry_run)
    for change in done.changes:
        typer.echo(f"{change.kind:9} {change.path}" + (f": {change.why}" if change.why else ""))
    what = "nothing to do" if done.old == done.new else f"{len(done.changes)} files"
    typer.echo(f"{done.old[:12]} to {done.new[:12]}: {what}, {len(done.conflicts)} conflicts", err=True)
    if done.conflicts:
        raise typer.Exit(1)


def _answer(question: str, default: str) -> str:
    return str(typer.prompt(question, default=default, show_default=bool(default), err=True))
