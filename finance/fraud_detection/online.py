"""The second execution of the definition: counts kept up transaction by transaction, in memory that is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import numpy as np

from common.errors import RequestError, UsageError
from finance.fraud_detection import kernels
from finance.fraud_detection.clock import DAY
from finance.fraud_detection.definition import LARGEST_SQUARED, Definition
from finance.fraud_detection.kernels import Memory, Plan, Scratch

LATENESS = 3 * DAY
"""Milliseconds behind the latest time up to which a late transaction is counted exactly; beyond, see `inexact`."""
START, MOST = 1 << 14, 50_000_000
"""Transactions that there is room for at first, and at most: 50 million take 3 GB."""
GENTLY = 1_000_000
"""Transactions from which on room grows by a quarter at a time."""
MOST_WAITING = 1 << 15
"""Labels that are kept for transactions that have not come; beyond, the older half is dropped."""
REFUSED = {kernels.SAME: "same", kernels.OTHER: "other", kernels.TOO_OLD: "too_old"}


class StateAway(RequestError):
    """The state cannot be read or written now; what is decided without it is declared."""

    status = 503


@dataclass(frozen=True)
class Rows:
    """Transactions and labels in order of arrival.

    A row is a label where `fraud` (n,) int8 is 0 or 1, and then `time` is when it became known; else a transaction, -1.
    `id` uint64 (n,), `time` ms and `amount` minor units int64 (n,), `keys` uint64 (n, entities), 0 where an entity is
    not known. Other types are converted.
    """

    fraud: np.ndarray
    id: np.ndarray
    time: np.ndarray
    amount: np.ndarray
    keys: np.ndarray

    def __post_init__(self) -> None:
        for name, kind in ROW.items():
            given = getattr(self, name)
            if given.dtype != kind or not (given.flags.c_contiguous and given.flags.writeable):
                # The compiled loops are for this layout alone: another would be compiled again, for a minute.
                object.__setattr__(self, name, np.array(given, kind, order="C"))
            if len(given) != len(self.id):
                raise ValueError(f"{name}: {len(given)} rows, where id has {len(self.id)}")

    def __len__(self) -> int:
        return len(self.id)

    def part(self, rows: slice | np.ndarray) -> Rows:
        """Some of the rows."""
        return Rows(self.fraud[rows], self.id[rows], self.time[rows], self.amount[rows], self.keys[rows])


ROW = {"fraud": np.int8, "id": np.uint64, "time": np.int64, "amount": np.int64, "keys": np.uint64}


class State(Protocol):
    """What keeps counts: in this process (`Online`), on disk too (`Durable`), or in Redis.

    Times come from the transactions alone. One far in the future would make it forget all that is older, so callers
    refuse what is ahead of their clock.
    """

    definition: Definition
    refused: dict[str, int]
    """Transactions that this process did not take in: known by their id with the "same" or an "other" content, or
    "too_old"."""

    def take(self, rows: Rows, *, counted: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Take in rows in their order; raises `StateAway`.

        Returns counts int64 (n, entities, counts) of every transaction as the state was before it, also of one that is
        refused (none when not `counted`; those of labels mean nothing), and what became of each int8 (n,): see
        `kernels.NEW`.
        """

    def look(self, time: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Counts int64 (n, entities, counts) at these times for these keys; changes nothing. Raises `StateAway`."""

    def close(self) -> None:
        """Give back what it holds."""

    @property
    def inexact(self) -> dict[str, int]:
        """What made counts differ from those of the whole history, and how often; empty: nothing did."""


def hashed(text: str) -> int:
    """64 bits that are the same in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def keys_of(entity: str, values: Sequence[str]) -> np.ndarray:
    """uint64 (n,): customer 7 and terminal 7 are two; 0 for "", one that is not known."""
    found = {value: hashed(f"{entity}\0{value}") if value else 0 for value in dict.fromkeys(values)}
    return np.fromiter((found[value] for value in values), np.uint64, len(values))


def plan_of(definition: Definition, lateness: int) -> Plan:
    """What the compiled loops need to know."""
    return Plan(
        partner_of=definition.partner_of,
        windows=np.array(definition.windows, np.int64),
        risk=np.array(definition.risk_windows, np.int64),
        delay=definition.delay,
        horizon=definition.horizon,
        keep=definition.horizon + lateness,
        deepest=definition.deepest,
        largest=LARGEST_SQUARED,
        steps=definition.steps,
    )


def scratch(deepest: int) -> Scratch:
    """Room for what one walk collects."""
    room = deepest + 1
    return Scratch(
        told=np.zeros(2, np.int64),
        time=np.zeros(room, np.int64),
        amount=np.zeros(room, np.int64),
        partner=np.zeros(room, np.int64),
        fraud=np.zeros(room, np.int8),
        label_time=np.zeros(room, np.int64),
        met=np.zeros(_power(2 * room), np.int64),
        stamp=np.zeros(_power(2 * room), np.int64),
    )


def tally(refused: dict[str, int], rows: Rows, became: np.ndarray) -> None:
    """Add the transactions that were refused."""
    for code, name in REFUSED.items():
        if many := int(np.count_nonzero((became == code) & (rows.fraud < 0))):
            refused[name] += many


class Online:
    """Counts in this process; exact for everything at most `lateness` behind, as long as `inexact` stays empty.

    `most` transactions are kept at most. Room doubles when it is needed: for that moment, 0.25 s per million of them,
    old and new room are both there. Not safe for several threads: callers hold a lock.
    """

    def __init__(self, definition: Definition, lateness: int = LATENESS, most: int = MOST) -> None:
        self.definition, self.lateness, self.most = definition, lateness, most
        self.refused = dict.fromkeys(REFUSED.values(), 0)
        self.memory = _empty(len(definition.entities), min(START, most))
        self._plan, self._seen = plan_of(definition, lateness), scratch(definition.deepest)
        self.keep = self._plan.keep

    def take(self, rows: Rows, *, counted: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """See `State`."""
        counts, became = self._ingest(rows, counted)
        tally(self.refused, rows, became)
        return counts, became

    def look(self, time: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """See `State`."""
        rows = Rows(np.full(len(time), -1, np.int8), np.zeros(len(time), np.uint64), time, time, keys)
        counts = self._counts(rows)
        kernels.count_all(self.memory, self._plan, self._seen, rows.time, rows.keys, counts)
        return counts

    def close(self) -> None:
        """Nothing to give back."""

    @property
    def watermark(self) -> int:
        """The latest time of a transaction, ms."""
        return int(self.memory.meta[kernels.WATERMARK])

    @property
    def inexact(self) -> dict[str, int]:
        """See `State`: "evicted_early", transactions forgotten for want of room while they mattered, and
        "labels_dropped" before their transactions came, both since the state began; "incomplete", transactions that
        this process counted when something within their horizon had been forgotten, be it of the same entity or not."""
        meta = self.memory.meta
        found = {
            "evicted_early": int(meta[kernels.EVICTED_EARLY]),
            "labels_dropped": int(meta[kernels.LABELS_DROPPED]),
            "incomplete": int(self._seen.told[kernels.INCOMPLETE]),
        }
        return {name: many for name, many in found.items() if many}

    @property
    def size(self) -> dict[str, int]:
        """Transactions, entities, labels that wait for theirs, and bytes."""
        meta = self.memory.meta
        return {
            "transactions": int(meta[kernels.NEXT] - meta[kernels.TAIL]),
            "entities": int(meta[kernels.ENTITIES] - meta[kernels.FREE]),
            "waiting_labels": int(meta[kernels.WAITING_LABELS]),
            "bytes": sum(array.nbytes for array in (*self.memory, *self._seen)),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """All of the state, to be written down; `restore` takes it back."""
        return self.memory._asdict()

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from what `arrays` gave; raises `UsageError` when that was of another version or other entities."""
        entities = len(self.definition.entities)
        if set(arrays) != set(Memory._fields) or len(arrays["entity"]) != entities:
            raise UsageError(
                "the kept state is of another version or counts other entities",
                fix="move it away and replay the history",
            )
        self.memory = Memory(**arrays)

    def _ingest(self, rows: Rows, counted: bool) -> tuple[np.ndarray, np.ndarray]:
        counts = self._counts(rows if counted else rows.part(slice(0)))
        became = np.zeros(len(rows), np.int8)
        columns = (rows.fraud, rows.id, rows.time, rows.amount, rows.keys)
        done = 0
        while done < len(rows):
            forced = len(self.memory.time) >= self.most
            done = kernels.ingest(self.memory, self._plan, self._seen, done, forced, *columns, counts, became)
            if done < len(rows):
                if became[done] == kernels.FULL:
                    self._grow()
                else:
                    self._make_keys()
        return counts, became

    def _counts(self, rows: Rows) -> np.ndarray:
        shape = (len(rows), len(self.definition.entities), self.definition.counts)
        if rows.keys.shape != shape[:2]:
            raise ValueError(f"keys: got {rows.keys.shape}, expected {shape[:2]}")
        return np.zeros(shape, np.int64)

    def _grow(self) -> None:
        """Room for twice as many transactions, from a million on for a quarter more; array by array, so that no more
        than one lies in memory twice."""
        was = len(self.memory.time)
        now = min(2 * was if was < GENTLY else was * 5 // 4, self.most)
        first, end = (int(self.memory.meta[place]) for place in (kernels.TAIL, kernels.NEXT))
        self.memory = self.memory._replace(places=np.zeros(0, np.int32))
        for name in ("time", "amount", "label_time", "id", "fraud", "entity", "back"):
            array = getattr(self.memory, name)
            moved = np.zeros((*array.shape[:-1], now), array.dtype)
            for start in range(first, end, GENTLY):
                numbers = np.arange(start, min(start + GENTLY, end))
                moved[..., numbers % now] = array[..., numbers % was]
            self.memory = self.memory._replace(**{name: moved})
        self.memory = self.memory._replace(places=np.zeros(_power(2 * now), np.int32))
        kernels.rebuild_places(self.memory)

    def _make_keys(self) -> None:
        """Room for more entities, or the graves of the table cleared when these are what fills it."""
        old = self.memory
        live = int(old.meta[kernels.ENTITIES] - old.meta[kernels.FREE])
        heads = max(len(old.head), 2 * live + 64)
        grown = {}
        for name in ("key", "head", "alive", "free"):
            array = getattr(old, name)
            grown[name] = np.zeros(heads, array.dtype)
            grown[name][: len(array)] = array
        self.memory = old._replace(**grown, slots=np.zeros(_power(3 * (live + 64)), np.int32))
        kernels.rebuild_slots(self.memory)


def _power(least: int) -> int:
    return 1 << max(least - 1, 1).bit_length()


def _empty(entities: int, capacity: int) -> Memory:
    meta = np.zeros(10, np.int64)
    meta[[kernels.WATERMARK, kernels.FORGOTTEN]] = np.iinfo(np.int64).min // 2
    return Memory(
        meta=meta,
        time=np.zeros(capacity, np.int64),
        amount=np.zeros(capacity, np.int64),
        label_time=np.zeros(capacity, np.int64),
        id=np.zeros(capacity, np.uint64),
        fraud=np.zeros(capacity, np.int8),
        entity=np.zeros((entities, capacity), np.int32),
        back=np.zeros((entities, capacity), np.int32),
        places=np.zeros(_power(2 * capacity), np.int32),
        key=np.zeros(1024, np.uint64),
        head=np.zeros(1024, np.int64),
        alive=np.zeros(1024, np.int32),
        free=np.zeros(1024, np.int64),
        slots=np.zeros(4096, np.int32),
        wait_id=np.zeros(MOST_WAITING, np.uint64),
        wait_fraud=np.zeros(MOST_WAITING, np.int8),
        wait_time=np.zeros(MOST_WAITING, np.int64),
    )
