"""What `espalier data check` does: a data set against its card, table or pictures; or a folder of pictures."""

from __future__ import annotations

from pathlib import Path

from common.data.audit import Audit, audit
from common.data.card import DatasetCard, load_card
from common.data.fetch import fetch
from common.errors import DatasetUnavailable, UsageError


def check_any(name: str) -> tuple[Audit, str]:
    """Findings, and the sentence for when none is an error, of a card's id or else of a folder, tar or zip."""
    try:
        card = load_card(name)
    except (UsageError, DatasetUnavailable):
        if not Path(name).exists() and "/" not in name:
            raise
        from common.vision.archive import check_folder

        return check_folder(Path(name)), f"{name}: no error in these pictures."
    if card.format == "files":
        return check_dataset(card), f"{card.id}: {len(card.files)} files are those that the card names."
    return check_dataset(card), f"{card.id}: {card.rows:,} rows agree with the card."


def check_dataset(card: DatasetCard) -> Audit:
    """Fetch, verify and audit; raises what fetching and the schema raise, findings are the caller's to judge."""
    paths = fetch(card)
    if card.format == "files":
        return Audit(dataset=card.id, findings=())
    if card.format == "arrays":
        from common.vision.archive import check_arrays

        return Audit(dataset=card.id, findings=tuple(check_arrays(paths)))
    if card.format == "pictures":
        from common.vision.archive import check_pictures

        return Audit(dataset=card.id, findings=tuple(check_pictures(card, paths)))
    from common.data.schema import check_schema
    from common.data.table import read_table

    frame = read_table(card, paths)
    check_schema(frame, card)
    return audit(frame, card)
