"""The same tests on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Any

import pytest
from pydantic import ValidationError

from common.errors import InvalidRequest
from finance.fraud_detection.case_records import (
    INVESTIGATOR,
    Alert,
    CaseTaken,
    Label,
    QueueUnavailable,
    UnknownCase,
    VerdictConflict,
    holding,
)
from finance.fraud_detection.cases import CaseQueue
from finance.fraud_detection.clock import DAY, NEVER

NOW = 1_600_000_000_000


class Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(database_url: str, clock: Clock) -> Iterator[CaseQueue]:
    queue = CaseQueue(database_url, clock)
    yield queue
    queue.close()


def alert(id: str, score: float = 0.5, amount: int = 1000, **changes: Any) -> Alert:
    entities = {"customer": "C1", "terminal": "T\u0000\u20ac"}
    fixed = {"time": NOW - 1000, "currency": "EUR", "decision": "review", "model": "7"}
    return Alert(id=id, score=score, amount=amount, **{"entities": entities, **fixed, **changes})


def chargeback(transaction: str, fraud: Any, label_time: int, source: str = "chargeback") -> Label:
    return Label(transaction=transaction, fraud=fraud, label_time=label_time, source=source)


def ids(queue: CaseQueue, **wanted: Any) -> list[str]:
    return [case.id for case in queue.next(**wanted).cases]


def test_an_alert_is_queued_once_and_found_whole(queue: CaseQueue, clock: Clock) -> None:
    given = alert("a", 0.87, 25_990, rules=["r1"], reasons=[{"feature": "x", "value": 0.4}], rule_version="3")
    assert queue.open_case(given)
    clock.now += 5
    assert not queue.open_case(alert("a", 0.1))
    case = queue.find("a")
    assert {name: getattr(case, name) for name in Alert.model_fields} == given.model_dump()
    assert (case.priority, case.created, case.state) == (22_611, NOW, "open")
    assert (case.assignee, case.verdict, case.verdict_time, case.note, case.labels) == (None, None, None, "", [])
    assert queue.open_cases([alert("b"), alert("a"), alert("b"), alert("c")]) == 2
    assert queue.open_cases([]) == 0
    with pytest.raises(UnknownCase, match="got z"):
        queue.find("z")


def test_a_reason_that_json_cannot_say_loses_no_alert(queue: CaseQueue) -> None:
    np = pytest.importorskip("numpy")
    queue.open_case(alert("a", reasons=[{"value": float("nan"), "other": np.float32(0.5)}]))
    assert queue.find("a").reasons == [{"value": None, "other": "0.5"}]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"id": ""}, {"id": "a/b"}, {"id": "a\u0000"}, {"id": "x" * 65}, {"amount": -1}, {"amount": 2**60}),
        *({"currency": "euro"}, {"score": 1.1}, {"score": float("nan")}, {"decision": "maybe"}, {"model": "\u0000"}),
    ],
)
def test_an_alert_that_no_database_should_see_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        alert(**{"id": "a", **wrong})


def test_the_largest_expected_loss_comes_first_then_the_oldest(queue: CaseQueue, clock: Clock) -> None:
    for id, score, amount in [("small", 0.9, 100), ("young", 0.5, 1000), ("large", 0.2, 90_000)]:
        queue.open_case(alert(id, score, amount))
    clock.now -= 1
    queue.open_case(alert("old", 0.25, 2000))
    assert ids(queue) == ["large", "old", "young", "small"]
    assert ids(queue, limit=2) == ["large", "old"]


def test_pages_skip_no_case_while_others_work(queue: CaseQueue, clock: Clock) -> None:
    for i in range(25):
        clock.now += i % 2
        queue.open_case(alert(f"{i:02}", 0.5, 1000 + i // 10))
    whole, seen, cursor = ids(queue), [], ""
    assert len(whole) == 25
    while True:
        page = queue.next(4, cursor=cursor)
        seen += [case.id for case in page.cases]
        if not page.cursor:
            break
        cursor = page.cursor
        queue.assign(page.cases[0].id, "ann")  # leaves the list; by number of cases the next page would skip one
        queue.open_case(alert(f"new{len(seen)}", 1.0, 9999))  # comes before all others
    assert seen == whole
    assert queue.next(25, state=None).cursor
    assert len(ids(queue, state="assigned", assignee="ann")) == 6
    assert ids(queue, state=None, assignee="bob") == []


@pytest.mark.parametrize("cursor", ["x", "ä", "bnVsbA==", "WzEsMiwiXHUwMDAwIl0=", "WzEsMiwiXHVkODAwIl0=", "WzEsMl0="])
def test_a_cursor_that_no_page_had(queue: CaseQueue, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        queue.next(cursor=cursor)


def test_a_case_belongs_to_one_person(queue: CaseQueue) -> None:
    queue.open_cases([alert("a"), alert("b")])
    for _ in range(2):
        assert (queue.assign("a", "ann").state, queue.find("a").assignee) == ("assigned", "ann")
    with pytest.raises(CaseTaken, match="ann has the case"):
        queue.assign("a", "bob")
    with pytest.raises(CaseTaken, match="ann has the case"):
        queue.decide("a", "fraud", "bob")
    with pytest.raises(CaseTaken, match="ann has the case"):
        queue.decide("a", "fraud", "bob", reopen=True)
    with pytest.raises(CaseTaken, match="nobody has the case"):
        queue.assign("b", "bob", instead_of="ann")
    assert queue.assign("a", "bob", instead_of="ann").assignee == "bob"
    queue.decide("a", "legitimate", "bob")
    with pytest.raises(CaseTaken, match="bob has closed"):
        queue.assign("a", "bob")
    with pytest.raises(UnknownCase):
        queue.assign("z", "bob")


def test_of_many_who_take_a_case_at_once_one_gets_it(queue: CaseQueue) -> None:
    keys, people = [f"{i}" for i in range(10)], [f"p{i}" for i in range(8)]
    queue.open_cases([alert(key) for key in keys])
    together = Barrier(len(people))

    def take(person: str) -> list[str]:
        got = []
        for key in keys:
            together.wait()
            with suppress(CaseTaken):
                got.append(queue.assign(key, person).id)
        return got

    with ThreadPoolExecutor(len(people)) as pool:
        taken = list(pool.map(take, people))
    assert sorted(itertools.chain(*taken)) == keys
    for person, got in zip(people, taken, strict=True):
        assert sorted(ids(queue, state="assigned", assignee=person)) == got


def test_of_two_verdicts_at_once_one_holds(queue: CaseQueue) -> None:
    keys, together = [f"{i}" for i in range(10)], Barrier(2)
    queue.open_cases([alert(key) for key in keys])

    def decide(verdict: Any) -> list[str]:
        got = []
        for key in keys:
            together.wait()
            with suppress(VerdictConflict):
                got.append(queue.decide(key, verdict, verdict).id)
        return got

    with ThreadPoolExecutor(2) as pool:
        fraud, legitimate = pool.map(decide, ["fraud", "legitimate"])
    assert sorted(fraud + legitimate) == keys
    assert {key: value for key, value, _ in queue.labels()} == {key: int(key in fraud) for key in keys}


def test_a_verdict_closes_a_case_and_is_a_label(queue: CaseQueue, clock: Clock) -> None:
    queue.open_cases([alert("a"), alert("b"), alert("c")])
    case = queue.decide("a", "fraud", "ann", "stolen \u20ac")
    assert (case.state, case.verdict, case.assignee, case.note) == ("closed", "fraud", "ann", "stolen \u20ac")
    assert case.verdict_time == NOW
    clock.now += 10
    assert queue.decide("a", "fraud", "bob") == case  # sent again: as it was
    with pytest.raises(VerdictConflict, match=r"ann has closed the case as fraud.*reopen"):
        queue.decide("a", "legitimate", "ann")
    assert queue.decide("b", "unsure", "ann").state == "closed"
    queue.decide("c", "legitimate", "ann")
    assert list(queue.labels()) == [("a", 1, NOW), ("c", 0, NOW + 10)]
    with pytest.raises(UnknownCase):
        queue.decide("z", "fraud", "ann")


def test_a_verdict_is_changed_on_purpose_and_the_history_keeps_both(queue: CaseQueue, clock: Clock) -> None:
    queue.open_case(alert("a"))
    queue.decide("a", "fraud", "ann", "sure")
    clock.now -= 5  # by a replica whose clock is behind
    case = queue.decide("a", "legitimate", "bob", "customer called", reopen=True)
    assert (case.verdict, case.assignee, case.verdict_time) == ("legitimate", "bob", NOW + 1)
    assert queue.decide("a", "legitimate", "cem", reopen=True) == case
    assert list(queue.labels()) == [("a", 0, NOW + 1)]
    queue.decide("a", "unsure", "bob", reopen=True)
    assert list(queue.labels()) == []
    assert [label.fraud for label in queue.current(["a"])] == [-1]
    said = [(label.fraud, label.person, label.note) for label in queue.find("a").labels]
    assert sorted(said) == [(-1, "bob", ""), (0, "bob", "customer called"), (1, "ann", "sure")]


def test_delayed_labels_with_and_without_a_case(queue: CaseQueue, clock: Clock) -> None:
    queue.open_case(alert("a"))
    early, late = chargeback("a", 1, NOW - 50), chargeback("b", 0, NOW - 70, "bank")
    assert queue.label([early, late], "shop") == 2
    assert queue.label([late, early, late]) == 0
    assert list(queue.labels()) == [("b", 0, NOW - 70), ("a", 1, NOW - 50)]
    assert queue.current(["b", "a", "z"]) == [late, early]
    assert queue.find("a").state == "open"
    assert [(label.person, label.received) for label in queue.find("a").labels] == [("shop", NOW)]
    clock.now += 100
    assert list(queue.labels(since=NOW + 1)) == []
    assert queue.label([chargeback("b", 1, NOW - 60)]) == 1
    assert list(queue.labels(since=NOW + 1)) == [("b", 1, NOW - 60)]
    assert queue.label([]) == 0


def test_the_latest_word_holds_in_whatever_order_the_words_came(queue: CaseQueue, clock: Clock) -> None:
    words = [chargeback("a", fraud, NOW - 100 + at) for fraud, at in [(1, 10), (0, 20), (0, 30), (1, 30), (1, 40)]]
    for place, order in enumerate(itertools.permutations(words)):
        if place % 7 == 0:
            for word in order:
                queue.label([word.model_copy(update={"transaction": f"{place:03}"})])
    assert {(fraud, at) for _, fraud, at in queue.labels()} == {(1, NOW - 100 + 30)}  # then the last doubt ended
    queue.open_case(alert("a"))
    queue.decide("a", "legitimate", "ann")
    clock.now += 100
    assert queue.label([chargeback("a", 1, NOW - 50), chargeback("a", 1, NOW + 50, "bank")]) == 2
    assert queue.current(["a"]) == [chargeback("a", 1, NOW + 50, "bank")]


def test_an_investigator_who_is_unsure_takes_back_only_what_investigators_said(queue: CaseQueue, clock: Clock) -> None:
    queue.open_case(alert("a"))
    queue.label([chargeback("a", 1, NOW - 50)])
    queue.decide("a", "legitimate", "ann")
    clock.now += 10
    assert list(queue.labels()) == [("a", 0, NOW)]
    queue.decide("a", "unsure", "ann", reopen=True)
    assert list(queue.labels()) == [("a", 1, NOW - 50)]
    queue.label([chargeback("a", 0, NOW + 5)])  # known before the doubt, but nobody else's
    assert list(queue.labels()) == [("a", 0, NOW + 5)]


def test_what_holds_of_nothing_but_a_doubt() -> None:
    doubt = {"fraud": -1, "label_time": 7, "source": INVESTIGATOR}
    said = {"fraud": 1, "label_time": 3, "source": INVESTIGATOR}
    assert holding([said, doubt]) == doubt


@pytest.mark.parametrize(
    ("label", "where"),
    [
        (chargeback("a", 1, NOW + 10 * 60_000), "labels\\[1\\].label_time: in the future"),
        (chargeback("a", 1, NOW, INVESTIGATOR), "verdict"),
        (chargeback("a", -1, NOW), "verdict"),
    ],
)
def test_labels_that_make_no_sense_are_refused_with_all_others(queue: CaseQueue, label: Label, where: str) -> None:
    with pytest.raises(InvalidRequest, match=where):
        queue.label([chargeback("b", 1, NOW), label])
    assert list(queue.labels()) == []


def test_many_labels_in_any_order_at_once(queue: CaseQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finance.fraud_detection.cases.CHUNK", 7)
    given = [chargeback(f"{i % 20:02}", i // 20 % 2, NOW - 100 + i // 20) for i in range(60)]
    together = Barrier(4)

    def tell(part: int) -> int:
        together.wait()
        return queue.label(given[part::2][:: 1 if part % 2 else -1])

    with ThreadPoolExecutor(4) as pool:  # each label twice, in opposite orders: who locked carelessly would deadlock
        assert sum(pool.map(tell, [0, 1, 0, 1])) == 60
    assert list(queue.labels()) == [(f"{i:02}", 0, NOW - 98) for i in range(20)]


def test_an_export_for_training(queue: CaseQueue, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finance.fraud_detection.cases.CHUNK", 2)
    assert len(queue.to_frame()) == 0
    queue.open_cases([alert(f"{i}", time=NOW - 10 * i, entities={"customer": f"C{i}"}) for i in range(5)])
    queue.decide("1", "fraud", "ann")
    queue.decide("2", "unsure", "ann")
    queue.label([chargeback("4", 0, NOW - 1)])
    frame = queue.to_frame()
    assert list(frame["customer"]) == ["C4", "C3", "C2", "C1", "C0"]
    assert list(frame["fraud"]) == [0, -1, -1, 1, -1]
    assert list(frame["label_time"]) == [NOW - 1, NEVER, NEVER, NOW, NEVER]
    assert frame["label_time"].dtype == "int64"
    assert set(frame.columns) == {*queue.to_frame(since=NOW + 1).columns, "customer"} - {"entities"}
    assert [row["id"] for row in queue.export(since=NOW - 10)] == ["1", "0"]


def test_the_queue_in_numbers(queue: CaseQueue, clock: Clock) -> None:
    assert queue.summary().model_dump(include={"open", "oldest_s", "median_s", "precision"}) == {
        "open": 0, "oldest_s": None, "median_s": None, "precision": None
    }  # fmt: skip
    for i in range(6):
        queue.open_case(alert(f"{i}"))
        clock.now += DAY
    for key, verdict in {"0": "fraud", "1": "legitimate", "2": "fraud", "3": "unsure"}.items():
        queue.decide(key, verdict, "ann")  # type: ignore[arg-type]
    queue.assign("4", "ann")
    found = queue.summary()
    assert (found.open, found.assigned, found.closed) == (1, 1, 4)
    assert (found.oldest_s, found.median_s) == (2 * 86_400, 86_400)
    assert found.verdicts == {"fraud": 2, "legitimate": 1, "unsure": 1}
    assert found.precision == 2 / 3
    assert list(found.alerts_per_day.values()) == [0] * 7 + [1] * 6 + [0]
    assert list(found.alerts_per_day)[-1] == "2020-09-19"


def test_a_database_that_is_away() -> None:
    away = CaseQueue("postgresql://espalier@127.0.0.1:1/x")
    asked: list[Callable[[], Any]] = [away.next, away.summary, lambda: away.open_case(alert("a"))]
    for ask in asked:
        with pytest.raises(QueueUnavailable, match="retry later") as error:
            ask()
        assert (error.value.status, "127.0.0.1" in str(error.value)) == (503, False)
