from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from common.config import settings
from common.data.audit import audit
from common.data.card import load_card
from common.data.fetch import fetch
from common.data.table import read_table
from common.errors import AuditError, DataError, DatasetUnavailable, UsageError
from finance.fraud_detection.currency import DECIMALS
from finance.fraud_detection.data import DAY, NEVER, Events, load, published
from finance.fraud_detection.own import read_own
from finance.fraud_detection.simulator import SIMULATED, simulate

TEN_PAST = 1_764_322_200_000  # 2025-11-28T09:30:00Z
GOOD = {
    "id": ["a", "b", "c", "d"],
    "time": ["2025-11-28T09:30:00Z", "2025-11-28 10:29:59.250+01:00", str(TEN_PAST - 1000), "2025-11-29T00:00Z"],
    "amount": ["12.50", "0", "0.29", "1e3"],
    "currency": ["EUR"] * 4,
    "fraud": ["0", "1", "", "0.0"],
    "customer": ["C1", "C2", "", "C1"],
    "terminal": ["007", "8", "8", "9"],
}


class Config(BaseModel):
    dataset: str
    seed: int = 0
    customers: int = 100
    terminals: int = 2000
    days: int = 12
    label_delay_days: float = 7


@pytest.fixture
def write(tmp_path):
    """`write(column=values, ...)`: a good table with these columns instead; None leaves one out."""

    def written(name="pay.csv", **changes):
        columns = {key: values for key, values in {**GOOD, **changes}.items() if values is not None}
        path = tmp_path / name
        frame = pd.DataFrame(columns)
        frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
        return path

    return written


def read(path, **values) -> Events:
    return load(Config(dataset=str(path), **values))


def check_shape(events: Events) -> None:
    """What everybody else relies on."""
    count = len(events)
    assert count == len(events.id) == len(set(events.id))
    assert (np.diff(events.time) >= 0).all()
    assert events.time.dtype == events.amount.dtype == events.label_time.dtype == np.int64
    assert events.fraud.dtype == events.scenario.dtype == np.int8
    assert set(np.unique(events.fraud)) <= {-1, 0, 1}
    assert ((events.label_time == NEVER) == (events.fraud == -1)).all()
    assert (events.amount >= 0).all()
    for values in (events.id, *events.entities.values()):
        assert values.shape == (count,)
        assert values.dtype == object
        assert {type(value) for value in values} == {str}
    assert max(map(len, events.id)) <= 64
    assert events.currency in DECIMALS
    assert len(events.sha256) == 64
    assert events.title
    assert events.licence


def test_simulated_payments_have_ids_entities_and_delayed_labels():
    events = load(Config(dataset=SIMULATED, label_delay_days=2.5))
    check_shape(events)
    made = simulate(12, customers=100, terminals=2000)
    assert len(events) == len(made)
    assert events.entities["customer"].tolist() == [f"C{number}" for number in made.customer]
    assert events.entities["terminal"].tolist() == [f"T{number}" for number in made.terminal]
    assert events.id.tolist() == sorted(events.id)
    assert (events.label_time - events.time == 2.5 * DAY).all()
    assert (events.fraud == (made.scenario > 0)).all()
    assert (events.simulated, events.currency) == (True, "EUR")
    assert 0 < events.fraud.mean() < 0.2
    again, other = load(Config(dataset=SIMULATED)), load(Config(dataset=SIMULATED, seed=1))
    assert events.sha256 == again.sha256 != other.sha256


def test_rows_and_times_keep_every_array_in_step():
    events = load(Config(dataset=SIMULATED))
    for index in (np.array([2, 5, 9]), np.arange(len(events)) % 3 == 0, slice(4, 8)):
        part = events.rows(index)
        check_shape(part)
        assert part.id.tolist() == events.id[index].tolist()
        assert part.amount.tolist() == events.amount[index].tolist()
        assert part.entities["terminal"].tolist() == events.entities["terminal"][index].tolist()
    start, end = events.time[10], events.time[50]
    part = events.between(start, end)
    assert part.id.tolist() == [i for i, t in zip(events.id, events.time, strict=True) if start <= t < end]
    assert len(events.between(end, start)) == len(events.between(0, 5)) == 0
    assert len(events.between(0, NEVER)) == len(events)


