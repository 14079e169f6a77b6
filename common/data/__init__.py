"""Data: cards, verified files, schema checks, the audit and leak-proof splits.

Only what is light is imported here, so that `espalier data list` stays fast. What needs pandas is
imported from its own module: `common.data.table`, `schema`, `audit`, `split`.
"""

from common.data.card import Column, DatasetCard, Published, all_cards, load_card
from common.data.fetch import data_sha256, fetch

__all__ = ["Column", "DatasetCard", "Published", "all_cards", "data_sha256", "fetch", "load_card"]
