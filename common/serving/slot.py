"""The place of one system in a service: its live model, and how another takes over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from starlette.types import Scope

from common.bundle import Bundle, load_bundle, newest, open_predictor
from common.errors import BundleError, EspalierError, SystemUnavailable
from common.monitoring.online import Monitor
from common.serving.batcher import Batcher
from common.serving.body import Room
from common.serving.limits import Limits
from common.serving.metrics import ModelState
from common.serving.rival import Rival
from common.serving.security.headers import start_of_answer
from common.serving.wire import Wire, wires
from common.system import Predictor, System

logger = logging.getLogger("espalier.serving")

# Only "loading" and "failed" keep a service from being ready: a vertical may run with some systems absent.
Status = Literal["loading", "ready", "untrained", "unavailable", "failed"]


@dataclass(frozen=True)
class Live:
    """A model that answers: everything a response of it needs, so that no answer mixes two versions."""

    predictor: Predictor
    batcher: Batcher
    version: str
    created: str
    simulated: bool
    headers: tuple[tuple[bytes, bytes], ...]
    head: bytes
    examples: list[dict[str, Any]]
    wires: tuple[Wire, Wire]
    monitor: Monitor | None
    system: str
    sensitive: frozenset[str]
    audited: bool
    path: Path | None
    facts: dict[str, Any]
    hidden: frozenset[str] = frozenset()

    def close(self) -> None:
        """Answer what is queued, then stop."""
        self.batcher.close()
        if self.monitor:
            self.monitor.stop()


class Slot:
    """Holds at most one live model of a system; `predictor` skips bundles and serves the given one."""

    def __init__(
        self,
        system: System,
        bundle: Path | None = None,
        predictor: Predictor | None = None,
        limits: Limits | None = None,
        on_batch: Callable[[int], None] = lambda rows: None,
        on_live: Callable[[], None] = lambda: None,
    ) -> None:
        self.system, self.limits = system, limits or Limits()
        self._bundle, self._given, self._on_batch = bundle, predictor, on_batch
        self.on_live = on_live
        self._live: Live | None = None
        self.previous: Live | None = None
        self.rival: Rival | None = None
        self._retiring: dict[asyncio.Task[None], Live] = {}
        self.status: Status = "loading"
        self.reason = ""
        self.kind: type[Predictor] | None = type(predictor) if predictor else None
        try:
            self.kind = self.kind or system.load("predictor")
        except SystemUnavailable as error:
            self.status, self.reason = ("failed" if bundle else "unavailable"), str(error)
        self.body_bytes: int = getattr(self.kind, "body_bytes", 0)
        self.room = Room(self.body_bytes, self.limits.large_bodies_bytes)
        patience: float = getattr(self.kind, "deadline_s", 0.0)
        self.limits = replace(self.limits, deadline_s=max(self.limits.deadline_s, patience))

    @property
    def predictor(self) -> Predictor | None:
        """The live model's predictor, if there is one."""
        return self._live.predictor if self._live else None

    def live(self) -> Live:
        """The model to use for one request; raises `SystemUnavailable` when there is none."""
        if self._live:
            return self._live
        if self.status == "untrained":
            raise SystemUnavailable("no model is trained yet", where=self.system.name, fix=self._how_to_train())
        raise SystemUnavailable(f"the model is {self.status}", where=self.system.name, fix="see /health/ready")

    def choose(self, scope: Scope) -> Live:
        """The model for one request: the champion, or the challenger for its share; raises as `live` does."""
        if self.rival and self.rival.takes(scope):
            scope["state"]["role"] = "challenger"
            return self.rival.live
        return self.live()

    async def load(self) -> None:
        """Load the given bundle, or the newest one of this machine; a failure becomes status and reason."""
        if self.kind is None:
            return
        path = self._bundle
        try:
            if self._given:
                self._live = await asyncio.to_thread(self._start, self._given, None)
            elif path := path or self._remembered() or newest(self.system.name):
                self._live = await asyncio.to_thread(self._open, path)
            else:
                self.status, self.reason = "untrained", f"no model is trained yet; {self._how_to_train()}."
                return
        except EspalierError as error:  # one broken bundle must not keep the other systems from serving
            logger.error("%s cannot be served: %s", self.system.name, error)
            self.status, self.reason = "failed", str(error).replace(str(path), path.name if path else "")
            return
        except Exception as error:
            logger.exception("%s cannot be served", self.system.name)
            self.status, self.reason = "failed", f"its bundle raised {type(error).__name__}; see the log."
            return
        self.status, self.reason = "ready", ""
        self.on_live()

    async def open(self, bundle: Path) -> Live:
        """Load and self-test another bundle beside the live one. Raises what loading raises."""
        return await asyncio.to_thread(self._open, bundle)

    async def swap(self, bundle: Path) -> None:
        """Open another bundle and let it take over; when it cannot be opened the old one stays."""
        self.take_over(await self.open(bundle))

    def take_over(self, new: Live) -> None:
        """Let an opened model answer from now on, by one assignment; requests in flight finish on the old one.

        The old one stays open as `previous`, for an instant rollback; the one before it is closed.
        """
        if self.rival and self.rival.live is new:
            self.rival = None
        before, self.previous, self._live = self.previous, self._live, new
        self.status, self.reason = "ready", ""
        self.on_live()
        if before and before is not new:
            self._retire(before)

    async def challenge(self, rival: Rival | None) -> None:
        """Set the challenger, or withdraw it."""
        old, self.rival = self.rival, rival
        if old:
            self._retire(old.live)

    async def close(self) -> None:
        """Answer what is queued, then stop."""
        for task in self._retiring:
            task.cancel()
        rival = self.rival.live if self.rival else None
        known = (self._live, self.previous, rival, *self._retiring.values())
        for live in {id(live): live for live in known if live}.values():
            await asyncio.to_thread(live.close)
        if give_back := getattr(self.predictor, "close", None):
            await asyncio.to_thread(give_back)

    def _retire(self, live: Live) -> None:
        """Close a model when no request can still hold it."""

        async def close() -> None:
            await asyncio.sleep(self.limits.deadline_s)
            await asyncio.to_thread(live.close)

        task = asyncio.get_running_loop().create_task(close())
        self._retiring[task] = live
        task.add_done_callback(lambda done: self._retiring.pop(done, None))

    def _remembered(self) -> Path | None:
        from common.serving.deployments import remembered

        return remembered(self.system.name)

    def state(self) -> ModelState:
        """For the metrics."""
        live = self._live
        queued = live.batcher.queued_rows if live else 0
        return ModelState(self.system.name, self.version, self.simulated, self.status == "ready", queued)

    @property
    def crowded(self) -> bool:
        """Whether the live model has half as many rows waiting as it may have."""
        return self._live is not None and self._live.batcher.queued_rows * 2 >= self.limits.queued_rows

    @property
    def monitor(self) -> Monitor | None:
        """The monitor of the live model."""
        return self._live.monitor if self._live else None

    @property
    def version(self) -> str:
        """Version of the live model, or nothing."""
        return self._live.version if self._live else ""

    @property
    def simulated(self) -> bool:
        """Whether the live model was trained on simulated data."""
        return bool(self._live and self._live.simulated)

    def _open(self, path: Path) -> Live:
        bundle = load_bundle(path)
        if bundle.manifest.system != self.system.name:
            raise BundleError(
                "a bundle of another system",
                where=f"bundle {path}",
                got=bundle.manifest.system,
                expected=self.system.name,
            )
        return self._start(open_predictor(bundle), bundle)

    def _start(self, predictor: Predictor, bundle: Bundle | None) -> Live:
        version = bundle.manifest.version if bundle else "unversioned"
        simulated = bool(bundle and bundle.manifest.simulated)
        examples = bundle.examples() if bundle else []
        headers = [(b"content-type", b"application/json"), (b"x-model-version", version.encode())]
        if simulated:
            headers.append((b"x-espalier-simulated", b"true"))
        batcher = Batcher(
            predictor.predict,
            self.limits,
            name=self.system.short_name,
            inline=getattr(predictor, "inline", None),
            warm=[predictor.request.model_validate(pair["request"]) for pair in examples],
            on_batch=self._on_batch,
        )
        created = bundle.manifest.created if bundle else ""
        shapes = wires(predictor, self.limits.batch_rows)
        monitor = Monitor.of_bundle(bundle) if bundle else None
        if monitor:
            monitor.start()
        return Live(
            predictor,
            batcher,
            version,
            created,
            simulated,
            tuple(headers),
            start_of_answer(headers),
            examples,
            shapes,
            monitor,
            system=self.system.name,
            sensitive=frozenset(getattr(predictor, "sensitive", ())),
            audited=bundle is not None,
            path=bundle.path if bundle else None,
            facts=_facts(bundle),
            hidden=frozenset(getattr(predictor, "hidden", ())),
        )

    def _how_to_train(self) -> str:
        return f"run `espalier train {self.system.name}` and restart"


def _facts(bundle: Bundle | None) -> dict[str, Any]:
    """What `/v1/models/<system>` tells of a bundle."""
    if bundle is None:
        return {"metrics": {}, "data": {}, "card": ""}
    card = bundle.read("CARD.md").decode() if "CARD.md" in bundle.manifest.files else ""
    return {"metrics": bundle.json("metrics.json"), "data": bundle.json("data.json"), "card": card}
