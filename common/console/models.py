"""Which models there are: a table of all, who challenges whom, and the card of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from common.console.answer import problem_html, table_html
from common.console.ask import Reply
from common.console.words import Say

COLUMNS = ("system", "status", "version", "created", "simulated", "risk")


def models_html(models: Reply, deployments: Reply, say: Say) -> str:
    """`GET /v1/models` as a table and, for those who may see it, `GET /v1/deployments`."""
    if not models.fine:
        return problem_html(models, say)
    rows = [{name: card[name] if card[name] != "" else None for name in COLUMNS} for card in models.body]
    parts = [table_html(rows, say), f"<h4>{escape(say('Champion and challenger'))}</h4>"]
    parts.append(table_html(_flat(deployments.body), say) if deployments.fine else problem_html(deployments, say))
    return "".join(parts)


def _flat(deployments: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for one in deployments:
        row = {**one, "champion": one["champion"] or None, "previous": one["previous"] or None, "challenger": None}
        if rival := one["challenger"]:
            row |= {**rival, "challenger": rival["version"]}
            row.pop("version")
        found.append(row)
    return found
