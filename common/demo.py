"""From nothing to answers: train, report, register, serve, and ask the service over HTTP."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
from rich.panel import Panel
from rich.pretty import Pretty

from common.bundle import Bundle, load_bundle, newest
from common.bundle.acceptance import required, unmet
from common.config import build_config, settings
from common.errors import DatasetUnavailable, EspalierError, ModelUnavailable
from common.evaluation.page import write_page
from common.evaluation.report import write_json
from common.progress import console, working
from common.system import System, find, in_vertical
from common.training.registry import PRODUCTION, register

START_SECONDS = 60
LONG_EVENT = 1_000
"""The last event carries the result, which is shown by itself."""
say = partial(console.print, soft_wrap=True)  # a path that is broken over two lines cannot be copied


def demo(vertical: str, *, once: bool, port: int) -> None:
    """Run the demo of one vertical; leaves the service running unless `once`."""
    bundles = [_bundle(system) for system in in_vertical(vertical)]
    for bundle in bundles:
        say(f"report: {report(bundle)}")
        # A simulated bundle may not be production, nor one that misses a threshold; the demo says so and goes on.
        missed = unmet(bundle, required(find(bundle.manifest.system), bundle))
        for sentence in missed:
            say(f"[bold red]not accepted: {sentence}[/]")
        alias = "simulated" if bundle.manifest.simulated else "candidate" if missed else PRODUCTION
        with working("registering"):
            address = register(bundle, alias)
        say(f"registered: {address}")
    port = port or _free_port()
    command = [sys.executable, "-m", "common", "serve", vertical, "--port", str(port)]
    for bundle in bundles:
        command += ["--bundle", str(bundle.path)]
    service = subprocess.Popen(command)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, service)
        document = httpx.get(f"{url}/openapi.json").json()
        for bundle in bundles:
            _ask(url, bundle)
            follow_jobs(url, document, f"/v1/{bundle.manifest.system.partition('.')[2]}/")
        if not once:
            pages = f"{url}/docs" + (f", console at {url}/console" if find_spec("gradio") else "")
            say(f"[bold]The service runs at {url} (docs at {pages}). Ctrl+C stops it.[/]")
            service.wait()
    except KeyboardInterrupt:
        say("stopping")
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(timeout=START_SECONDS)


def report(bundle: Bundle) -> Path:
    """Evaluate a bundle and write `report.html` and `report.json`; returns the page's path."""
    system = find(bundle.manifest.system)
    with working(f"evaluating {system.name} on its test part"):
        result, sections = system.load("evaluate")(bundle)
        folder = settings().home / "reports" / system.name / bundle.manifest.version
        write_json(folder / "report.json", result)
        return write_page(folder / "report.html", result, sections)


def _bundle(system: System) -> Bundle:
    """The newest bundle, or one trained now: on published data, or simulated when there is none."""
    path = newest(system.name)
    if path:
        say(f"{system.name}: using the trained bundle {path}")
        return load_bundle(path)
    try:
        return _train(system, system.demo)
    except (DatasetUnavailable, ModelUnavailable) as error:
        console.print(Panel(f"{error}\n\nSIMULATED DATA: the demo goes on with data of a simulator.", style="bold red"))
        return _train(system, "sample")


def _train(system: System, preset: str) -> Bundle:
    config_type = system.load("config")
    config = build_config(config_type, import_module(config_type.__module__).PRESETS, preset, [])
    with working(f"training {system.name} ({preset})"):
        bundle: Bundle = system.load("train")(config)
    say(f"trained: {bundle.path}")
    return bundle


def _ask(url: str, bundle: Bundle) -> None:
    """Send the first golden examples as real requests and show what comes back."""
    route = f"{url}/v1/{bundle.manifest.system.partition('.')[2]}/predict"
    for example in bundle.examples()[:3]:
        answer = httpx.post(route, json=example["request"]).raise_for_status().json()
        say(f"\n[bold]POST {route}[/]")
        console.print(Pretty(example["request"], max_string=60))
        console.print(Panel(Pretty(answer, max_string=80), title="answer"))


def follow_jobs(url: str, document: Mapping[str, Any], prefix: str) -> None:
    """Make a job of each kind that a system has, from its example; tell its events, and the pages of its result."""
    for path, operations in document["paths"].items():
        post = operations.get("post", {})
        content = post.get("requestBody", {}).get("content", {}).get("application/json", {})
        if not path.startswith(prefix) or "202" not in post.get("responses", {}) or "example" not in content:
            continue
        say(f"\n[bold]POST {url}{path}[/]")
        reply = httpx.post(f"{url}{path}", json=content["example"]).raise_for_status()
        address = f"{url}{reply.headers['location']}"
        with httpx.stream("GET", f"{address}/events", timeout=START_SECONDS) as events:
            for line in events.iter_lines():
                if line.startswith("data: ") and len(line) < LONG_EVENT:
                    console.print(Pretty(json.loads(line.removeprefix("data: ")), max_string=60))
        answer = httpx.get(address).raise_for_status().json()
        console.print(Panel(Pretty(answer, max_string=80, max_length=6), title="result"))
        for page, shown in document["paths"].items():
            answers = shown.get("get", {}).get("responses", {})
            if page.startswith(f"{path}/{{id}}/") and "text/html" in answers.get("200", {}).get("content", {}):
                say(f"to look at: {address}{page.removeprefix(f'{path}/{{id}}')}")


def _wait_until_ready(url: str, service: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and service.poll() is None:
        try:
            if httpx.get(f"{url}/health/ready", timeout=1).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise EspalierError("the service did not become ready", where=url, fix="see its messages above")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
