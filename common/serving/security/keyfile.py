"""API keys and the file that keeps them: a JSON list of records, each with a salted hash instead of the secret.

A key is `esp_<id>_<secret>`: the id (48 bit) finds its record, the secret is 256 random bits. The record keeps
HMAC-SHA256(salt, secret). A slow password hash (Argon2, scrypt) defends secrets that people choose, by making each
guess cost; 2^256 guesses need no such help, and a slow hash would cost each request milliseconds and give anybody a
way to burn our CPU (OWASP, Password Storage; NIST SP 800-63B 5.1.1.2 asks for it only of memorized secrets).
"""

from __future__ import annotations

import fcntl
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from common.config import Strict
from common.errors import UsageError
from common.files import sync
from common.serving.security.caller import check_scope

KEY = re.compile(r"esp_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
Hex256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class KeyRecord(Strict):
    """What is kept of one key."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    name: str
    salt: Hex256
    hash: Hex256
    scopes: tuple[str, ...]
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Requests per second; None takes the service's default."""
    burst: Annotated[int, Field(ge=1)] | None = None
    created: AwareDatetime
    expires: AwareDatetime | None = None
    disabled: AwareDatetime | None = None

    def state(self, now: datetime) -> str:
        """`active`, `expired` or `revoked`."""
        if self.disabled:
            return "revoked"
        return "expired" if self.expires and self.expires <= now else "active"


_records = TypeAdapter(tuple[KeyRecord, ...])


def digest(salt: str, secret: str) -> str:
    """HMAC-SHA256 in hex."""
    return hmac.digest(bytes.fromhex(salt), secret.encode(), "sha256").hex()


def create_key(
    file: Path,
    scopes: tuple[str, ...],
    *,
    name: str = "",
    rate: float | None = None,
    burst: int | None = None,
    expires: datetime | None = None,
) -> tuple[str, KeyRecord]:
    """Add a key to `file` (made if absent) and return it; the only moment at which it exists in clear.

    Raises `UsageError` for an unknown scope, none at all, or a file that cannot be trusted.
    """
    if not scopes:
        raise UsageError("a key without a scope can do nothing", fix="give --scope, for example 'predict:*'")
    key_id, secret, salt = secrets.token_hex(6), secrets.token_urlsafe(32), secrets.token_hex(32)
    record = KeyRecord(
        id=key_id,
        name=name,
        salt=salt,
        hash=digest(salt, secret),
        scopes=tuple(check_scope(scope) for scope in scopes),
        rate=rate,
        burst=burst,
        created=datetime.now(UTC),
        expires=expires,
    )
    with _locked(file):
        _write(file, (*(read_keys(file) if file.exists() else ()), record))
    return f"esp_{key_id}_{secret}", record


def revoke_key(file: Path, key_id: str) -> KeyRecord:
    """Disable a key; its record stays, so that old audit entries still have a name. Raises `UsageError`."""
    with _locked(file):
        records = {record.id: record for record in read_keys(file)}
        if key_id not in records:
            raise UsageError(
                "no such key", where=str(file), got=repr(key_id), expected="an id that `espalier key list` shows"
            )
        old = records[key_id]
        records[key_id] = old.model_copy(update={"disabled": old.disabled or datetime.now(UTC)})
        _write(file, tuple(records.values()))
    return records[key_id]


def read_keys(file: Path) -> tuple[KeyRecord, ...]:
    """All records; raises `UsageError` when the file is missing, wrong, or open to other users of the machine."""
    try:
        with file.open("rb") as opened:
            _check_private(file, os.fstat(opened.fileno()))
            records = _records.validate_json(opened.read())
    except OSError as error:
        fix = "make one with `espalier key create`"
        raise UsageError(f"the keys file cannot be read ({error.strerror})", where=str(file), fix=fix) from None
    except ValidationError as error:  # its own text would quote the record
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError("not a keys file", where=f"{file}, {where or 'top'}", expected=first["msg"]) from None
    for record in records:
        for scope in record.scopes:
            check_scope(scope)
    if len({record.id for record in records}) < len(records):
        raise UsageError("two keys have the same id", where=str(file))
    return records


def _check_private(file: Path, found: os.stat_result) -> None:
    """PostgreSQL's rule for private files: 0600, or 0640 when root owns it (as Kubernetes mounts secrets)."""
    allowed = 0o640 if found.st_uid == 0 != os.geteuid() else 0o600
    if found.st_uid not in (0, os.geteuid()) or stat.S_IMODE(found.st_mode) & ~allowed & 0o777:
        raise UsageError(
            "others on this machine can touch the keys file",
            where=str(file),
            got=f"mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}",
            expected=f"mode {allowed:04o} or less and an owner who is root or the service",
            fix=f"run `chmod 600 {file}`",
        )


def _write(file: Path, records: tuple[KeyRecord, ...]) -> None:
    """Atomically and private from the first byte on (`common.files` gives the usual mode, too open for this)."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(_records.dump_json(records, indent=1))
            opened.flush()
            os.fsync(opened.fileno())
        part.replace(file)
        sync(file.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """One writer at a time; two `key create` at once would lose one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file.with_name(f".{file.name}.lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
