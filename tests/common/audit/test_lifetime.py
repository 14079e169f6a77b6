"""What a real process keeps when it is told to stop, and when it is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from toy_system import make_bundle

from common.audit.store import Store

WINDOW_S = 0.5
SERVE = """
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
import common.system
common.system.entry_points = lambda group: [EntryPoint("toy.adder", "toy_system:SYSTEM", "espalier.systems")]
from toy_system import SYSTEM
from common.serving.app import create_app
from common.serving.run import run_app
run_app(create_app("toy", {"toy.adder": Path(sys.argv[1])}, systems=[SYSTEM]), port=0)
"""


class Load:
    """Clients that ask until the process is gone, and note what was answered when."""

    def __init__(self, url: str, clients: int = 4) -> None:
        self.answered: list[tuple[float, str]] = []
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=(url,)) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, url: str) -> None:
        with httpx.Client(base_url=url) as client:
            while True:
                try:
                    answer = client.post("/v1/adder/predict", json={"age": 20})
                except httpx.ConnectError:
                    return
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    return
                if answer.status_code == 200:
                    self.answered.append((time.time(), answer.headers["x-decision-id"]))

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_lost(
    ending: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[1] / "serving"),
        "ESPALIER_HOME": str(tmp_path / "home"),
        "ESPALIER_AUDIT_WINDOW_S": str(WINDOW_S),
        "DATABASE_URL": database_url,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(make_bundle(tmp_path / "bundle", 1))],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    assert address
    load = Load(address[0])
    time.sleep(6 * WINDOW_S)
    ended = time.time()
    process.send_signal(ending)
    process.communicate(timeout=30)
    load.join()
    kept = set(_ids(database_url))
    # The declared window, and a generous second for one write on a busy machine.
    due = [key for at, key in load.answered if ending == signal.SIGTERM or at < ended - WINDOW_S - 1.0]
    if ending == signal.SIGTERM:
        assert process.returncode in (0, -signal.SIGTERM)  # uvicorn ends cleanly, then by the signal it got
        assert len(due) == len(load.answered) > 50
        assert load.failures == []
    missing = [key for key in due if key not in kept]
    assert missing == []
    assert kept


def _ids(url: str) -> list[str]:
    from sqlalchemy import select

    from common.audit.tables import decisions

    store = Store(url)
    with store._database.begin() as connection:
        found = list(connection.execute(select(decisions.c.id)).scalars())
    store.close()
    return found
