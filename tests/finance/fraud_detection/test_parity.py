from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from common.progress import bar
from finance.fraud_detection import parity
from finance.fraud_detection.clock import DAY, HOUR
from finance.fraud_detection.config import Config
from finance.fraud_detection.data import Events, load
from finance.fraud_detection.definition import Definition
from finance.fraud_detection.online import Online, Rows
from finance.fraud_detection.parity import Certificate, certify, shuffled

SETTINGS = ["customers=120", "terminals=90", "days=60"]


@pytest.fixture(scope="module")
def events() -> Events:
    return load(Config(customers=120, terminals=90, days=60)).rows(slice(5000))


@pytest.fixture(autouse=True)
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "TOGETHER", 1_500)


def test_nothing_differs(events):
    definition = Definition()
    found = certify(events, definition, shuffles=2, seed=7)
    assert found.holds
    assert (found.differences, found.inexact, found.events, found.simulated) == (0, 0, 5000, True)
    assert found.counts == sum((5000 + replay.at_end) * 2 * definition.counts for replay in found.replays)
    for replay in found.replays:
        assert replay.rows == 5000 + replay.labels + replay.again + replay.changed + _again(events, replay.seed)
        assert replay.late > 500
        assert replay.again > 50
        assert replay.changed > 3
        assert replay.labels == 5000
        assert replay.labels_before_transaction > 150
        assert replay.at_end > 100
    assert [replay.seed for replay in found.replays] == [7, 8]


def _again(events: Events, seed: int) -> int:
    return int(np.count_nonzero(shuffled(events, seed, parity.Shares()).kind == parity.LABEL_AGAIN))


def test_orders_differ_and_come_again_from_their_seed(events):
    first, again, other = (shuffled(events, seed, parity.Shares()) for seed in (1, 1, 2))
    assert (first.index == again.index).all()
    assert len(first.index) != len(other.index) or (first.index != other.index).any()


class OneForgotten(Online):
    """One transaction in the middle of the first rows leaves no trace in its entities' histories."""

    def take(self, rows: Rows, *, counted: bool = True) -> tuple[np.ndarray, np.ndarray]:
        keys = rows.keys.copy()
        if self.watermark < 0:
            keys[np.flatnonzero(rows.fraud < 0)[500]] = 0
        return super().take(Rows(rows.fraud, rows.id, rows.time, rows.amount, keys), counted=counted)


class AgainIsNew(Online):
    """Takes what is sent again for something new."""

    def take(self, rows: Rows, *, counted: bool = True) -> tuple[np.ndarray, np.ndarray]:
        _, first = np.unique(np.where(rows.fraud < 0, rows.id, 0), return_index=True)
        ids = np.where(np.isin(np.arange(len(rows)), first) | (rows.fraud >= 0), rows.id, ~rows.id)
        return super().take(Rows(rows.fraud, ids, rows.time, rows.amount, rows.keys), counted=counted)


def changed(**changes: object) -> type[Online]:
    """Counts by another definition than it says."""

    class Changed(Online):
        def __init__(self, definition: Definition) -> None:
            super().__init__(definition.model_copy(update=changes))
            self.definition = definition

    return Changed


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (OneForgotten, "_count_"),
        (AgainIsNew, "a row became 0, expected 1"),
        (changed(delay=7 * DAY - HOUR), "_known_1d"),
        (changed(windows=(60_000, HOUR, DAY, 7 * DAY, 30 * DAY - HOUR)), "_count_30d"),
        (changed(deepest=50), "_count_"),
        (changed(partners=("customer", "customer")), "customer_terminals_"),
    ],
)
def test_what_is_wrong_is_found_and_named(events, state, told):
    found = certify(events, Definition(), shuffles=1, state=state)
    assert not found.holds
    assert found.differences > 0
    first = found.replays[0].first_difference
    assert told in first
    assert first.startswith("transaction 0")
    assert " online, " in first or "see kernels.NEW" in first


def test_a_state_that_forgets_for_want_of_room_gets_no_certificate(events):
    found = certify(events, Definition(), shuffles=1, state=lambda definition: Online(definition, most=1000))
    assert not found.holds
    assert found.replays[0].inexact["evicted_early"] > 1000


def main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["parity", *arguments])
    try:
        parity.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command_writes_a_certificate(tmp_path, monkeypatch, capsys):
    out = tmp_path / "certificate.json"
    arguments = ["--events", "2000", "--shuffles", "1", "--out", str(out), *SETTINGS]
    assert main(monkeypatch, *arguments) == 0
    assert "counts of 2,000 transactions in 1 orders of arrival: no difference" in capsys.readouterr().out
    certificate = Certificate.model_validate(json.loads(out.read_text()))
    assert certificate.holds
    assert certificate.dataset == "fraud-handbook-simulated"
    assert len(certificate.data_sha256) == 64

    right = parity.counts_of

    def wrong(definition, table, rows, advance):
        counts = right(definition, table, rows, advance)
        counts[rows == 1234, 1, 4] += 1
        return counts

    monkeypatch.setattr(parity, "counts_of", wrong)
    assert main(monkeypatch, *arguments) == 1
    told = capsys.readouterr().err
    assert "1 of " in told
    assert "transaction 00001234 when it arrived: terminal_count_30d is" in told
    assert Certificate.model_validate(json.loads(out.read_text())).differences == 1


def test_wrong_use_is_one_sentence(tmp_path, monkeypatch, capsys):
    out = ["--out", str(tmp_path / "none.json")]
    assert main(monkeypatch, "--events", "0", *out) == 2
    assert "nothing to compare" in capsys.readouterr().err
    assert main(monkeypatch, "--dataset", "fraud-unknown", *out) == 1
    assert "no such data set" in capsys.readouterr().err
    assert main(monkeypatch, *out, "dais=3") == 2
    assert "unknown setting" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    with bar("free again", 1):
        pass
