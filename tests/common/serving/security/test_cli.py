from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.config import settings
from common.errors import UsageError
from common.serving.security.cli import app
from common.serving.security.keyring import Keyring


def run(*words: str) -> tuple[str, str]:
    result = CliRunner().invoke(app, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_create_use_list_and_revoke(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    out, err = run("create", "--scope", "predict:adder", "--scope", "feedback", "--name", "bank", "--file", str(file))
    key = out.strip()  # nothing else on stdout: it can be piped into a secret store
    assert "only its hash" in err
    caller = Keyring(file, 5, 10).caller(key)
    assert caller is not None
    assert caller.scopes == {"predict:adder", "feedback"}
    key_id = key.split("_")[1]
    out, _ = run("list", "--file", str(file))
    assert out.startswith(f"{key_id}  active  predict:adder feedback  default rate  no expiry  bank")
    assert key not in out
    run("revoke", key_id, "--file", str(file))
    out, _ = run("list", "--json", "--file", str(file))
    [row] = json.loads(out)
    assert row["state"] == "revoked"
    assert {"salt", "hash"}.isdisjoint(row)
    assert Keyring(file, 5, 10).caller(key) is None


def test_json_expiry_and_the_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    monkeypatch.delenv("ESPALIER_KEYS_FILE", raising=False)
    settings.cache_clear()
    try:
        out, _ = run("create", "--scope", "admin", "--expires", "90d", "--rate", "2.5", "--json")
        made = json.loads(out)
        assert made["file"] == str(tmp_path / "keys.json")
        run("create", "--scope", "admin", "--expires", "2199-01-31")
        rows = json.loads(run("list", "--json")[0])
        assert [row["expires"][:10] for row in rows][1] == "2199-01-31"
        assert rows[0]["rate"] == 2.5
    finally:
        settings.cache_clear()


@pytest.mark.parametrize("expires", ["soon", "90", "2020-01-01", "0d", "2027-13-01"])
def test_a_wrong_expiry_is_one_sentence(tmp_path: Path, expires: str) -> None:
    with pytest.raises(UsageError, match="--expires"):
        run("create", "--scope", "admin", "--expires", expires, "--file", str(tmp_path / "keys.json"))
