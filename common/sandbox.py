"""A system on trial: with a home of its own, without a network, also in a new process. `common.testing` judges it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import cached_property
from importlib import import_module
from ipaddress import ip_address
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from pydantic import ValidationError

from common.bundle import Bundle, load_bundle, open_predictor
from common.config import build_config, settings
from common.errors import ConformanceError
from common.system import Predictor, System, discover

if TYPE_CHECKING:
    import httpx
    from fastapi import FastAPI

    from common.evaluation.report import Report

# A trial neither inherits the user's settings nor reaches a store of theirs, nor the network through a local proxy.
FOREIGN = re.compile(r"ESPALIER_\w+|DATABASE_URL|REDIS_URL|\w+_proxy", re.IGNORECASE)
WRONG: tuple[Any, ...] = ({"nested": []}, [], "no such value", None)


class Subject:
    """A system under test with one bundle of its preset `sample`, trained when it is first asked for.

    Use it as a context manager: no service picks its bundle up, and the system need not be an installed plug-in.
    """

    def __init__(self, system: System) -> None:
        self.system = system

    def __enter__(self) -> Subject:
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            kept = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
            own = {"ESPALIER_HOME": str(self._folder / "home"), "ESPALIER_OFFLINE": "1"}
            stack.callback(settings.cache_clear)
            stack.enter_context(patch.dict(os.environ, kept | own, clear=True))
            settings.cache_clear()
            stack.enter_context(_registered(self.system))
            self._leave = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.close()

    @cached_property
    def bundle(self) -> Bundle:
        """The bundle that the checks share."""
        return _train(self.system)

    @cached_property
    def predictor(self) -> Predictor:
        """Loaded from the bundle."""
        loaded: Predictor = self.system.load("predictor").load(self.bundle)
        return loaded

    @cached_property
    def report(self) -> Report:
        """What the system says of the bundle."""
        with no_network():
            report: Report = self.system.load("evaluate")(self.bundle)[0]
        return report

    @cached_property
    def examples(self) -> list[Any]:
        """The golden requests as plain data."""
        return [pair["request"] for pair in self.bundle.examples()]

    @cached_property
    def alone(self) -> list[str]:
        """The answer to each golden request when it is asked alone."""
        return [answer for example in self.examples for answer in self.answers([example])]

    def copy(self) -> Path:
        """A copy of the bundle in another folder."""
        return Path(shutil.copytree(self.bundle.path, Path(tempfile.mkdtemp(dir=self._folder)) / "copy"))

    def answers(self, examples: list[Any]) -> list[str]:
        """The answers to one batch as JSON text."""
        requests = [self.predictor.request.model_validate(example) for example in examples]
        return [answer.model_dump_json() for answer in self.predictor.predict(requests)]

    def bad_requests(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Requests to be refused: what is wrong, the field to be named, and the body."""
        request, good = self.predictor.request, self.examples[0]
        yield "an unknown field", "no_such_field", good | {"no_such_field": 1}
        schema = request.model_json_schema()
        for field in schema.get("required", [])[:1]:
            yield f"no {field!r}", field, {name: value for name, value in good.items() if name != field}
        for field, wrong in product(schema["properties"], WRONG):
            body = good | {field: wrong}
            try:
                request.model_validate_json(json.dumps(body))
            except ValidationError:
                yield f"a wrong {field!r}", field, body
                return
        raise ConformanceError("its request accepts anything", fix="give its fields types and bounds")

    def post(self, requests: Sequence[tuple[str, str]]) -> list[httpx.Response]:
        """Send bodies to the system's routes, `(route, body)` each, of the real service with this bundle."""
        from common.serving.app import create_app

        app = create_app(self.system.vertical, {self.system.name: self.bundle.path}, systems=[self.system])
        with ThreadPoolExecutor(1) as pool:  # a notebook's own thread has an event loop already
            return pool.submit(asyncio.run, _post(app, f"/v1/{self.system.short_name}/", requests)).result()

    def in_new_process(self, function: Callable[..., None], *arguments: str) -> str:
        """Run `train_again` or `open_again` as a later command or a container would; returns the last line printed."""
        code = f"import sys; from {__name__} import {function.__name__} as run; run(*sys.argv[1:])"
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "random"}
        command = [sys.executable, "-c", code, json.dumps(asdict(self.system)), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)
        if done.returncode:
            raise ConformanceError(f"it fails in a new process ({_last_line(done.stderr)})")
        return _last_line(done.stdout)


def train_again(record: str) -> None:
    """Train the system of a record (JSON) and print the bundle's path."""
    with _registered(System(**json.loads(record))) as system:
        print(_train(system).path)


def open_again(record: str, path: str) -> None:
    """Load a bundle and run its golden examples."""
    with _registered(System(**json.loads(record))):
        open_predictor(load_bundle(path))


@contextmanager
def no_network() -> Iterator[None]:
    """Refuse connections that leave this machine, and look-ups of names; raise `ConformanceError` if one was tried.

    Also one whose failure the system swallowed. Sees what goes through Python's `socket`, as nearly all does.
    """
    tried: list[str] = []

    def guard(owner: Any, name: str, host_of: Callable[..., Any]) -> Any:
        original = getattr(owner, name)

        def guarded(*args: Any, **options: Any) -> Any:
            host = host_of(*args, **options)
            host = host.decode() if isinstance(host, bytes) else host
            if not _local(host):
                tried.append(host)
                raise OSError(f"the network is cut off, {host} cannot be reached")
            return original(*args, **options)

        return patch.object(owner, name, guarded)

    def of_socket(_: socket.socket, address: Any) -> Any:
        return address[0] if isinstance(address, tuple) else None  # a Unix socket has a path

    with ExitStack() as stack:
        stack.enter_context(guard(socket.socket, "connect", of_socket))
        stack.enter_context(guard(socket.socket, "connect_ex", of_socket))
        stack.enter_context(guard(socket, "getaddrinfo", lambda host, *_, **__: host))
        try:
            yield
        finally:
            if tried:
                raise ConformanceError("a connection to the network was tried", got=", ".join(dict.fromkeys(tried)))


def _local(host: str | None) -> bool:
    """Whether a host is this machine."""
    if not host or host in ("localhost", socket.gethostname()):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _registered(system: System) -> Iterator[System]:
    """As if the system were an installed plug-in, which loading a bundle by its name needs."""
    known = discover() | {system.name: system}
    with patch("common.system.discover", lambda: known):
        yield system


def _train(system: System) -> Bundle:
    config = system.load("config")
    with no_network():
        built = build_config(config, import_module(config.__module__).PRESETS, "sample", [])
        return load_bundle(system.load("train")(built).path)


async def _post(app: FastAPI, prefix: str, requests: Sequence[tuple[str, str]]) -> list[httpx.Response]:
    import httpx

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"content-type": "application/json"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service", headers=headers) as client,
    ):
        return [await client.post(prefix + route, content=body) for route, body in requests]


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2].removeprefix("common.errors.").rstrip(".")
