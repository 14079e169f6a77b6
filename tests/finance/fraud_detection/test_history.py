from __future__ import annotations

import numpy as np
import pytest
from streams import SMALL, at_rest, drawn, plain

from finance.fraud_detection import history as module
from finance.fraud_detection.clock import NEVER
from finance.fraud_detection.history import Table, history

ALONE = SMALL.model_copy(update={"entities": ("customer",), "partners": ("customer",)})
THREE = SMALL.model_copy(
    update={"entities": ("customer", "terminal", "device"), "partners": ("device", "customer", "customer")}
)


@pytest.mark.parametrize("arrived", [True, False], ids=["in order of arrival", "all at rest"])
@pytest.mark.parametrize("deepest", [8192, 6])
@pytest.mark.parametrize("definition", [SMALL, ALONE, THREE], ids=["two", "one", "three"])
def test_history_counts_what_a_plain_loop_counts(definition, deepest, arrived, monkeypatch):
    monkeypatch.setattr(module, "PAIRS", 300)  # so that there are many chunks
    definition = definition.model_copy(update={"deepest": deepest})
    table = drawn(deepest, 300, definition.entities).table
    table = table if arrived else at_rest(table)
    counts = history(definition, table)
    assert counts.tolist() == [plain(definition, table, i) for i in range(300)]
    assert counts[:, 0, 3].max() > 20 if deepest > 6 else counts[:, 0, 3].max() <= 6
    assert counts[:, :, definition.count_names[0].index("customer_good_since_fraud")].max() > 0
    rows = np.array([250, 3, 3, 299])
    assert (history(definition, table, rows) == counts[rows]).all()


def test_the_order_of_the_table_does_not_matter():
    table = at_rest(drawn(1).table)
    mixed = np.random.default_rng(0).permutation(len(table.time))
    other = Table(*(getattr(table, name)[mixed] for name in ("time", "amount", "codes", "fraud", "label_time")))
    assert (history(SMALL, other) == history(SMALL, table)[mixed]).all()


def test_the_order_of_arrival_does_not_matter_once_all_is_there():
    """A transaction that comes last, and after all labels, sees what it sees at rest."""
    table = drawn(2).table
    assert table.arrival
    counts = history(SMALL, at_rest(table))
    for last in (0, 150, 399):
        table.arrival.event[last] = NEVER
        table.arrival.label[:] = np.where(table.fraud >= 0, 0, NEVER)
        assert (history(SMALL, table, np.array([last])) == counts[last]).all()


def test_nobody_and_nothing():
    none = np.zeros(0, np.int64)
    empty = Table(none, none, np.zeros((0, 2), np.int64), none, none)
    assert history(SMALL, empty).shape == (0, 2, SMALL.counts)
    table = at_rest(drawn(3).table)
    assert history(SMALL, table, none).shape == (0, 2, SMALL.counts)
    stranger = np.flatnonzero(table.codes[:, 0] == -1)
    counts = history(SMALL, table, stranger)[:, 0]
    assert len(counts) > 20
    names = SMALL.count_names[0]
    for place, name in enumerate(names):
        assert (
            counts[:, place]
            == (-1 if name.endswith(("last_time", "last_fraud", "first_fraud")) or "step_time" in name else 0)
        ).all()
