"""`GET /v1/monitor` (JSON of every live model) and `GET /v1/monitor/<system>` (its page).

The page is drawn in a process of its own, one at a time, and kept for a minute: Matplotlib would cost the service
60 MB and hold up its requests.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from common.errors import DeadlineExceeded, RequestError
from common.monitoring.online import Monitor
from common.monitoring.run import MonitorRun

KEEP_S = 60.0
DRAW_S = 30.0
ROOT = Path(__file__).parents[2]


class NotWatched(RequestError):
    """No model of this name has a monitor."""

    status = 404


class NotDrawn(RequestError):
    """The process that draws the page failed; it needs the `tabular` extra."""

    status = 503


def monitor_routes(monitors: Callable[[], Sequence[Monitor]]) -> APIRouter:
    """The routes over the live monitors; `monitors` is asked at each request, so a swap needs nothing."""
    router = APIRouter(tags=["service"])
    pages: dict[str, tuple[float, str, str]] = {}
    drawing = asyncio.Lock()

    @router.get("/v1/monitor", summary="Drift, data quality and live performance of every model.")
    async def all_monitors(reference: bool = False) -> list[MonitorRun]:
        left_out: dict[str, Any] = {} if reference else {"reference": {}}
        return [monitor.snapshot().model_copy(update=left_out) for monitor in monitors()]

    @router.get("/v1/monitor/{system}", summary="The same of one model as a page.", response_class=HTMLResponse)
    async def page(system: str) -> HTMLResponse:
        found = next((monitor for monitor in monitors() if monitor.system.rpartition(".")[2] == system), None)
        if found is None:
            known = ", ".join(monitor.system.rpartition(".")[2] for monitor in monitors()) or "none yet"
            raise NotWatched("no such model is watched", expected=f"one of {known}")
        async with drawing:
            drawn, version, html = pages.get(system, (0.0, "", ""))
            if version != found.version or time.monotonic() - drawn > KEEP_S:
                html = await _draw(found.snapshot())
                pages[system] = (time.monotonic(), found.version, html)
        return HTMLResponse(html)

    return router


async def _draw(run: MonitorRun) -> str:
    """The page of a run, from `python -m common.monitoring.page`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "common.monitoring.page"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
    )
    try:
        html, _ = await asyncio.wait_for(process.communicate(run.model_dump_json().encode()), DRAW_S)
    except TimeoutError:
        process.kill()
        raise DeadlineExceeded("the page took too long", expected=f"{DRAW_S:g} s", fix="try again later") from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise NotDrawn("the page could not be drawn", fix="GET /v1/monitor has the numbers")
    return html.decode()
