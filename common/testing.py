"""The conformance suite: what every system must do, ours and third parties'.

`check_system(SYSTEM)` runs all of it, as `espalier check` does; `CHECKS` has the single checks by name, for
a test parametrised over them. After scikit-learn's `estimator_checks`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from common.bundle import Bundle, load_bundle, open_predictor
from common.config import build_config, settings
from common.errors import BundleError, ConformanceError, EspalierError
from common.system import Predictor, System

NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
ROOMS = ("config", "train", "evaluate", "predictor")
THREADS, ROUNDS = 4, 5


class Subject:
    """A system under test with one bundle of its `sample` preset, trained when it is first asked for.

    Use it as a context manager: training goes to a home of its own, so that no service picks the bundle up.
    """

    def __init__(self, system: System) -> None:
        self.system = system

    def __enter__(self) -> Subject:
        self._home = tempfile.TemporaryDirectory()
        environment = {"ESPALIER_HOME": self._home.name, "ESPALIER_OFFLINE": "1", "ESPALIER_DATA_MIRROR": ""}
        self._environment = patch.dict(os.environ, environment)
        self._environment.start()
        settings.cache_clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._environment.stop()
        settings.cache_clear()
        self._home.cleanup()

    def train(self) -> Bundle:
        """A new bundle, trained without a network."""
        config_type = self.system.load("config")
        config = build_config(config_type, import_module(config_type.__module__).PRESETS, "sample", [])
        with no_network():
            return load_bundle(self.system.load("train")(config).path)

    @cached_property
    def bundle(self) -> Bundle:
        """The bundle that the checks share."""
        return self.train()

    @cached_property
    def predictor(self) -> Predictor:
        """Opened from the bundle, without a network."""
        with no_network():
            return open_predictor(self.bundle)

    @property
    def examples(self) -> list[dict[str, Any]]:
        """The golden requests as plain data."""
        return [pair["request"] for pair in self.bundle.examples()]

    def answers(self, examples: list[dict[str, Any]]) -> list[str]:
        """Answers of one batch as JSON text."""
        requests = [self.predictor.request.model_validate(example) for example in examples]
        return [answer.model_dump_json() for answer in self.predictor.predict(requests)]

    def require(self, condition: bool, what: str, **facts: Any) -> None:
        """Raise `ConformanceError` unless `condition` holds."""
        if not condition:
            raise ConformanceError(what, where=self.system.name, **facts)


def check_record(subject: Subject) -> None:
    """The record is complete: a name, words for people, rooms that import, presets that exist."""
    system = subject.system
    subject.require(
        bool(NAME.fullmatch(system.name)), "its name is no name", got=system.name, expected="vertical.system"
    )
    for field in ("summary", "task", "risk"):
        subject.require(bool(getattr(system, field)), f"{field} is empty", fix="say it in one line")
    for room in ROOMS:
        system.load(room)
    for room in ("bench", "objective"):
        if getattr(system, room):
            system.load(room)
    known = import_module(system.load("config").__module__).PRESETS
    names = sorted(known)
    subject.require("sample" in known, "no preset 'sample'", got=names, fix="add one that works offline in seconds")
    subject.require(sorted(system.presets) == names, "presets differ", got=sorted(system.presets), expected=names)


def check_cards(subject: Subject) -> None:
    """Every data set it names has a card with licence, citation, pitfalls and documented columns."""
    from common.data.card import load_card

    for dataset in subject.system.datasets:
        card = load_card(dataset)
        for field in ("title", "task", "licence", "citation", "pitfalls"):
            subject.require(bool(getattr(card, field)), f"the card of {dataset} is incomplete", got=f"no {field}")
        silent = [column.name for column in card.columns if not column.description]
        subject.require(not silent, f"columns of {dataset} lack a description", got=", ".join(silent[:5]))


def check_trains_offline(subject: Subject) -> None:
    """The preset `sample` trains without a network, and its golden examples are answered by the loaded bundle."""
    subject.require(bool(subject.examples), "the bundle has no golden examples", fix="give `save_bundle` some")
    open_predictor(subject.bundle)


def check_deterministic(subject: Subject) -> None:
    """The same seed gives the same model: weights and fitted state byte by byte."""
    first, second = ({n: e.sha256 for n, e in b.manifest.files.items()} for b in (subject.bundle, subject.train()))
    weights = (".safetensors", ".ubj", ".txt", ".onnx")
    differing = [n for n in first if (n.endswith(weights) or n == "preprocess.json") and first[n] != second.get(n)]
    subject.require(not differing, "training twice gives two models", got=", ".join(differing), fix="seed everything")


def check_corruption(subject: Subject) -> None:
    """One flipped byte in any file of the bundle is refused."""
    for name in ("manifest.json", *subject.bundle.manifest.files):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copytree(subject.bundle.path, Path(folder) / "bundle"))
            content = bytearray((copy / name).read_bytes())
            content[len(content) // 2] ^= 1
            (copy / name).write_bytes(content)
            try:
                load_bundle(copy)
            except BundleError:
                continue
            subject.require(False, "a bundle with one flipped byte is loaded", got=name)


def check_batch(subject: Subject) -> None:
    """N rows together are answered exactly as N rows alone, in their order."""
    rows = subject.examples * 2
    with no_network():
        together = subject.answers(rows)
        alone = [subject.answers([row])[0] for row in rows]
    subject.require(len(together) == len(rows), "a batch loses rows", got=len(together), expected=len(rows))
    wrong = [i for i, (a, b) in enumerate(zip(together, alone, strict=True)) if a != b]
    subject.require(not wrong, "a row is answered differently in a batch", got=f"rows {wrong[:5]}")
    subject.require(subject.predictor.predict([]) == [], "an empty batch has an answer", expected="no answers")


def check_threads(subject: Subject) -> None:
    """Several threads get the answers that one gets."""
    expected = subject.answers(subject.examples)
    subject.predictor.predict([])
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda _: subject.answers(subject.examples), range(THREADS * ROUNDS)))
    subject.require(all(answers == expected for answers in found), "answers change when threads share the predictor")


def check_schemas(subject: Subject) -> None:
    """Request and response tell their fields as JSON Schema."""
    for side in ("request", "response"):
        schema = getattr(subject.predictor, side).model_json_schema()
        json.dumps(schema)
        subject.require(bool(schema.get("properties")), f"the {side} has no fields", got=type(schema).__name__)


def check_bad_requests(subject: Subject) -> None:
    """A wrong request is refused through the service: 422, problem+json, with field, got and expected."""
    good = subject.examples[0]
    some_field = next(iter(subject.predictor.request.model_json_schema()["properties"]))
    bad = {"no such field": good | {"no such field": 1}, some_field: good | {some_field: {"nested": []}}}
    for field, body in bad.items():
        status, media_type, problem = asyncio.run(_post(subject, json.dumps(body)))
        where = f"a request with a wrong {field!r}"
        subject.require(status == 422, f"{where} is not refused", got=f"HTTP {status}", expected="HTTP 422")
        subject.require(media_type == "application/problem+json", f"{where} gets no problem+json", got=media_type)
        named = [e for e in problem["errors"] if e["field"].startswith(field) and e["got"] and e["expected"]]
        subject.require(bool(named), f"{where} is not told field, got and expected", got=problem["detail"])
    status, _, _ = asyncio.run(_post(subject, '{"half": '))
    subject.require(status == 400, "a body that is no JSON is not refused", got=f"HTTP {status}", expected="HTTP 400")
    status, _, answer = asyncio.run(_post(subject, json.dumps(good)))
    subject.require(status == 200, "its own golden request is refused", got=answer.get("detail"))


def check_floor(subject: Subject) -> None:
    """The first metric of its report that has a trivial floor beats it with its whole interval."""
    from common.evaluation.report import better

    report, _ = subject.system.load("evaluate")(subject.bundle)
    name = next((name for name in report.metrics if name in report.floor), None)
    subject.require(name is not None, "no metric stands beside a trivial floor", got=", ".join(report.metrics))
    metric, floor = report.metrics[str(name)], report.floor[str(name)]
    ends = f"[{metric.low:.3f}, {metric.high:.3f}]"
    beaten = all(better(str(name), end, floor) for end in (metric.low, metric.high))
    subject.require(beaten, f"{name} does not beat its trivial floor", got=ends, expected=f"better than {floor:.3f}")


CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__.removeprefix("check_").replace("_", " "): check
    for check in (
        check_record,
        check_cards,
        check_trains_offline,
        check_deterministic,
        check_corruption,
        check_batch,
        check_threads,
        check_schemas,
        check_bad_requests,
        check_floor,
    )
}


def check_system(system: System, on_check: Callable[[str], None] = lambda name: None) -> list[str]:
    """Run every check; returns their names, and calls `on_check` with each before it runs.

    Raises `ConformanceError` at the first that fails, naming it.
    """
    with Subject(system) as subject:
        for name, check in CHECKS.items():
            on_check(name)
            try:
                check(subject)
            except ConformanceError:
                raise
            except Exception as error:
                what = str(error) if isinstance(error, EspalierError) else f"{type(error).__name__}: {error}"
                raise ConformanceError(f"the check {name!r} failed ({what.rstrip('.')})", where=system.name) from error
    return list(CHECKS)


@contextmanager
def no_network() -> Iterator[None]:
    """Refuse every connection that leaves this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        local = not isinstance(address, tuple) or address[0] in ("127.0.0.1", "::1", "localhost")
        if not local:
            raise ConformanceError("a connection to the network was tried", got=f"{address[0]}:{address[1]}")
        connect(self, address)

    with patch.object(socket.socket, "connect", guarded):
        yield


async def _post(subject: Subject, body: str) -> tuple[int, str, Any]:
    import httpx

    from common.serving.app import create_app

    system = subject.system
    app = create_app(system.vertical, systems=[system], predictors={system.name: subject.predictor})
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client,
    ):
        headers = {"content-type": "application/json"}
        answer = await client.post(f"/v1/{system.short_name}/predict", content=body, headers=headers)
    return answer.status_code, answer.headers["content-type"], answer.json()
