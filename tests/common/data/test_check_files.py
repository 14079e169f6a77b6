from __future__ import annotations

import hashlib

import pytest

from common.config import settings
from common.data.check import check_any
from common.errors import DataCorrupted

CARD = """
id = "some-files"
title = "Files for a system to read"
task = "none"
format = "files"
licence = "none"
redistributable = true
citation = "none"
rows = 2
files = [{ path = "a.txt", sha256 = "%s", bytes = 3 }]
"""


def test_files_are_only_checked_against_their_hashes(tmp_path, monkeypatch):
    folder = tmp_path / "datasets" / "some-files"
    folder.mkdir(parents=True)
    (folder / "card.toml").write_text(CARD % hashlib.sha256(b"abc").hexdigest())
    (folder / "a.txt").write_bytes(b"abc")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    audit, told = check_any("some-files")
    assert audit.findings == ()
    assert told == "some-files: 1 files are those that the card names."
    (folder / "a.txt").write_bytes(b"abd")
    (tmp_path / "home" / "data" / "some-files" / "a.txt").unlink()
    with pytest.raises(DataCorrupted):
        check_any("some-files")
    settings.cache_clear()
