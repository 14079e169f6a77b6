"""What happens beside an answer: the monitor counts it, the audit puts it on record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.types import Scope

from common.audit.recorder import Recorder
from common.audit.routes import recall
from common.audit.store import AuditUnavailable
from common.monitoring.online import Monitor
from common.serving.rival import Rival
from common.serving.slot import Live, Slot
from common.serving.v2.rows import some_rows

if TYPE_CHECKING:
    import pyarrow

    from common.tables import Column

logger = logging.getLogger("espalier.serving")

Headers = tuple[tuple[bytes, bytes], ...]


class Decided:
    """What a route of a system's own that decides calls, on the event loop: `admit` before and `note` after.

    Then its decisions are on record and watched as those of `predict` are, and its answer names them.
    """

    def __init__(self, watch: Watch, scope: Scope, live: Live, response: Response) -> None:
        self._watch, self._scope, self._live, self._response = watch, scope, live, response

    def admit(self) -> None:
        """Raises `AuditUnavailable` when a decision must be kept and cannot be."""
        self._watch.admit()

    def note(self, requests: Sequence[Any], answers: Sequence[Any], bodies: tuple[bytes, bytes] | None = None) -> None:
        """Requests and their answers; the response gets the header that names the decision. See `Recorder.record`."""
        for name, value in self._watch.rows(self._scope, self._live, requests, answers, bodies):
            self._response.headers[name.decode()] = value.decode()


class Watch:
    """One for an app; its methods are called on the event loop and return the headers that name the decision."""

    def __init__(self, recorder: Recorder | None) -> None:
        self._recorder = recorder
        self._tasks: set[asyncio.Task[None]] = set()

    def admit(self) -> None:
        """Raises `AuditUnavailable` when a decision must be kept and cannot be."""
        if self._recorder:
            self._recorder.admit()

    def rows(
        self,
        scope: Scope,
        live: Live,
        requests: Sequence[Any],
        answers: Sequence[Any],
        bodies: tuple[bytes, bytes] | None = None,
    ) -> Headers:
        """Requests and their answers, one or many; for `bodies` see `Recorder.record`."""
        if live.monitor:
            if len(answers) == 1:
                live.monitor.observe(requests[0], answers[0])
            else:
                live.monitor.observe_many(requests, answers)
        if self._recorder is None or not live.audited:
            return ()
        rows = lambda: (requests, answers)  # noqa: E731
        return _named(self._recorder.record(scope, live, len(answers), rows, bodies=bodies))

    def table(self, scope: Scope, live: Live, columns: Mapping[str, Column], table: pyarrow.Table) -> Headers:
        """The same as columns."""
        if live.monitor:
            live.monitor.observe_many(*some_rows(columns, table, live.monitor.limits.rows_per_s))
        if self._recorder is None or not live.audited:
            return ()
        rows = table.num_rows
        return _named(self._recorder.record(scope, live, rows, lambda: some_rows(columns, table, rows)))

    def shadow(
        self, slot: Slot, scope: Scope, body: bytes, batch: bool, answers: Sequence[Any], decision: Headers
    ) -> None:
        """Let a challenger in the shadow answer what was answered; its answers are compared and put on record."""
        rival = slot.rival
        if rival and not rival.share and "role" not in scope["state"]:
            pair = decision[0][1].decode() if decision else ""
            task = asyncio.get_running_loop().create_task(self._shadow(rival, scope, body, batch, answers, pair))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _shadow(
        self, rival: Rival, scope: Scope, body: bytes, batch: bool, answers: Sequence[Any], pair: str
    ) -> None:
        live = rival.live
        try:
            asked = live.wires[batch].validate(body)
            requests = asked.rows if batch else (asked,)
            theirs = await live.batcher.submit(requests)
        except Exception as error:  # of the challenger's own fields, queue or code: the champion has answered
            rival.failed += len(answers)
            logger.warning("the shadow %s did not answer: %s", live.version, type(error).__name__)
            return
        rival.compare(answers, theirs)
        if live.monitor:
            live.monitor.observe_many(requests, theirs)
        if self._recorder and live.audited:
            rows = lambda: (requests, theirs)  # noqa: E731
            self._recorder.record(scope, live, len(theirs), rows, role="shadow", pair=pair)

    def begin(self, monitor: Monitor | None) -> None:
        """A model begins to answer: its monitor is told the labels that are on record."""
        if self._recorder and monitor:
            asyncio.get_running_loop().run_in_executor(None, _recall, self._recorder, monitor)


def _named(decision: str) -> Headers:
    return ((b"x-decision-id", decision.encode()),)


def _recall(recorder: Recorder, monitor: Monitor) -> None:
    try:
        recall(recorder, monitor)
    except AuditUnavailable as error:
        logger.warning("earlier labels of %s are not known: %s", monitor.system, error)
