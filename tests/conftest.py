"""What is real in tests: a Chromium and a service to look at, a PostgreSQL, a Redis, published data."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
FLAGS += ("--disable-sync", "--no-first-run", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
# Read before a test changes the environment.
MIRRORS = (Path(os.environ.get("ESPALIER_DATA_MIRROR") or "absent"), Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture(scope="session")
def mirror_of() -> Callable[[str], Path]:
    """`mirror_of("credit-german")`: the mirror of published data that has it, or skip."""

    def find(dataset: str) -> Path:
        found = next((path for path in MIRRORS if (path / dataset).is_dir()), None)
        if found is None:
            pytest.skip(f"published data: neither ESPALIER_DATA_MIRROR nor ../shared/data has {dataset}")
        return found

    return find


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's headless Chromium, with a microphone that hums."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium: apt install chromium fonts-noto-cjk")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


class Watched:
    """A page, and what it must not do: load from elsewhere, break its policy, log an error."""

    def __init__(self, page: Any, origin: str) -> None:
        self.page, self.elsewhere, self.complaints = page, [], []
        page.on("request", lambda asked: self._note(asked.url, origin))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, url: str, origin: str) -> None:
        if not url.startswith((f"{origin}/", "data:", "blob:")):
            self.elsewhere.append(url)


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., str]]:
    """`serve(code, **environment)`: run code that serves an app in a process of its own; gives its address."""
    with ExitStack() as stack:
        yield lambda code, **environment: stack.enter_context(_served(code, environment))


@contextmanager
def _served(code: str, environment: dict[str, str]) -> Iterator[str]:
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout
        greeting = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", greeting)
        assert found, greeting
        yield found[0]
        process.terminate()
        process.wait(timeout=8)  # less than the drain: no open page holds up the end
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Watched]]:
    """`visit(url, width=..., **context)`: a page in a session of its own, loaded until it can be used."""
    contexts = []

    def visit(url: str, width: int = 1280, **settings: Any) -> Watched:
        context = chromium.new_context(viewport={"width": width, "height": 900}, **{"locale": "en-US", **settings})
        contexts.append(context)
        context.set_default_timeout(20_000)
        watched = Watched(context.new_page(), re.match(r"https?://[^/]+", url)[0])
        watched.page.goto(url)
        watched.page.wait_for_selector(".esp-head")
        return watched

    yield visit
    for context in contexts:
        context.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[tuple[Path, int]]:
    """A PostgreSQL of our own: the folder of its programs, which Debian keeps out of PATH, and its port."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    folder, home, port = found[-1].parent, Path(tempfile.mkdtemp(prefix="espalier-pg-")), free_port()
    owner = []
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(home, "postgres")
        owner = ["runuser", "-u", "postgres", "--"]
    data, quiet = str(home / "data"), {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": home}
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
    subprocess.run([*owner, folder / "initdb", "-D", data, "-U", "espalier", "-A", "trust"], check=True, **quiet)
    start = [*owner, folder / "pg_ctl", "-D", data, "-w", "-l", str(home / "log"), "-o", options, "start"]
    subprocess.run(start, check=True, **quiet)
    yield folder, port
    subprocess.run([*owner, folder / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=True, **quiet)
    shutil.rmtree(home)


@pytest.fixture
def postgres(postgres_server: tuple[Path, int]) -> str:
    """URL of an empty database in it."""
    folder, port = postgres_server
    address, empty = f"postgresql://espalier@127.0.0.1:{port}/postgres", "DROP SCHEMA public CASCADE"
    command = [folder / "psql", "-q", "-c", empty, "-c", "CREATE SCHEMA public", address]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return address


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, in a folder that is not there yet or in PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'tables.db'}"
    return request.getfixturevalue("postgres")


class RedisServer:
    """A Redis of our own, which a test may stop, halt and start again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        from redis import Redis
        from redis.exceptions import ConnectionError as NoRedis

        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        with Redis(port=self.port) as client:
            while self.process.poll() is None:
                with suppress(NoRedis):
                    client.ping()
                    return
        raise AssertionError("redis-server did not start")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    pytest.importorskip("redis")
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed: apt install redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisServer:
    """It runs, and is as empty as a new one."""
    from redis import Redis

    if redis_server.process.poll() is not None:
        redis_server.start()
    with Redis(port=redis_server.port) as client:
        client.flushall()
        client.script_flush()
        client.config_resetstat()
    return redis_server
