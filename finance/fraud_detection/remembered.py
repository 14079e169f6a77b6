"""Rules on what a service remembers: the last transactions that its bundle carries, whose entities are hashes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from common.errors import InvalidRequest, Overloaded
from finance.fraud_detection.clock import NEVER
from finance.fraud_detection.definition import Definition
from finance.fraud_detection.ensemble import Inputs
from finance.fraud_detection.history import Table, counts_of
from finance.fraud_detection.online import LATENESS, hashed
from finance.fraud_detection.rule_history import Backtest, Past, fields_of, measure
from finance.fraud_detection.rules import RuleSet
from finance.fraud_detection.serve import FraudPredictor

MOST = 200_000
"""Transactions that are measured: 6 s for their features, once for each bundle, and 60 MB."""
MOST_RULES = 100
BY_COMMAND = "measure it where the data are, by python -m finance.fraud_detection.backtest"

Labels = Callable[[int], Iterable[tuple[str, int, int]]]
"""(transaction, fraud 0 or 1, label_time) received since a time, as by `CaseQueue.labels`."""


class Remembered:
    """Measures rules on the newest `MOST` transactions of a bundle's state; features are computed once for each bundle.

    The state reaches back about as far as the longest window, so what its first transactions would see is cut short. A
    rule set is therefore measured on those alone that are so late that nothing its rules read is cut: rules on a window
    of 7 days on most of them, one that reads `score` on the last days.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ready: tuple[FraudPredictor, np.ndarray, Past] | None = None

    def measure(self, predictor: FraudPredictor, ruleset: RuleSet, labels: Labels) -> Backtest:
        """What the rules would have done, by the labels in the bundle and `labels`, which hold where both know one.

        Blocks for seconds. Raises `MalformedRule`, `InvalidRequest` for a rule that reads an entity, more than 100
        rules, or when nothing is remembered, and `Overloaded` while another set is measured, as each takes a core.
        """
        if len(ruleset.rules) > MOST_RULES:
            raise InvalidRequest("too many rules at once", got=len(ruleset.rules), expected=f"at most {MOST_RULES}")
        fields = fields_of(ruleset, predictor.schema)
        for rule, read in fields.items():
            for name in set(read) & set(predictor.definition.entities):
                raise InvalidRequest(
                    "only hashes of it are remembered", where=f"rule {rule!r}", got=name, fix=BY_COMMAND
                )
        if not self._lock.acquire(blocking=False):
            raise Overloaded("another backtest is running", fix="retry when it has ended")
        try:
            if self._ready is None or self._ready[0] is not predictor:
                self._ready = (predictor, *_past_of(predictor))
            _, ids, past = self._ready
            begin = int(predictor.kept["known_until"]) - predictor.definition.horizon - LATENESS
            whole = past.time >= begin + _looks_back(predictor.definition, fields)
            if not whole.any():
                raise InvalidRequest("no transaction is remembered with all that the rules read", fix=BY_COMMAND)
            fraud, later = past.fraud.copy(), {hashed(id): fraud for id, fraud, _ in labels(max(begin, 0))}
            for place in np.flatnonzero(np.isin(ids, np.fromiter(later, np.uint64, len(later)))):
                fraud[place] = later[int(ids[place])]
            some = replace(past, fraud=fraud).part(whole)
            notes = ["measured on what the bundle remembers; nothing newer is in it"]
            notes += [] if (some.fraud >= 0).any() else [f"no label is known yet; {BY_COMMAND}"]
            return measure(ruleset, some, fields, *notes)
        finally:
            self._lock.release()


def _looks_back(definition: Definition, fields: Mapping[str, list[str]]) -> int:
    """ms that the rules look back at most."""
    back = {**definition.lookback, "score": definition.horizon}
    return max((back.get(name, 0) for read in fields.values() for name in read), default=0)


def _past_of(predictor: FraudPredictor) -> tuple[np.ndarray, Past]:
    """Hashed ids uint64 (n,) of the newest transactions in a bundle, and what rules see of them."""
    definition, known = predictor.definition, predictor.seed_rows
    rows, told = known.part(known.fraud < 0), known.part(known.fraud >= 0)
    fraud, label_time = np.full(len(rows), -1, np.int8), np.full(len(rows), NEVER)
    order = np.argsort(rows.id)
    labelled = order[np.searchsorted(rows.id[order], told.id)]
    fraud[labelled], label_time[labelled] = told.fraud, told.time
    codes = [np.where(keys == 0, -1, np.unique(keys, return_inverse=True)[1]) for keys in rows.keys.T]
    table = Table(rows.time, rows.amount, np.stack(codes, axis=1), fraud, label_time)
    newest = np.sort(np.argsort(rows.time, kind="stable")[-MOST:])
    counts = counts_of(definition, table, newest, lambda done: None)
    time, amount = rows.time[newest], rows.amount[newest]
    return rows.id[newest], Past(
        definition=definition,
        inputs=Inputs.of(definition, counts, time, amount),
        time=time,
        amount=amount,
        fraud=fraud[newest],
        learned=(fraud[newest] >= 0) & (time < int(predictor.kept["known_until"]) - definition.delay),
        texts={"currency": np.full(len(newest), predictor.kept["currency"], object)},
        score=predictor.score,
        simulated=predictor.simulated,
    )
