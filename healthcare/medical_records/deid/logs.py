"""Nothing unmasked in a log: a filter for the handlers of `logging`, and `safe` for what is written elsewhere."""

from __future__ import annotations

import logging

from healthcare.medical_records.deid.deidentify import Deidentifier, Policy
from healthcare.medical_records.deid.identifiers import KINDS

_EVERYTHING = Deidentifier(policy=Policy(kinds=KINDS, ages=True, years=True))


def safe(text: str) -> str:
    """The text with all that rules find replaced by its kind. Masking twice changes nothing.

    Rules alone find little of what nothing announces: do not log notes, and let this be the net below.
    """
    return _EVERYTHING(text).text


class Unidentified(logging.Filter):
    """Masks the message of every record, and drops arguments and tracebacks, which may hold a note.

    Add it to handlers, not loggers: a logger's filters do not see what its children pass on.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true: the record stays, what it said of somebody goes."""
        message = record.getMessage()
        if record.exc_info and record.exc_info[0]:
            message += f" ({record.exc_info[0].__name__})"
        record.msg, record.args = safe(message), None
        record.exc_info = record.exc_text = record.stack_info = None
        return True
