from __future__ import annotations

import numpy as np
import pytest

from common.errors import UsageError
from finance.fraud_detection.clock import DAY, NEVER
from finance.fraud_detection.config import Config, Periods
from finance.fraud_detection.data import load
from finance.fraud_detection.prequential import card_precision, customers, moment_of, past_moments, weeks_before

CONFIG = Config(
    customers=300,
    terminals=600,
    days=80,
    periods=Periods(test_start="2018-06-10", train_days=7, test_days=7, folds=3, without_known=True),
)
AT = 1_528_588_800_000  # 2018-06-10T00:00Z


@pytest.fixture(scope="module")
def events():
    return load(CONFIG)


def test_the_handbooks_periods(events):
    moment = moment_of(CONFIG, events)
    assert moment.at == AT
    trained, tested = events.time[moment.train], events.time[moment.test]
    assert trained.min() >= AT - 14 * DAY
    assert trained.max() < AT - 7 * DAY
    assert tested.min() >= AT
    assert tested.max() < AT + 7 * DAY


def test_customers_known_to_be_defrauded_are_left_out_as_in_the_handbook(events):
    """Its rule: a fraud in the training week, or until eight days before the day that is tested."""
    moment = moment_of(CONFIG, events)
    customer, day = customers(events), (events.time - AT) // DAY
    expected = []
    for tested in range(7):
        bad = (events.fraud == 1) & (day >= -14) & ((day < -7) | (day <= tested - 8))
        rows = np.flatnonzero(day == tested)
        expected.append(rows[~np.isin(customer[rows], np.unique(customer[bad].astype(str)))])
    assert moment.test.tolist() == np.concatenate(expected).tolist()


def test_past_moments_end_with_known_labels_when_the_test_begins(events):
    moments = past_moments(CONFIG, events)
    assert len(moments) == 3
    for fold, moment in enumerate(moments):
        assert moment.at == AT - (14 + 7 * fold) * DAY
        assert (events.label_time[moment.test] <= AT).all()
        assert (events.label_time[moment.train] <= moment.at).all()


def test_without_a_day_the_last_fifth_of_the_labelled_is_tested(events):
    config = CONFIG.model_copy(update={"periods": Periods(train_share=0.8, folds=1)})
    hidden = events.rows(slice(None))
    hidden.fraud[::3], hidden.label_time[::3] = -1, NEVER
    moment = moment_of(config, hidden)
    labelled = int((hidden.fraud >= 0).sum())
    assert len(moment.test) == pytest.approx(labelled / 5, rel=0.01)
    assert (hidden.fraud[moment.test] >= 0).all()
    assert hidden.time[moment.train].max() < moment.at - 7 * DAY


def test_a_day_without_data_is_one_sentence(events):
    config = CONFIG.model_copy(update={"periods": Periods(test_start="2019-01-01")})
    with pytest.raises(UsageError, match=r"no frauds or no good transactions to test on.*choose another"):
        moment_of(config, events)
    config = CONFIG.model_copy(update={"periods": Periods(test_start="yesterday")})
    with pytest.raises(UsageError, match=r"periods\.test_start: no day: got 'yesterday', expected such as 2018-08-08"):
        moment_of(config, events)


def test_weeks_before():
    assert [c.periods.test_start for c in weeks_before(CONFIG, 3)] == ["2018-06-10", "2018-06-03", "2018-05-27"]


def test_card_precision_counts_customers_once_and_who_was_found_no_more():
    customer = np.array(["a", "a", "b", "c", "a", "b", "c"], dtype=object)
    time = np.array([0, 1, 2, 3, DAY, DAY + 1, DAY + 2])
    fraud = np.array([1, 0, 0, 0, 1, 1, 0])
    score = np.array([0.9, 0.8, 0.7, 0.1, 0.9, 0.6, 0.5])
    found = card_precision(customer, time, fraud, score, most=2)
    # First day: a and b are alerted, a is right. Second: a is out, so b and c, and b is right.
    assert found.value == 0.5
    assert found.n == 4
    assert found.low < 0.5 < found.high
