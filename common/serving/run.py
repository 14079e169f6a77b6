"""Run a service with uvicorn: one line with its address, clean refusals, a drain on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import uvicorn

from common.errors import UsageError
from common.serving.admission import Admission
from common.serving.app import create_app
from common.serving.lanes import Service
from common.serving.limits import Limits
from common.serving.observe import AccessLines, JsonLines
from common.serving.security.connection import LINGER_S, BoundedProtocol
from common.serving.slot import Slot

# Longer than any request's deadline, so that SIGTERM loses none; Kubernetes kills after 30.
DRAIN_S = 20
LISTENER_S = 0.1
# libuv accepts one connection per listener and turn of the loop; an overloaded loop turns 50 times a second.
ACCEPTS = 16


def serve(vertical: str, bundles: Mapping[str, Path] | None = None, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve a vertical until SIGTERM or Ctrl+C, then finish the requests in flight.

    Raises `UsageError` when the port cannot be had, and what `create_app` raises. Port 0 takes a free one.
    """
    run_app(create_app(vertical, bundles), host, port)


def run_app(app: Service, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve a ready app the same way."""
    listener = _bind(host, port)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("espalier", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    logging.getLogger("espalier.access").handlers = [AccessLines(sys.stderr)]
    logging.getLogger("espalier.access").propagate = False
    slots: list[Slot] = app.state.slots
    admission = Admission(
        app.most,
        lambda: len(server.server_state.tasks),
        app.turn_away,
        lambda: any(slot.crowded for slot in slots),
    )
    protocol = type("Protocol", (BoundedProtocol,), {"admission": admission})
    # Python's 5 ms would be added to a request whenever the audit's thread is at work: 1 % of them took 90 ms.
    sys.setswitchinterval(0.0005)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws_max_size=Limits().body_bytes,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    server = _Server(config)
    try:
        server.run(sockets=[listener, *(listener.dup() for _ in range(ACCEPTS - 1))])
    except KeyboardInterrupt:  # uvicorn raises it again after a clean stop
        return


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        if isinstance(app, Service):
            for stop in (*([app.console.stop] if app.console else []), *app.on_drain):
                stop()
        # The listener goes first: a client that is told to leave comes back at once, and must be refused, not cut off.
        for server in self.servers:
            server.close()
        await asyncio.sleep(LISTENER_S)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        # uvicorn waits for requests, not for connections on which the next one may be under way.
        for _ in range(round(2 * LINGER_S / LISTENER_S)):
            if not self.server_state.connections:
                break
            await asyncio.sleep(LISTENER_S)
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started or not sockets:
            return
        gc.collect()
        # Requests in flight survive young collections and make old ones frequent: a quarter of the time under overload.
        gc.set_threshold(10_000, 10, 1000)
        gc.freeze()  # what was loaded lives as long as the process; collections need not look at it again
        host, port = sockets[0].getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        app = self.config.app
        assert isinstance(app, Service)
        idle = [f"{slot.system.name}: {slot.reason}" for slot in app.state.slots if slot.status != "ready"]
        pages = f"{url}/docs" + (f" and {url}/console" if app.console and app.console.ready else "")
        print(f"{app.title} on {url}, try it at {pages} (Ctrl+C stops)", *idle, sep="\n", flush=True)


def _bind(host: str, port: int) -> socket.socket:
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise UsageError(
            "cannot listen here", where=where, got=error.strerror, expected="a free port", fix="choose another --port"
        ) from None
    return listener
