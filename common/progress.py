"""Progress on stderr for everything that takes over two seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True)


def warn(sentence: str) -> None:
    """One line on stderr, above a bar that is shown."""
    console.print(f"warning: {sentence}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner with the time elapsed, for work of unknown length."""
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
        progress.add_task(what, total=None)
        yield


@contextmanager
def bar(what: str, total: float) -> Iterator[Callable[..., None]]:
    """A bar; yields `advance(steps, note="")`."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total, note="")

        def advance(steps: float, note: str = "") -> None:
            progress.update(task, advance=steps, note=note)

        yield advance
