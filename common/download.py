"""One download: to a file, with a bar and a time limit, by pooch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Unreachable(Exception):
    """There is no such file or no answer; says why in a word or two."""


class CutOff(Exception):
    """The connection was lost half-way; says how many bytes came."""


def download(url: str, part: Path, name: str) -> None:
    """Write what is at `url` to `part`; `name` stands beside the bar.

    Raises `Unreachable` or `CutOff`; what `part` then holds is not the file. Hashes are the caller's to check.
    """
    import pooch
    from requests import RequestException
    from requests.exceptions import ChunkedEncodingError

    try:
        with _progress_bar(name) as bar:
            pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16)(url, str(part), None)
    except ChunkedEncodingError as error:
        # The last chunk is lost with the connection; only the error says how far it came.
        read = re.search(r"(\d+) bytes read", str(error))
        raise CutOff(f"{read[1] if read else part.stat().st_size} bytes before the connection was lost") from None
    except RequestException as error:
        response = error.response
        raise Unreachable(type(error).__name__ if response is None else f"HTTP {response.status_code}") from None


class _Bar:
    """What pooch asks of a progress bar, drawn by rich."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task
        self.total = 0

    def update(self, size: int) -> None:
        self._progress.update(self._task, advance=size, total=self.total or None)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        """The context manager stops the display, also when the download fails."""


@contextmanager
def _progress_bar(name: str) -> Iterator[_Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield _Bar(progress, progress.add_task(name, total=None))
