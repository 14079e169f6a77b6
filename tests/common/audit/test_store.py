"""The same tests on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from pydantic_core import to_json

from common.audit.store import AuditUnavailable, LabelConflict, Store, UnknownDecision, pack

A, B, C = "a" * 24, "b" * 24, "c" * 24


def decision(key: str, time: float = 1000.0, rows: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": key,
        "time": time,
        "system": "toy.adder",
        "version": "7",
        "role": "champion",
        "request_id": "call-1",
        "caller": "shop",
        "subject": None,
        "pair": None,
        "simulated": False,
        "ms": 0.5,
        "rows": rows,
        "inputs": pack(to_json([{"age": 20 + i} for i in range(rows)])),
        "answers": pack(to_json([{"probability": i / 10} for i in range(rows)])),
    } | changes


def test_a_decision_is_found_whole_and_by_row(store: Store) -> None:
    store.add([decision(A), decision(B, rows=3)])
    store.add([decision(A, caller="another")])  # a write that is tried again changes nothing
    found = store.find(A)
    assert (found["inputs"], found["output"], found["label"]) == ({"age": 20}, {"probability": 0.0}, None)
    assert (found["caller"], found["version"], found["ms"]) == ("shop", "7", 0.5)
    assert store.find(f"{B}.2")["inputs"] == {"age": 22}
    assert store.find(B)["inputs"] == [{"age": 20}, {"age": 21}, {"age": 22}]
    for unknown in (C, f"{A}.1", f"{B}.3"):
        with pytest.raises(UnknownDecision, match="X-Decision-Id"):
            store.find(unknown)


def test_labels_are_kept_once_and_all_or_none(store: Store) -> None:
    store.add([decision(A), decision(B, rows=3)])
    fresh = store.label([(A, 1), (f"{B}.1", 0)], "shop", 2000.0)
    assert sorted((one["id"], one["output"]["probability"], one["label"]) for one in fresh) == [(A, 0, 1), (B, 0.1, 0)]
    assert store.label([(A, 1), (f"{A}.0", 1), (f"{B}.1", 0)], "shop", 3000.0) == []
    with pytest.raises(LabelConflict, match="another label"):
        store.label([(f"{B}.2", 1), (A, 0)], "shop", 3000.0)
    with pytest.raises(LabelConflict, match="two labels"):
        store.label([(f"{B}.2", 1), (f"{B}.2", 0)], "shop", 3000.0)
    with pytest.raises(UnknownDecision):
        store.label([(f"{B}.2", 1), (C, 1)], "shop", 3000.0)
    with pytest.raises(UnknownDecision, match="which row"):
        store.label([(B, 1)], "shop", 3000.0)
    assert store.find(B)["label"] == [None, 0, None]
    known = store.labelled("toy.adder", "7", 10)
    assert sorted(known, key=lambda pair: pair[0]) == [(0, {"probability": 0.1}), (1, {"probability": 0.0})]
    assert store.labelled("toy.adder", "8", 10) == []


def test_a_subject_is_erased_with_its_labels(store: Store) -> None:
    store.add([decision(A, subject="s1"), decision(B, subject="s1"), decision(C, subject="s2")])
    store.label([(A, 1), (C, 0)], "shop", 2000.0)
    assert store.erase("s1") == 2
    assert store.erase("s1") == 0
    assert [row["label"] for row in store.export()] == [0]
    with pytest.raises(UnknownDecision):
        store.label([(A, 1)], "shop", 3000.0)


def test_retention_and_export_page_by_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.audit.store.CHUNK", 3)
    store.add([decision(f"{i:024d}", float(i // 2), system="toy.other" if i == 4 else "toy.adder") for i in range(10)])
    assert [row["time"] for row in store.export()] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert len(list(store.export("toy.adder", since=2.0))) == 5
    assert store.purge(3.5) == 8
    assert [row["time"] for row in store.export()] == [4, 4]


def test_an_export_holds_a_few_large_records_at_once_and_names_each_row(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.audit.store.CHUNK_BYTES", 30)  # one record has about 12 bytes
    store.add([decision(f"{i:024d}", float(i)) for i in range(9)] + [decision(A, 9.0, rows=2)])
    keys = [row["decision_id"] for row in store.export()]
    assert keys == [f"{i:024d}.0" for i in range(9)] + [f"{A}.0", f"{A}.1"]


def test_a_tally_counts_rows_and_labels_of_one_version_without_its_shadow(store: Store) -> None:
    others = [decision(C, role="shadow"), decision("d" * 24, version="8")]
    store.add([decision(A), decision(B, rows=3), *others])
    store.label([(A, "missed"), (f"{B}.1", "false_alarm"), (f"{B}.2", "missed"), ("d" * 24, "missed")], "shop", 2000.0)
    rows, labels = store.tally("toy.adder", "7")
    assert (rows, dict(labels)) == (4, {"missed": 2, "false_alarm": 1})
    assert store.tally("toy.adder", "9") == (0, [])


def test_erased_content_is_not_left_in_the_file(tmp_path) -> None:
    file = tmp_path / "audit.db"
    store = Store(f"sqlite:///{file}")
    store.add([decision(A, subject="s1", request_id="find-me-in-the-file")])
    store.erase("s1")
    assert all(b"find-me" not in path.read_bytes() for path in tmp_path.iterdir())
    store.close()
    assert sqlite3.connect(file).execute("select count(*) from decisions").fetchone() == (0,)


def test_a_database_that_is_away() -> None:
    with pytest.raises(AuditUnavailable):
        Store("postgresql://espalier@127.0.0.1:1/x").add([decision(A)])
