from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.errors import UsageError
from common.serving.security import keyring
from common.serving.security.keyfile import create_key, read_keys, revoke_key
from common.serving.security.keyring import Keyring


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "made" / "keys.json"


def test_a_key_has_256_bits_and_only_its_hash_is_kept(file: Path) -> None:
    key, record = create_key(file, ("predict:*",), name="bank")
    assert re.fullmatch(rf"esp_{record.id}_[\w-]{{43}}", key)
    secret = key.split("_", 2)[2]
    kept = file.read_text()
    assert secret not in kept
    assert hashlib.sha256(secret.encode()).hexdigest() not in kept  # salted
    assert file.stat().st_mode & 0o777 == 0o600
    caller = Keyring(file, 5, 10).caller(key)
    assert caller is not None
    assert (caller.id, caller.scopes, caller.rate, caller.burst) == (f"key:{record.id}", {"predict:*"}, 5, 10)


def test_a_changed_character_anywhere_is_refused(file: Path) -> None:
    key, _ = create_key(file, ("admin",))
    ring = Keyring(file, 5, 10)
    for place in (4, 10, 18, len(key) - 2):
        assert ring.caller(key[:place] + ("0" if key[place] != "0" else "1") + key[place + 1 :]) is None
    for text in ("", "esp_", key + "x", key[:-1], key.upper(), "esp_000000000000_" + key[17:], f"{key}\n"):
        assert ring.caller(text) is None
    assert ring.caller(key)


def test_expired_and_revoked_keys_are_refused(file: Path) -> None:
    old, _ = create_key(file, ("admin",), expires=datetime.now(UTC) - timedelta(seconds=1))
    revoked, record = create_key(file, ("admin",))
    good, _ = create_key(file, ("admin",), expires=datetime.now(UTC) + timedelta(days=1), rate=7)
    revoke_key(file, record.id)
    ring = Keyring(file, 5, 10)
    assert ring.caller(old) is None
    assert ring.caller(revoked) is None
    caller = ring.caller(good)
    assert caller is not None
    assert (caller.rate, caller.burst) == (7, 14)
    assert ring.active == 1
    assert [key.state(datetime.now(UTC)) for key in read_keys(file)] == ["expired", "revoked", "active"]


def test_a_running_service_learns_of_new_and_revoked_keys(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, record = create_key(file, ("admin",))
    ring = Keyring(file, 5, 10)
    second, _ = create_key(file, ("admin",))
    revoke_key(file, record.id)
    assert ring.caller(first)  # it has not looked again yet
    monkeypatch.setattr(keyring, "LOOK_S", -1)
    assert ring.caller(first) is None
    assert ring.caller(second)


def test_a_file_that_breaks_under_a_running_service_changes_nobodys_access(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key, _ = create_key(file, ("admin",))
    ring = Keyring(file, 5, 10)
    monkeypatch.setattr(keyring, "LOOK_S", -1)
    whole = file.read_text()
    file.write_text(whole[:50])
    assert ring.caller(key)
    assert "the keys stay as they were" in caplog.text
    file.write_text("[]")
    assert ring.caller(key) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_is_refused(file: Path, mode: int) -> None:
    create_key(file, ("admin",))
    file.chmod(mode)
    with pytest.raises(UsageError, match=rf"others .* got mode {mode:04o}.*chmod 600"):
        read_keys(file)


def test_a_secret_mounted_by_root_may_be_read_by_the_services_group(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of root")
    create_key(file, ("admin",))
    file.chmod(0o640)
    monkeypatch.setattr(os, "geteuid", lambda: 10001)
    assert len(read_keys(file)) == 1
    file.chmod(0o644)
    with pytest.raises(UsageError, match="others"):
        read_keys(file)


def test_wrong_files_are_one_sentence_without_their_content(file: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_keys(file)
    create_key(file, ("admin",))
    good = file.read_text()
    for text in ("{", '[{"id": "hidden-value"}]', good.replace('"hash"', '"hsah"'), good.replace('"admin"', "7")):
        file.write_text(text)
        with pytest.raises(UsageError, match="not a keys file") as caught:
            read_keys(file)
        assert "hidden-value" not in str(caught.value)
    file.write_text(good.replace('"admin"', '"amdin"'))
    with pytest.raises(UsageError, match="no such scope: got 'amdin'"):
        read_keys(file)
    file.write_text(f"[{good.strip()[1:-1]},{good.strip()[1:-1]}]")
    with pytest.raises(UsageError, match="same id"):
        read_keys(file)


def test_no_key_without_a_known_scope(file: Path) -> None:
    for scopes in ((), ("predict",), ("predict:",), ("predict:a b",), ("cases",), ("case:adder",), ("Admin",)):
        with pytest.raises(UsageError):
            create_key(file, scopes)
    assert not file.exists()
    create_key(file, ("admin",))
    with pytest.raises(UsageError, match="got 'abc'"):
        revoke_key(file, "abc")


def test_many_writers_lose_no_key(file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = [key for key, _ in pool.map(lambda _: create_key(file, ("admin",)), range(24))]
    ring = Keyring(file, 5, 10)
    assert all(ring.caller(key) for key in keys)
    assert [path.name for path in file.parent.iterdir() if path.suffix == ".part"] == []
