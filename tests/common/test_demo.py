"""The demo as a stranger without network and data meets it, in a process of its own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from common.bundle import load_bundle


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose path is longer than the terminal is wide."""
    return tmp_path_factory.mktemp("home") / ("long-" * 12)


def demo(home: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ESPALIER_")}
    environment |= {"ESPALIER_HOME": str(home), "ESPALIER_OFFLINE": "1", "COLUMNS": "60", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "common", "demo", "finance", "--once", "--port", "0"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)


@pytest.mark.skipif(find_spec("finance") is None, reason="shows finance.credit_scoring")
def test_from_nothing_to_answers_and_again_with_what_is_there(home: Path) -> None:
    first = demo(home)
    assert first.returncode == 0, first.stderr
    assert "SIMULATED DATA" in first.stderr
    said = first.stderr
    for word in ("POST http://127.0.0.1:", "'score'", "'decision'", "'reasons'", "'simulated': True"):
        assert word in said
    assert "registered: models:/finance.credit_scoring@simulated" in said

    # Each path stands on one line, though the terminal is narrower.
    [bundle] = (home / "bundles" / "finance.credit_scoring").iterdir()
    assert f"\ntrained: {bundle}\n" in said
    page = home / "reports" / "finance.credit_scoring" / load_bundle(bundle).manifest.version / "report.html"
    assert f"report: {page}\n" in said
    assert page.is_file()

    again = demo(home)
    assert again.returncode == 0, again.stderr
    assert f"finance.credit_scoring: using the trained bundle {bundle}\n" in again.stderr
    assert len(list(bundle.parent.iterdir())) == 1

    # The services it started are gone.
    for url in re.findall(r"POST (http://127\.0\.0\.1:\d+)", said + again.stderr):
        port = int(url.rpartition(":")[2])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=2)
