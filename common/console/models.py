"""Which models there are: a table of all, and what is told of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from common.console.words import Say


def models_html(cards: Sequence[Mapping[str, Any]], say: Say) -> str:
    """`GET /v1/models` as a table."""
    columns = ("system", "status", "version", "created", "simulated", "risk")
    head = "".join(f"<th>{escape(say(name))}</th>" for name in columns)
    rows = "".join(f"<tr>{''.join(_cell(card[name], say) for name in columns)}</tr>" for card in cards)
    return f'<div class="esp-wide"><table><tr>{head}</tr>{rows}</table></div>'


def _cell(value: Any, say: Say) -> str:
    text = say("yes" if value else "no") if isinstance(value, bool) else say(value) if value else "–"
    return f"<td>{escape(text)}</td>"
