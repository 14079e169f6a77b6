"""Hot swap, challenger, promotion and rollback by API, for the scope `admin`.

What serves is remembered in `<home>/deployments/<system>.json`, so that a restart does not undo a promotion; a
`--bundle` on the command line comes first.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from common.audit.recorder import Recorder
from common.audit.routes import probability_of
from common.bundle import load_bundle
from common.bundle.acceptance import required, unmet
from common.config import settings
from common.errors import EspalierError, RequestError
from common.files import write_whole
from common.serving.rival import Rival
from common.serving.slot import Live, Slot

logger = logging.getLogger("espalier.serving")

ADDRESS = r"^(models:/[a-z0-9_.]+@[A-Za-z0-9_-]{1,64}|[A-Za-z0-9][A-Za-z0-9-]{0,63})$"
LEAST_LABELS = 100
FETCH_S = 300
Address = Annotated[
    str,
    Field(
        pattern=ADDRESS, description="version of a trained bundle, or models:/<system>@<alias>", examples=["candidate"]
    ),
]


class UnknownSystem(RequestError):
    """The service has no such system."""

    status = 404


class Refused(RequestError):
    """The change is not made; what serves stays."""

    status = 409


class Candidate(BaseModel):
    """A bundle to swap in at once."""

    model_config = ConfigDict(extra="forbid")

    bundle: Address
    allow_simulated: bool = False


class Challenge(BaseModel):
    """A bundle to serve beside the champion; `share` 0 is the shadow."""

    model_config = ConfigDict(extra="forbid")

    bundle: Address
    share: Annotated[float, Field(ge=0, le=1)] = 0.0


class Promotion(BaseModel):
    """Whether a model of simulated data may take over from one of real data."""

    model_config = ConfigDict(extra="forbid")

    allow_simulated: bool = False


class LiveMetrics(BaseModel):
    """Performance on labelled decisions; absent below 100 of them."""

    n: int
    auc: float | None = None
    brier: float | None = None


class Challenger(BaseModel):
    """The challenger, and how it compares."""

    version: str
    share: float
    shadow_rows: int
    failed_rows: int
    same_decision: float | None
    probability_distance: float | None
    champion_live: LiveMetrics
    challenger_live: LiveMetrics


class Deployment(BaseModel):
    """What serves a system, what it served before, and what challenges it."""

    system: str
    champion: str
    previous: str
    challenger: Challenger | None


def deployment_routes(slots: Sequence[Slot], recorder: Recorder | None) -> APIRouter:
    """The routes; one change of a system at a time."""
    router = APIRouter(tags=["deployments"], prefix="/v1/deployments")
    locks = {slot.system.name: asyncio.Lock() for slot in slots}

    def slot_of(system: str) -> Slot:
        for slot in slots:
            if system in (slot.system.name, slot.system.short_name):
                return slot
        known = ", ".join(slot.system.short_name for slot in slots)
        raise UnknownSystem("no such system in this service", got=repr(system[:60]), expected=f"one of {known}")

    async def state(slot: Slot) -> Deployment:
        return await asyncio.to_thread(_state, slot, recorder)

    @router.get("", summary="Champion, challenger and previous model of every system.")
    async def deployments() -> list[Deployment]:
        return [await state(slot) for slot in slots]

    @router.post("/{system}/challenger", summary="Serve a bundle in the shadow, or to a share of the requests.")
    async def challenge(system: str, body: Challenge) -> Deployment:
        slot = slot_of(system)
        async with locks[slot.system.name]:
            slot.live()
            await slot.challenge(Rival(await _open(slot, body.bundle), body.share))
            _remember(slot)
        return await state(slot)

    @router.delete("/{system}/challenger", summary="Withdraw the challenger.")
    async def withdraw(system: str) -> Deployment:
        slot = slot_of(system)
        async with locks[slot.system.name]:
            await slot.challenge(None)
            _remember(slot)
        return await state(slot)

    @router.post("/{system}/promote", summary="The challenger takes over, if it meets the acceptance thresholds.")
    async def promote(system: str, body: Promotion) -> Deployment:
        slot = slot_of(system)
        async with locks[slot.system.name]:
            if slot.rival is None:
                raise Refused("there is no challenger", where=slot.system.name, fix="POST one to .../challenger")
            await asyncio.to_thread(_check, slot, slot.rival.live, body.allow_simulated, recorder)
            slot.take_over(slot.rival.live)
            _remember(slot)
        return await state(slot)

    @router.post("/{system}/swap", summary="A bundle takes over at once, if it meets the acceptance thresholds.")
    async def swap(system: str, body: Candidate) -> Deployment:
        slot = slot_of(system)
        async with locks[slot.system.name]:
            live = await _open(slot, body.bundle)
            try:
                await asyncio.to_thread(_check, slot, live, body.allow_simulated, None)
            except EspalierError:
                await asyncio.to_thread(live.close)
                raise
            slot.take_over(live)
            _remember(slot)
        return await state(slot)

    @router.post("/{system}/rollback", summary="The model before this one takes over again.")
    async def rollback(system: str) -> Deployment:
        slot = slot_of(system)
        async with locks[slot.system.name]:
            if slot.previous is None:
                raise Refused("there is no model before this one", where=slot.system.name)
            slot.take_over(slot.previous)
            _remember(slot)
        return await state(slot)

    return router


def remembered(system: str) -> Path | None:
    """The bundle that was last promoted on this machine, if it is still there."""
    file = settings().home / "deployments" / f"{system}.json"
    try:
        path = Path(json.loads(file.read_bytes())["champion"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return path if path.is_dir() else None


def _remember(slot: Slot) -> None:
    live = slot.live()
    if live.path:
        file = settings().home / "deployments" / f"{slot.system.name}.json"
        write_whole(file, json.dumps({"champion": str(live.path), "version": live.version}))
    rival = f", challenged by {slot.rival.live.version}" if slot.rival else ""
    logger.info("%s is served by %s%s", slot.system.name, live.version, rival)


async def _open(slot: Slot, address: str) -> Live:
    """Load and self-test a bundle beside what serves; the reason of a failure goes to the log, it may name paths."""
    try:
        if address.startswith("models:/"):
            if not address.startswith(f"models:/{slot.system.name}@"):
                raise Refused("a bundle of another system", got=address, expected=f"models:/{slot.system.name}@<alias>")
            path = await _fetch(address)
        else:
            path = _trained(slot.system.name, address)
        return await slot.open(path)
    except RequestError:
        raise
    except Exception as error:
        logger.error("%s cannot be served: %s", address, error)
        raise Refused("this bundle cannot be served", got=address, fix="see the log of the service") from error


def _trained(system: str, version: str) -> Path:
    path = settings().home / "bundles" / system / version
    if not re.fullmatch(ADDRESS, version) or not path.is_dir():
        raise Refused("no such version is trained on this machine", got=version, fix="see the folder of bundles")
    return path


async def _fetch(address: str) -> Path:
    """From the registry, in a process of its own: MLflow would cost the service 150 MB."""
    code = "import sys; from common.training.registry import resolve; print(resolve(sys.argv[1]))"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, address), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), FETCH_S)
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        said = err.decode(errors="replace").strip().rpartition("\n")[2]
        logger.error("%s cannot be fetched: %s", address, said[-500:])
        raise Refused("the registry has no such bundle", got=address, fix="see the log of the service")
    return Path(out.decode().splitlines()[-1])


def _check(slot: Slot, live: Live, allow_simulated: bool, recorder: Recorder | None) -> None:
    """Raises `Refused` when a model may not take over."""
    bundle = load_bundle(live.path) if live.path else None
    if bundle and (missed := unmet(bundle, required(slot.system, bundle))):
        raise Refused("the acceptance thresholds are not met", where=live.version, got="; ".join(missed))
    if live.simulated and not slot.live().simulated and not allow_simulated:
        fix = "train on real data, or say allow_simulated if you mean it"
        raise Refused("a model of simulated data may not replace one of real data", where=live.version, fix=fix)
    champion, challenger = _live(slot, live, recorder)
    if champion.brier is not None and challenger.brier is not None and challenger.brier > champion.brier:
        got, expected = f"a Brier score of {challenger.brier:.4f}", f"at most the champion's {champion.brier:.4f}"
        raise Refused("the challenger does worse on labelled decisions", where=live.version, got=got, expected=expected)


def _state(slot: Slot, recorder: Recorder | None) -> Deployment:
    rival, challenger = slot.rival, None
    if rival:
        champion_live, challenger_live = _live(slot, rival.live, recorder)
        challenger = Challenger(
            version=rival.live.version,
            share=rival.share,
            shadow_rows=rival.answered,
            failed_rows=rival.failed,
            same_decision=rival.agreed / rival.answered if rival.answered else None,
            probability_distance=rival.apart / rival.answered if rival.answered else None,
            champion_live=champion_live,
            challenger_live=challenger_live,
        )
    previous = slot.previous.version if slot.previous else ""
    return Deployment(system=slot.system.name, champion=slot.version, previous=previous, challenger=challenger)


def _live(slot: Slot, rival: Live, recorder: Recorder | None) -> tuple[LiveMetrics, LiveMetrics]:
    """Champion and challenger on the same labelled decisions in the shadow, else each on its own."""
    if recorder is None:
        return LiveMetrics(n=0), LiveMetrics(n=0)
    if pairs := recorder.store.labelled_pairs(slot.system.name, rival.version, 10_000):
        return _measure([(y, one) for y, one, _ in pairs]), _measure([(y, other) for y, _, other in pairs])
    one, other = (recorder.store.labelled(slot.system.name, at, 10_000) for at in (slot.version, rival.version))
    return _measure(one), _measure(other)


def _measure(labelled: Sequence[tuple[Any, Any]]) -> LiveMetrics:
    from common.evaluation.metrics import auc, brier

    known = [(float(y), p) for y, answer in labelled if y in (0, 1) and (p := probability_of(answer)) is not None]
    if len(known) < LEAST_LABELS or len({y for y, _ in known}) < 2:
        return LiveMetrics(n=len(known))
    came_true, said = zip(*known, strict=True)
    return LiveMetrics(n=len(known), auc=float(auc(came_true, said)), brier=float(brier(came_true, said)))
