"""`CARD.md`, the model card (Mitchell et al., 2019), rendered from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.system import System


def render_card(
    system: System, manifest: Mapping[str, Any], metrics: Mapping[str, Any], data: Mapping[str, Any]
) -> str:
    """Markdown: use and risk, data with hashes, how it was split, what was measured on validation."""
    simulated = ["> **Trained on simulated data: not for real decisions.**", ""] if manifest["simulated"] else []
    sources = [f"- `{card['id']}`: {card['title']} ({card['licence']})" for card in data.get("cards", [])]
    use = ["## Intended use", system.intended_use, ""] if system.intended_use else []
    limits = ["## Limits", *(f"- {limit}" for limit in system.limits), ""] if system.limits else []
    measured = [f"| {name} | {value:.4g} |" for name, value in metrics.items() if isinstance(value, (int, float))]
    return "\n".join(
        [
            f"# {system.name} {manifest['version']}",
            "",
            *simulated,
            f"{system.summary} Task: {system.task}. Risk: {system.risk}.",
            "",
            f"Built {manifest['created']} from commit `{manifest['commit']}`, seed {manifest['seed']}.",
            "",
            *use,
            *limits,
            "## Data",
            *sources,
            f"- split: {data.get('split', 'not recorded')}",
            *(f"- {note}" for note in data.get("notes", [])),
            "",
            "## Measured on validation data (the test part stays closed until `espalier evaluate`)",
            "| metric | value |",
            "| --- | --- |",
            *measured,
            "",
            "## Libraries",
            ", ".join(f"{name} {version}" for name, version in manifest["libraries"].items()),
            "",
        ]
    )
