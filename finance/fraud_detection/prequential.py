"""One clock: at every moment a model knows the labels that were known then, and is tested on what came after.

Prequential evaluation with delayed labels: Dawid (1984); for card payments Dal Pozzolo et al. (2018, IEEE TNNLS 29) and
the Fraud Detection Handbook (Le Borgne et al., 2022, chapters 4 and 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from common.errors import UsageError
from common.evaluation.metrics import wilson
from common.evaluation.report import Metric
from finance.fraud_detection.clock import DAY, NEVER
from finance.fraud_detection.config import Config
from finance.fraud_detection.data import Events


@dataclass(frozen=True)
class Moment:
    """When testing begins, ms, and the positions of the transactions to train on and to test on."""

    at: int
    train: np.ndarray
    test: np.ndarray


def moment_of(config: Config, events: Events) -> Moment:
    """The moment of the test. Raises `UsageError` when the data do not reach so far."""
    periods, labelled = config.periods, np.flatnonzero(events.fraud >= 0)
    if periods.test_start:
        at = _day(periods.test_start)
    else:
        at = int(events.time[labelled[int(periods.train_share * len(labelled))]])
    return _moment(config, events, at)


def past_moments(config: Config, events: Events) -> list[Moment]:
    """Moments whose tests had ended, labels known, when the real test begins; the latest first."""
    first = moment_of(config, events).at
    width, delay = _widths(config, events, first)
    ends = first - delay
    return [_moment(config, events, ends - (fold + 1) * width, width) for fold in range(config.periods.folds)]


def _widths(config: Config, events: Events, first: int) -> tuple[int, int]:
    delay = round(config.label_delay_days * DAY)
    if config.periods.test_days:
        return round(config.periods.test_days * DAY), delay
    return (first - int(events.time[0])) // (2 * (config.periods.folds + 1)), delay


def _moment(config: Config, events: Events, at: int, width: int | None = None) -> Moment:
    periods = config.periods
    end = at + (width or (round(periods.test_days * DAY) if periods.test_days else NEVER - at))
    known_until = at - round(config.label_delay_days * DAY)
    start = known_until - round(periods.train_days * DAY) if periods.train_days else -NEVER
    known = (events.fraud >= 0) & (events.label_time <= at)
    train = np.flatnonzero(known & (events.time >= start) & (events.time < known_until))
    tested = (events.fraud >= 0) & (events.time >= at) & (events.time < end)
    if periods.without_known:
        tested &= ~_known_defrauded(events, start)
    test = np.flatnonzero(tested)
    for name, rows in (("train on", train), ("test on", test)):
        if len(np.unique(events.fraud[rows])) < 2:
            told = datetime.fromtimestamp(at / 1000, UTC).date()
            raise UsageError(
                f"no frauds or no good transactions to {name}",
                where=f"{events.dataset}, {told}",
                got=f"{len(rows)} transactions, {int((events.fraud[rows] == 1).sum())} frauds",
                fix="choose another periods.test_start, fewer periods.folds or longer periods",
            )
    return Moment(at, train, test)


def _known_defrauded(events: Events, start: int) -> np.ndarray:
    """bool (n,): its customer was known, when its day began, for a fraud since `start`."""
    customer, names = pd.factorize(customers(events))
    frauds = (events.fraud == 1) & (events.time >= start)
    since = np.full(len(names), NEVER)
    np.minimum.at(since, customer[frauds], events.label_time[frauds])
    return since[customer] <= events.time // DAY * DAY


def customers(events: Events) -> np.ndarray:
    """Whom an alert is about: the first of the entities."""
    return next(iter(events.entities.values()))


def card_precision(
    customer: np.ndarray, time: np.ndarray, fraud: np.ndarray, score: np.ndarray, most: int = 100
) -> Metric:
    """Share of defrauded customers among the `most` alerted a day, mean over days, with the interval of all alerts.

    A customer is alerted for his highest score of the day; who was found stays out on later days (Handbook, chapter 4).
    """
    found: set[str] = set()
    hits = []
    day = time // DAY
    for date in np.unique(day):
        rows = np.flatnonzero(day == date)
        rows = rows[~np.isin(customer[rows], list(found))]
        ordered = customer[rows[np.argsort(-score[rows], kind="stable")]]
        alerted = ordered[np.sort(np.unique(ordered, return_index=True)[1])][:most]
        right = np.intersect1d(alerted, customer[rows[fraud[rows] == 1]])
        found.update(right.tolist())
        hits.append(len(right) / most)
    low, high = wilson(sum(hits) * most, len(hits) * most)
    return Metric(value=float(np.mean(hits)), low=float(low), high=float(high), n=len(hits) * most)


def weeks_before(config: Config, weeks: int) -> Iterator[Config]:
    """The same protocol at the test and 1, 2, ... weeks before."""
    start = datetime.fromisoformat(config.periods.test_start).replace(tzinfo=UTC)
    for week in range(weeks):
        day = datetime.fromtimestamp(start.timestamp() - week * 7 * 86_400, UTC).date().isoformat()
        yield config.model_copy(update={"periods": config.periods.model_copy(update={"test_start": day})})


def _day(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        raise UsageError("no day", where="periods.test_start", got=repr(text), expected="such as 2018-08-08") from None