@pytest.mark.usefixtures("real_data")
def test_sffsd_is_ordered_by_steps_and_two_means_unknown():
    events = load(Config(dataset="fraud-sffsd", label_delay_days=1000 / 86_400))
    check_shape(events)
    assert {int(k): int((events.fraud == k).sum()) for k in (-1, 0, 1)} == {-1: 48_238, 0: 24_387, 1: 5_256}
    assert events.time.tolist() == list(range(0, 77_881_000, 1000))
    labelled = events.fraud >= 0
    assert (events.label_time - events.time)[labelled].tolist() == [1_000_000] * 29_643
    assert {name: len(set(v)) for name, v in events.entities.items()} == {
        "source": 30_346,
        "target": 886,
        "location": 296,
        "type": 166,
    }
    frame = read_table(card := load_card("fraud-sffsd"), fetch(card))
    assert events.amount.tolist() == [int(Decimal(repr(amount)) * 100) for amount in frame["Amount"]]
    fifth = events.fraud[labelled][-len(events.fraud[labelled]) // 5 :]
    assert fifth.mean() == pytest.approx(0.40, abs=0.005)
    assert events.simulated  # its README says so
    with pytest.raises(UsageError, match=r"label_delay_days: no label .* got 7, expected at most 0\.90"):
        load(Config(dataset="fraud-sffsd"))


@pytest.mark.usefixtures("real_data")
def test_registrations_are_sorted_by_time_row_by_row():
    events = load(Config(dataset="fraud-aws-registration"))
    check_shape(events)
    assert (len(events), events.fraud.sum(), events.amount.sum()) == (20_000, 1_004, 0)
    frame = read_table(card := load_card("fraud-aws-registration"), fetch(card))
    columns = ["ip_address", "email_address", "EVENT_TIMESTAMP", "EVENT_LABEL"]
    expected = sorted(frame[columns].itertuples(index=False, name=None), key=lambda row: row[2])
    times = pd.to_datetime(events.time, unit="ms").strftime("%Y-%m-%dT%H:%M:%SZ")
    spoken = np.where(events.fraud == 1, "fraud", "legit")
    found = zip(events.entities["ip"], events.entities["email"], times, spoken, strict=True)
    assert list(found) == expected


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize("name", ["fraud-sffsd", "fraud-aws-registration"])
def test_cards_agree_with_their_files(name):
    card = load_card(name)
    found = audit(read_table(card, fetch(card)), card)
    assert not found.errors
    assert all(column.description for column in card.columns)
    assert card.features == (["Amount"] if name == "fraud-sffsd" else [])


def test_no_source_of_data_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    monkeypatch.setenv("ESPALIER_OFFLINE", "true")
    monkeypatch.delenv("ESPALIER_DATA_MIRROR", raising=False)
    settings.cache_clear()
    try:
        with pytest.raises(DatasetUnavailable, match="ESPALIER_DATA_MIRROR"):
            load(Config(dataset="fraud-sffsd", label_delay_days=0))
    finally:
        settings.cache_clear()


def test_published_numbers_are_found_by_protocol():
    best = {
        metric: max(p.value for p in published(SIMULATED) if p.metric == metric) for metric in ("auc", "ap", "cp100")
    }
    assert best == {"auc": 0.871, "ap": 0.687, "cp100": 0.303}
    split = {(p.model, p.metric): p.value for p in published(SIMULATED, "baseline-split")}
    assert (split["XGBoost", "auc"], split["XGBoost", "ap"], split["XGBoost", "cp100"]) == (0.862, 0.639, 0.273)
    assert [p.value for p in published(SIMULATED, "prequential")] == [0.869, 0.687, 0.303]
    sffsd = {(p.model, p.metric): p.value for p in published("fraud-sffsd", "repository")}
    assert (sffsd["RGTAN", "auc"], sffsd["RGTAN", "ap"], sffsd["RGTAN", "f1"]) == (0.8461, 0.6939, 0.7513)
    assert len(sffsd) == len(published("fraud-sffsd")) == 15
    assert published("fraud-aws-registration") == published("own:pay.csv") == []


def test_own_transactions_are_read_and_put_in_order(write):
    events = read(write())
    check_shape(events)
    assert events.id.tolist() == ["c", "b", "a", "d"]
    assert (events.time - TEN_PAST).tolist() == [-1000, -750, 0, 52_200_000]
    assert events.amount.tolist() == [29, 0, 1250, 100_000]
    assert events.fraud.tolist() == [-1, 1, 0, 0]
    assert events.entities["terminal"].tolist() == ["8", "8", "007", "9"]
    assert events.label_time.tolist() == [NEVER, *(events.time[1:] + 7 * DAY)]
    assert events.currency == "EUR"
    assert not events.simulated
    assert events.dataset == "own:pay.csv"


def test_own_columns_mean_what_they_say(write):
    table = read_own(write())
    assert (table.time - TEN_PAST).tolist() == [0, -750, -1000, 52_200_000]
    assert table.amount.tolist() == [1250, 0, 29, 100_000]
    assert table.fraud.tolist() == [0, 1, -1, 0]
    assert list(table.entities) == ["customer", "terminal"]
    assert table.entities["customer"].tolist() == ["C1", "C2", "", "C1"]
    assert table.entities["terminal"].tolist() == ["007", "8", "8", "9"]  # as written
    assert table.label_time.tolist() == [-1] * 4


def test_a_stated_label_time_wins_over_the_delay(write):
    later = ["2025-12-01T00:00:00Z", "", str(TEN_PAST + 5), str(TEN_PAST + 99 * DAY)]
    events = read(write(label_time=later), label_delay_days=3)
    known = dict(zip(events.id, events.label_time.tolist(), strict=True))
    assert known == {
        "a": 1_764_547_200_000,
        "b": TEN_PAST - 750 + 3 * DAY,
        "c": NEVER,  # no label to know
        "d": TEN_PAST + 99 * DAY,
    }


def test_ties_stay_in_the_order_of_the_file(write):
    assert read(write(time=[str(TEN_PAST)] * 4, id=["z", "b", "y", "a"])).id.tolist() == ["z", "b", "y", "a"]


def test_parquet_with_proper_types_is_the_same_as_text(write):
    expected = read(write())
    times = pd.to_datetime(pd.Series(GOOD["time"][:2]), format="ISO8601", utc=True)
    times = pd.concat([times, pd.to_datetime(pd.Series([TEN_PAST - 1000, TEN_PAST + 52_200_000]), unit="ms", utc=True)])
    typed = {
        "time": times.reset_index(drop=True),
        "amount": [Decimal("12.50"), Decimal("0.00"), Decimal("0.29"), Decimal("1000.00")],
        "fraud": pd.array([0, 1, None, 0], dtype="Int8"),
        "customer": pd.Categorical(["C1", "C2", None, "C1"]),
    }
    variants = [
        typed,
        typed | {"fraud": pd.array([False, True, None, False], dtype="boolean"), "amount": [12.5, 0.0, 0.29, 1000.0]},
        typed
        | {"time": times.astype("datetime64[ms, UTC]").astype("int64").to_numpy(), "fraud": [0.0, 1.0, np.nan, 0]},
        typed | {"amount": np.array([12.5, 0, 0.29, 1000], dtype=np.float32)},
    ]
    for variant in variants:
        events = read(write("pay.parquet", **variant))
        check_shape(events)
        for name in ("id", "time", "amount", "fraud", "label_time"):
            assert getattr(events, name).tolist() == getattr(expected, name).tolist(), name
        assert {k: v.tolist() for k, v in events.entities.items()} == {
            k: v.tolist() for k, v in expected.entities.items()
        }
    whole = read(write("pay.parquet", terminal=[7, 8, 8, 9], label_time=[np.nan, float(TEN_PAST), np.nan, 4e12]))
    assert whole.entities["terminal"].tolist() == ["8", "8", "7", "9"]
    assert whole.label_time.tolist() == [NEVER, TEN_PAST, TEN_PAST + 7 * DAY, 4 * 10**12]


def test_minor_units_follow_the_currency(write):
    assert read_own(write(currency=["JPY"] * 4, amount=["12", "0", "3", "4"])).amount.tolist() == [12, 0, 3, 4]
    assert read_own(write(currency=["KWD"] * 4, amount=["1.234", "0", "3", "4"])).amount.tolist() == [
        1234,
        0,
        3000,
        4000,
    ]
    cents = [f"{n / 100:.2f}" for n in range(0, 200_000, 7)]
    count = len(cents)
    many = {name: [values[0]] * count for name, values in GOOD.items()}
    path = write(**many | {"id": [f"t{i}" for i in range(count)], "amount": cents})
    assert read_own(path).amount.tolist() == list(range(0, 200_000, 7))


def test_numbers_with_decimals_are_no_entity(write, capsys):
    table = read_own(write(latitude=["52.5", "48.1", "", "50.0"], mcc=["5411", "5812", "", "5411"]))
    assert list(table.entities) == ["customer", "terminal", "mcc"]
    assert "left out latitude" in capsys.readouterr().err.replace("\n", "")
    table = read_own(write("pay.parquet", seen=pd.to_datetime(["2020-01-01"] * 4), ok=[True] * 4, n=[1.0, 2, 3, 4]))
    assert list(table.entities) == ["customer", "terminal"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"amount": None}, r"pay\.csv: amount: missing column: got a table with id, time, currency"),
        ({"fraud": None}, r"pay\.csv: fraud: missing column"),
        ({"customer": None, "terminal": None}, r"cannot tell the entities: got none, expected 1 to 8 columns"),
        ({f"e{n}": ["x"] * 4 for n in range(7)}, r"cannot tell the entities: got customer, .* expected 1 to 8"),
        ({"Card No": ["x"] * 4}, r"not a name for an entity: got 'Card No'"),
        (
            {"amount": ["1", "-5.00", "-1", "2"]},
            r"pay\.csv: amount: a negative amount in row 2: got '-5\.00', expected 0",
        ),
        ({"amount": ["1", "2", "three", "4"]}, r"amount: not an amount in row 3: got 'three', expected a decimal"),
        ({"amount": ["1", "2", "3", ""]}, r"amount: not an amount in row 4: got nothing"),
        ({"amount": ["1", "inf", "3", "4"]}, r"amount: not an amount in row 2: got 'inf'"),
        ({"amount": ["1", "1,50", "3", "4"]}, r"amount: not an amount in row 2: got '1,50'"),
        ({"amount": ["1", "2", "3", "1.005"]}, r"too fine an amount for EUR in row 4: got '1\.005', .* 2 digits after"),
        ({"amount": ["1", "2", "3", "1e14"]}, r"too large an amount in row 4: got '1e14'"),
        ({"amount": ["1.5", "2", "3", "4"], "currency": ["JPY"] * 4}, r"for JPY in row 1: .* expected a whole number"),
        ({"currency": ["EUR", "EUR", "USD", "GBP"]}, r"currency: a second currency in row 3: got 'USD', expected EUR"),
        (
            {"currency": ["EUR", "euro", "EUR", "EUR"]},
            r"currency: not a currency in row 2: got 'euro', expected a code",
        ),
        ({"currency": ["EUR", "", "EUR", "EUR"]}, r"currency: not a currency in row 2: got nothing"),
        ({"id": ["a", "b", "c", "a"]}, r"id: the id of an earlier row in row 4: got 'a'"),
        ({"id": ["a", "", "c", "d"]}, r"id: no id in row 2: got nothing"),
        ({"id": ["a", "b" * 65, "c", "d"]}, r"id: too long an id in row 2"),
        (
            {"time": ["2025-11-28T09:30:00Z", "yesterday", "x", "y"]},
            r"time: not a time in row 2: got 'yesterday', .* ISO",
        ),
        (
            {"time": ["2025-11-28T09:30:00"] * 4},
            r"time: not a time in row 1: got '2025-11-28T09:30:00', .* with a zone",
        ),
        ({"time": ["2025-11-28"] * 4}, r"not a time in row 1"),
        ({"time": [str(TEN_PAST), "2025-13-28T09:30:00Z", "", ""]}, r"not a time in row 2: got '2025-13-28"),
        ({"time": [str(TEN_PAST // 1000)] * 4}, r"not a time in row 1: got '1764322200', .* milliseconds"),
        ({"time": [str(TEN_PAST)] * 3 + [str(TEN_PAST * 1000)]}, r"not a time in row 4"),
        ({"time": [str(TEN_PAST)] * 3 + [""]}, r"not a time in row 4: got nothing"),
        ({"fraud": ["0", "yes", "", "1"]}, r"fraud: not a label in row 2: got 'yes', expected 0, 1 or nothing"),
        ({"fraud": ["0", "2", "", "1"]}, r"fraud: not a label in row 2: got '2'"),
        ({"label_time": ["", "2020-01-01T00:00Z", "", ""]}, r"label_time: a label before its transaction in row 2"),
        ({"label_time": ["", "soon", "", ""]}, r"label_time: not a time in row 2: got 'soon'"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_sentence_with_the_first_bad_row(write, changes, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        read(write(**changes))
    assert "\n" not in str(caught.value)


def test_typed_columns_are_refused_as_clearly(write):
    naive = pd.to_datetime(["2025-11-28T09:30:00"] * 4)
    for changes, sentence in (
        ({"time": naive}, "not a time in row 1: got '2025-11-28 09:30:00'"),
        ({"time": [TEN_PAST, TEN_PAST + 0.5, 1.0, np.inf]}, "not a time in row 2"),
        ({"time": [float(TEN_PAST), np.inf, np.nan, 2]}, "not a time in row 2"),
        ({"amount": [1.0, np.nan, -1, 2]}, "not an amount in row 2: got nothing"),
        ({"fraud": [0, 1, 2, 3]}, "not a label in row 3: got '2'"),
    ):
        with pytest.raises(DataError, match=sentence):
            read(write("pay.parquet", **changes))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.csv", b"", "not a CSV table"),
        ("x.csv", b"id,time,amount,currency,fraud,customer\n", "a table without rows"),
        ("x.csv", b"id;time;amount;currency;fraud;customer\na;b;c;d;e;f\n", "missing column: got a table with id;time"),
        ("x.csv", b"id,time\na,b\nc,d,e\n", "not a CSV table .*line 3"),
        ("x.csv", b"id,time\na,b,c\nc,d,e\n", "more cells than there are names"),
        ("x.csv", b"id,time\n\xff\xfe,b\n", "not text in UTF-8"),
        ("x.parquet", b"id,time\na,b\n", "not a PARQUET table"),
    ],
)
def test_a_file_that_is_no_table_is_one_sentence(tmp_path, name, content, sentence):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence) as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dataset", ["", "no-such-set", "missing.csv", "/etc/hostname"])
def test_an_unknown_data_set_names_those_there_are(dataset):
    with pytest.raises(DatasetUnavailable, match="fraud-handbook-simulated, fraud-sffsd, fraud-aws-registration, or"):
        read(dataset)


def test_a_column_that_gives_the_label_away_is_refused(write):
    rng = np.random.default_rng(0)
    fraud = rng.random(400) < 0.3
    table = {
        "id": [f"t{i}" for i in range(400)],
        "time": [str(TEN_PAST + i) for i in range(400)],
        "amount": ["1.00"] * 400,
        "currency": ["EUR"] * 400,
        "fraud": np.where(rng.random(400) < 0.2, "", fraud.astype(int).astype(str)),
        "customer": [f"C{i % 30}" for i in range(400)],
        "terminal": [f"T{i % 90}" for i in range(400)],
    }
    assert len(read(write(**table))) == 400
    with pytest.raises(AuditError, match=r"status: alone gives the label away .*leave the column out"):
        read(write(**table, status=np.where(fraud, "charged back", "settled")))
