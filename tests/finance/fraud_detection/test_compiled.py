from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

COUNT = """
import numpy as np
from finance.fraud_detection.compiled import compiled
from finance.fraud_detection.kernels import find_entity

def double(values):
    for i in range(len(values)):
        values[i] *= 2

some = np.arange(4)
compiled(double)(some)
print(some.tolist())
"""


@pytest.mark.skipif(not shutil.which("bwrap"), reason="no bwrap: apt install bubblewrap")
def test_a_container_that_cannot_be_written_compiles_at_each_start(monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    read_only = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    done = subprocess.run([*read_only, sys.executable, "-c", COUNT], capture_output=True, text=True, check=False)
    assert done.stdout == "[0, 2, 4, 6]\n", done.stderr
