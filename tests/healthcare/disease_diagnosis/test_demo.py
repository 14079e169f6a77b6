"""The vertical's demo as a stranger without network and data meets it, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys


def test_the_demo_needs_no_network_and_answers_with_real_data(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ESPALIER_")}
    environment |= {"ESPALIER_HOME": str(tmp_path), "ESPALIER_OFFLINE": "1", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "common", "demo", "healthcare", "--once", "--port", "0"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "SIMULATED" not in run.stderr
    assert "registered: models:/healthcare.disease_diagnosis@production" in run.stderr
    for word in (
        "POST http://127.0.0.1:",
        "'differential'",
        "'malignant'",
        "'simulated': False",
        "Not a medical device",
    ):
        assert word in run.stderr
    [card] = (tmp_path / "bundles" / "healthcare.disease_diagnosis").glob("*/CARD.md")
    assert "not a medical device" in card.read_text()
