"""What `espalier data check` does: a data set against its card, table or pictures."""

from __future__ import annotations

from common.data.audit import Audit, audit
from common.data.card import DatasetCard
from common.data.fetch import fetch


def check_dataset(card: DatasetCard) -> Audit:
    """Fetch, verify and audit; raises what fetching and the schema raise, findings are the caller's to judge."""
    paths = fetch(card)
    if card.format == "pictures":
        from common.vision.archive import check_pictures

        return Audit(dataset=card.id, findings=tuple(check_pictures(card, paths)))
    from common.data.schema import check_schema
    from common.data.table import read_table

    frame = read_table(card, paths)
    check_schema(frame, card)
    return audit(frame, card)
