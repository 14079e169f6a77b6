"""Replay parity as a command: the same transactions in other orders of arrival give, at every moment, the same counts.

    python -m finance.fraud_detection.parity --events 1000000 --shuffles 3 --out certificate.json

Each shuffle draws an order in which transactions come late, some again, some again with another amount, and labels come
late, again, or before their transactions. `Online` takes it row by row; `history` counts, from the whole table, what
had arrived before each transaction. Every count of every transaction must be equal, and at the end so must be what
`Online` shows of the last days and `history` in plain order of time. The certificate says what was compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.config import Strict, build_config
from common.errors import EspalierError, UsageError
from common.evaluation.report import write_json
from common.progress import bar, working
from common.provenance import commit, machine, peak_rss_mb
from finance.fraud_detection.clock import HOUR, NEVER
from finance.fraud_detection.config import PRESETS, Config
from finance.fraud_detection.data import Events, load
from finance.fraud_detection.definition import Definition
from finance.fraud_detection.fit import definition_of, table_of
from finance.fraud_detection.history import Arrival, Table, counts_of
from finance.fraud_detection.kernels import NEW, OTHER, SAME, WAITING
from finance.fraud_detection.online import LATENESS, Online, Rows, hashed, keys_of
from finance.fraud_detection.simulator import SIMULATED
from finance.fraud_detection.train import with_recipe

TOGETHER = 250_000
"""Rows that are compared at a time: about 1 GB with all of 1 million transactions."""
TRANSACTION, AGAIN, CHANGED, LABEL, LABEL_AGAIN = range(5)


class Shares(Strict):
    """Of transactions: late ones (uniformly up to the lateness bound), sent again with the same or a changed amount;
    of labels: late ones, before their transactions (up to an hour), sent again."""

    late: float = 0.2
    again: float = 0.02
    changed: float = 0.002
    late_label: float = 0.5
    early_label: float = 0.05
    label_again: float = 0.02


class Replay(Strict):
    """One order of arrival: what was sent (late: after a younger one), how many counts were compared, those of `at_end`
    transactions again when all had come, and how long both executions took."""

    seed: int
    rows: int
    late: int
    again: int
    changed: int
    labels: int
    labels_before_transaction: int
    counts: int
    at_end: int
    differences: int
    first_difference: str
    inexact: dict[str, int]
    seconds_online: float
    seconds_history: float


class Certificate(Strict):
    """What was compared, and how many differences there were; times in milliseconds."""

    dataset: str
    data_sha256: str
    simulated: bool
    events: int
    definition: Definition
    lateness: int
    shares: Shares
    replays: list[Replay]
    counts: int
    differences: int
    inexact: int
    machine: str
    commit: str
    peak_rss_mb: float

    @property
    def holds(self) -> bool:
        """Nothing differs, and the online state says of no count that it is inexact."""
        return self.differences == 0 and self.inexact == 0


@dataclass(frozen=True)
class Sent:
    """Rows in order of arrival: `kind` (m,), such as `LABEL`, and `index` (m,), the transaction that it is about."""

    kind: np.ndarray
    index: np.ndarray

    def arrival(self, events: int) -> Arrival:
        """Where each transaction and its label came first."""
        found = []
        for kind in (TRANSACTION, LABEL):
            at = np.flatnonzero(self.kind == kind)
            first = np.full(events, NEVER)
            first[self.index[at]] = at
            found.append(first)
        return Arrival(*found)


@dataclass
class Differences:
    """How much was compared, how much differed, and a sentence about the first difference."""

    compared: int = 0
    many: int = 0
    first: str = ""

    def add(self, definition: Definition, ids: np.ndarray, online: np.ndarray, offline: np.ndarray, when: str) -> None:
        """Compare counts int64 (rows, entities, counts) of the transactions `ids` (rows,)."""
        self.compared += offline.size
        if different := np.argwhere(online != offline).tolist():
            row, entity, place = different[0]
            name, told, expected = definition.count_names[entity][place], online[*different[0]], offline[*different[0]]
            self.note(len(different), f"transaction {ids[row]} {when}: {name} is {told} online, {expected} in history")

    def note(self, many: int, first: str) -> None:
        """Add differences, of which `first` tells one."""
        self.many, self.first = self.many + many, self.first or first


def certify(
    events: Events,
    definition: Definition,
    shuffles: int = 3,
    seed: int = 0,
    shares: Shares | None = None,
    state: Callable[[Definition], Online] = Online,
) -> Certificate:
    """Replay the transactions in `shuffles` orders through `state(definition)` and compare it with `history`."""
    shares, replays = shares or Shares(), []
    keys = np.stack([keys_of(name, events.entities[name].tolist()) for name in definition.entities], axis=1)
    ids, table = np.array([hashed(id) for id in events.id], np.uint64), table_of(events)
    none = np.full(1, -1)
    Online(definition).take(Rows(none, ids[:1], none, none, keys[:1]))  # what is compiled now, takes no time below
    with bar("replay parity", shuffles * len(events) * len(definition.entities)) as advance:
        for number in range(seed, seed + shuffles):
            sent = shuffled(events, number, shares)
            replay = _replay(events, ids, keys, table, sent, state(definition), advance)
            replays.append(replay.model_copy(update={"seed": number}))
    return Certificate(
        dataset=events.dataset,
        data_sha256=events.sha256,
        simulated=events.simulated,
        events=len(events),
        definition=definition,
        lateness=LATENESS,
        shares=shares,
        replays=replays,
        counts=sum(replay.counts for replay in replays),
        differences=sum(replay.differences for replay in replays),
        inexact=sum(sum(replay.inexact.values()) for replay in replays),
        machine=machine(),
        commit=commit(),
        peak_rss_mb=round(peak_rss_mb()),
    )


def shuffled(events: Events, seed: int, shares: Shares) -> Sent:
    """An order of arrival; nothing comes later than `LATENESS`, or a tenth of the time that the data span."""
    rng = np.random.default_rng(seed)
    bound = max(1, min(LATENESS, int(events.time[-1] - events.time[0]) // 10))

    def some(index: np.ndarray, share: float) -> np.ndarray:
        return index[rng.random(len(index)) < share]

    def after(at: np.ndarray, most: int) -> np.ndarray:
        return at + rng.integers(1, most + 1, len(at))

    everything, labelled = np.arange(len(events)), np.flatnonzero(events.fraud >= 0)
    at, told = events.time.copy(), events.label_time.copy()
    late = some(everything, shares.late)
    at[late] = after(at[late], bound) - 1
    late = some(labelled, shares.late_label)
    told[late] = after(told[late], bound)
    early = some(labelled, shares.early_label)
    told[early] = at[early] - rng.integers(1, HOUR, len(early))
    again, changed = some(everything, shares.again), some(everything, shares.changed)
    label_again = some(labelled, shares.label_again)
    index = [everything, again, changed, labelled, label_again]
    late_by = [at, after(at[again], 2 * bound), after(at[changed], 2 * bound)]
    when = np.concatenate([*late_by, told[labelled], after(told[label_again], bound)])
    order = np.lexsort((rng.random(len(when)), when))
    return Sent(np.repeat(np.arange(5), [len(part) for part in index])[order], np.concatenate(index)[order])


def _replay(
    events: Events,
    ids: np.ndarray,
    keys: np.ndarray,
    table: Table,
    sent: Sent,
    state: Online,
    advance: Callable[[float], None],
) -> Replay:
    definition, arrival = state.definition, sent.arrival(len(events))
    arrived, found, online_s, history_s = replace(table, arrival=arrival), Differences(), 0.0, 0.0
    for start in range(0, len(sent.kind), TOGETHER):
        kind, index = sent.kind[start : start + TOGETHER], sent.index[start : start + TOGETHER]
        is_label, first = kind >= LABEL, kind == TRANSACTION
        rows = Rows(
            np.where(is_label, events.fraud[index], -1),
            ids[index],
            np.where(is_label, events.label_time[index], events.time[index]),
            events.amount[index] + (kind == CHANGED),
            keys[index],
        )
        began = time.perf_counter()
        counts, became = state.take(rows)
        online_s, began = online_s + time.perf_counter() - began, time.perf_counter()
        early = is_label & (np.arange(start, start + len(kind)) < arrival.event[index])
        expected = np.where(early, WAITING, np.array([NEW, SAME, OTHER, NEW, NEW])[kind])
        for wrong in np.flatnonzero(became != expected)[:1]:
            told = f"transaction {events.id[index[wrong]]}: a row became {became[wrong]}, expected {expected[wrong]}"
            found.note(int(np.count_nonzero(became != expected)), f"{told} (see kernels.NEW)")
        offline = counts_of(definition, arrived, index[first], advance)
        found.add(definition, events.id[index[first]], counts[first], offline, "when it arrived")
        history_s += time.perf_counter() - began
    last = np.flatnonzero(events.time >= state.watermark - LATENESS)
    looked = state.look(events.time[last], keys[last])
    found.add(definition, events.id[last], looked, counts_of(definition, table, last, lambda rows: None), "at the end")
    came = events.time[sent.index[sent.kind == TRANSACTION]]
    many = np.bincount(sent.kind, minlength=5).tolist()
    return Replay(
        seed=0,
        rows=len(sent.kind),
        again=many[AGAIN],
        changed=many[CHANGED],
        labels=many[LABEL],
        labels_before_transaction=int(np.count_nonzero(arrival.label < arrival.event)),
        late=int(np.count_nonzero(came < np.maximum.accumulate(came))),
        counts=found.compared,
        at_end=len(last),
        differences=found.many,
        first_difference=found.first,
        inexact=state.inexact,
        seconds_online=round(online_s, 2),
        seconds_history=round(history_s, 2),
    )


def main() -> None:
    """Write the certificate; a difference is one sentence on stderr and exit code 1."""
    parser = argparse.ArgumentParser(description="Prove that counts online are those of the whole history.")
    parser.add_argument("--dataset", default=SIMULATED, help="an id, or the path of a file")
    parser.add_argument("--events", type=int, default=1_000_000, help="the first so many transactions")
    parser.add_argument("--shuffles", type=int, default=3, help="orders of arrival")
    parser.add_argument("--seed", type=int, default=0, help="of the first order; the others follow")
    parser.add_argument("--out", type=Path, default=Path("certificate.json"))
    parser.add_argument("settings", nargs="*", help="key=value, as for `espalier train`")
    asked = parser.parse_args()
    try:
        if asked.events < 1 or asked.shuffles < 1:
            raise UsageError("nothing to compare", where="--events, --shuffles", expected="at least 1")
        overrides = [f"dataset={asked.dataset}", *asked.settings]
        config = with_recipe(build_config(Config, PRESETS, "reference", overrides))
        with working("loading transactions"):
            events = load(config).rows(slice(asked.events))
        certificate = certify(events, definition_of(config, events), asked.shuffles, asked.seed)
        write_json(asked.out, certificate)
        if not certificate.holds:
            first = next((r.first_difference for r in certificate.replays if r.first_difference), "")
            inexact = {name: many for r in certificate.replays for name, many in r.inexact.items()}
            raise EspalierError(
                f"{certificate.differences:,} of {certificate.counts:,} counts differ",
                where=str(asked.out),
                got=first or f"counts that the online state calls inexact {inexact}",
            )
    except EspalierError as error:
        print(f"espalier: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    told = f"{certificate.counts:,} counts of {certificate.events:,} transactions in {asked.shuffles} orders of arrival"
    print(f"{told}: no difference; {asked.out}")


if __name__ == "__main__":
    main()
