"""From settings to a recorder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.audit.masking import Mask, secret_of
from common.audit.recorder import Recorder
from common.audit.store import Store
from common.errors import UsageError

if TYPE_CHECKING:
    from common.config import Settings


def open_store(settings: Settings) -> Store:
    """The database of `DATABASE_URL`, else `<home>/audit.db`."""
    return Store(settings.database_url or f"sqlite:///{settings.home / 'audit.db'}")


def open_mask(settings: Settings) -> Mask:
    """The mask with the secret of the settings, else of this machine.

    Raises `UsageError` in production when several machines would share a database but no secret: erasure by subject
    would then find only what this one wrote.
    """
    if settings.environment == "production" and settings.database_url and not settings.audit_secret:
        fix = "set ESPALIER_AUDIT_SECRET, the same for all replicas (`openssl rand -hex 24`)"
        raise UsageError("a shared audit database needs a shared secret", where="DATABASE_URL", fix=fix)
    secret = secret_of(settings.audit_secret, settings.home)
    return Mask(secret, everything=settings.audit_inputs == "hashed")


def open_recorder(settings: Settings) -> Recorder | None:
    """The recorder that the settings ask for, not yet started; None with `ESPALIER_AUDIT=false`."""
    if not settings.audit:
        return None
    return Recorder(
        open_store(settings),
        open_mask(settings),
        window_s=settings.audit_window_s,
        days=settings.audit_days,
        required=settings.audit_required,
    )
