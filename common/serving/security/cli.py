"""`espalier key create|list|revoke`."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from common.errors import UsageError
from common.serving.security.caller import GRAMMAR

app = typer.Typer(help="API keys of a service: create, list, revoke.", no_args_is_help=True)

File = Annotated[
    Path | None, typer.Option("--file", help="keys file; default ESPALIER_KEYS_FILE, else keys.json in ESPALIER_HOME")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON on stdout")]
Scopes = Annotated[list[str], typer.Option("--scope", help=f"{GRAMMAR}; can be repeated")]


@app.command()
def create(
    scope: Scopes,
    name: Annotated[str, typer.Option(help="who gets it")] = "",
    rate: Annotated[float | None, typer.Option(min=0.01, help="requests per second")] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="requests at once")] = None,
    expires: Annotated[str, typer.Option(help="days (90d) or a date (2027-01-31, its end in UTC)")] = "",
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    from common.serving.security.keyfile import create_key

    place = _file(file)
    key, record = create_key(
        place, tuple(dict.fromkeys(scope)), name=name, rate=rate, burst=burst, expires=_moment(expires)
    )
    if as_json:
        typer.echo(json.dumps({"key": key, "id": record.id, "scopes": record.scopes, "file": str(place)}))
        return
    typer.echo(key)
    typer.echo(f"Keep it now; {place} has only its hash. Running services know it within a second.", err=True)


@app.command("list")
def list_keys(file: File = None, as_json: AsJson = False) -> None:
    """The keys without their secrets."""
    from common.serving.security.keyfile import read_keys

    now = datetime.now(UTC)
    records = read_keys(_file(file))
    if as_json:
        rows = [
            {**record.model_dump(mode="json", exclude={"salt", "hash"}), "state": record.state(now)}
            for record in records
        ]
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    for record in records:
        rate = f"{record.rate:g}/s" if record.rate else "default rate"
        expires = f"until {record.expires:%Y-%m-%d}" if record.expires else "no expiry"
        facts = (record.id, record.state(now), " ".join(record.scopes), rate, expires, record.name)
        typer.echo("  ".join(facts).rstrip())


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID")], file: File = None) -> None:
    """Disable a key by its id; its record stays for the audit log."""
    from common.serving.security.keyfile import revoke_key

    record = revoke_key(_file(file), key_id)
    typer.echo(f"{record.id} is revoked; running services refuse it within a second.", err=True)


def _file(given: Path | None) -> Path:
    from common.config import settings

    return given or getattr(settings(), "keys_file", None) or settings().home / "keys.json"


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    now = datetime.now(UTC)
    try:
        days = re.fullmatch(r"(\d{1,5})d", text)
        moment = now + timedelta(days=int(days[1])) if days else _end_of(text)
    except (ValueError, OverflowError):
        raise UsageError("not a time", where="--expires", got=repr(text), expected="90d or 2027-01-31") from None
    if moment <= now:
        raise UsageError("an expiry in the past", where="--expires", got=text)
    return moment


def _end_of(day: str) -> datetime:
    return datetime.strptime(day, "%Y-%m-%d").replace(hour=23, minute=59, second=59, tzinfo=UTC)
