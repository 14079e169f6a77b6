"""The online state in Redis, for several processes at once: the same rows in the same order give the same counts.

A transaction is a member of one sorted set for each of its entities, scored by time; a label is a key of its own, so it
may come before its transaction. One script takes in a row and answers with what its entities show: it runs alone, so
replicas see whole rows only. Everything expires once it is older than what is kept. One Redis, not a cluster: a row
touches keys that would lie on several machines.

While Redis is away, `StateAway` is raised at once for a second, and the rows wait here: they go first when it is back.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from redis import Redis
from redis.exceptions import NoScriptError, RedisError

from common.errors import UsageError
from finance.fraud_detection.definition import Definition
from finance.fraud_detection.kernels import NEW, TOO_OLD, WAITING, aggregate
from finance.fraud_detection.online import LATENESS, REFUSED, Rows, StateAway, plan_of, scratch, tally

logger = logging.getLogger("espalier.fraud")

TIMEOUT_S = 0.25
"""A decision waits so long for Redis, then it is made without history."""
PAUSE_S = 1.0
"""After a failure Redis is left alone so long."""
TOGETHER, CATCH_UP, MOST_PENDING = 500, 1_000, 100_000
"""Rows in one round trip (about 20 ms of Redis' time); rows that waited which one call sends before its own; and rows
that wait at most, beyond which the oldest are dropped."""
MEMBER = np.dtype([("id", "<u8"), ("time", "<i8"), ("amount", "<i8"), ("partner", "<u8")])
LABEL = np.dtype([("fraud", "i1"), ("label_time", "<i8")])
NO_LABEL = np.array([(-1, 0)], LABEL).tobytes()

# KEYS: watermark, transaction, one sorted set for each entity. ARGV: prefix of labels, time, content, keep, horizon,
# how many to see (0: none), remember (1) or only look (0), no label, then the member for each entity, '' for one not
# known. Answers what became of it, the watermark before, and for each entity its members, newest first, and their
# labels.
TAKE = """
local became, t, keep = 0, tonumber(ARGV[2]), tonumber(ARGV[4])
local latest = redis.call('GET', KEYS[1]) or ''
if ARGV[7] == '1' then
  local known = redis.call('GET', KEYS[2])
  if known then
    became = (known == ARGV[3]) and 1 or 2
  elseif latest ~= '' and t < tonumber(latest) - keep then
    became = 3
  else
    redis.call('SET', KEYS[2], ARGV[3], 'PX', keep)
    if latest == '' or t > tonumber(latest) then redis.call('SET', KEYS[1], ARGV[2]) end
  end
end
local found = {became, latest}
for e = 3, #KEYS do
  local seen = redis.call('ZREVRANGEBYSCORE', KEYS[e], '(' .. ARGV[2], string.format('%.0f', t - tonumber(ARGV[5])),
                          'LIMIT', 0, ARGV[6])
  found[#found + 1] = table.concat(seen)
  local labels, size = {}, 4000
  for first = 1, #seen, size do
    local ids = {}
    for i = first, math.min(first + size - 1, #seen) do ids[#ids + 1] = ARGV[1] .. string.sub(seen[i], 1, 8) end
    for _, value in ipairs(redis.call('MGET', unpack(ids))) do labels[#labels + 1] = value or ARGV[8] end
  end
  found[#found + 1] = table.concat(labels)
  if ARGV[7] == '1' and became == 0 and ARGV[6 + e] ~= '' then
    redis.call('ZADD', KEYS[e], ARGV[2], ARGV[6 + e])
    redis.call('ZREMRANGEBYSCORE', KEYS[e], '-inf', '(' .. string.format('%.0f', t - keep))
    redis.call('PEXPIRE', KEYS[e], keep)
  end
end
return found
"""
# KEYS: watermark, transaction, label. ARGV: content, its time, keep. The later of two labels holds. Answers 1 when the
# transaction is known, 0 when the label waits for it, -1 when it is too old for one that may still come.
LABELLED = """
local known, latest = redis.call('EXISTS', KEYS[2]), redis.call('GET', KEYS[1])
if known == 0 and latest and tonumber(ARGV[2]) < tonumber(latest) - tonumber(ARGV[3]) then return -1 end
local old = redis.call('GET', KEYS[3])
if not old or struct.unpack('<i8', string.sub(old, 2)) <= tonumber(ARGV[2]) then
  redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[3])
end
return known
"""
TAKE_SHA, LABELLED_SHA = (hashlib.sha1(script.encode()).hexdigest() for script in (TAKE, LABELLED))


class RedisState:
    """See `State`. `prefix` keeps several systems in one Redis apart. Raises `UsageError` for a bad address."""

    def __init__(self, definition: Definition, url: str, prefix: str, lateness: int = LATENESS) -> None:
        try:
            self._redis = Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        except ValueError as error:
            raise UsageError("not the address of a Redis", where="REDIS_URL", got=repr(url), fix=str(error)) from None
        self.definition, self.lateness = definition, lateness
        self.refused = dict.fromkeys(REFUSED.values(), 0)
        self._prefix, self._inexact = f"{prefix}:".encode(), Counter[str]()
        self._plan, self._seen = plan_of(definition, lateness), scratch(definition.deepest)
        self.keep = self._plan.keep
        self._pending, self._seeding = deque[Rows](), deque[Rows]()
        self._away_until, self._met, self._begun = 0.0, False, False

    def seed(self, rows: Rows) -> None:
        """Take in what a bundle remembers, unless some process has done that; later when Redis is away now.

        Raises `UsageError` when what is in Redis counts something else."""
        self._seeding = deque(_parts(rows))
        try:
            self._meet()
            self._catch_up(len(rows))
        except StateAway as error:
            logger.warning("what the bundle remembers waits: %s", error)

    def take(self, rows: Rows, *, counted: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """See `State`. All rows are one round trip for every `TOGETHER` of them, each row whole in itself."""
        waiting = deque(_parts(rows))
        try:
            self._meet()
            self._catch_up(CATCH_UP)
            found = []
            while waiting:
                found.append(self._take(waiting[0], counted))
                waiting.popleft()
        except StateAway:
            self._wait(waiting)
            raise
        empty = self._counts(0), np.zeros(0, np.int8)
        counts, became = (np.concatenate(part) for part in zip(empty, *found, strict=True))
        tally(self.refused, rows, became)
        return counts, became

    def look(self, time: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """See `State`."""
        self._meet()
        rows = Rows(np.full(len(time), -1, np.int8), np.zeros(len(time), np.uint64), time, time, keys)
        counts = self._counts(len(rows))
        done = 0
        for part in _parts(rows):
            for answer in self._call(partial(self._ask_all, rows=part, remember=False, counted=True)):
                self._inexact["incomplete"] += self._incomplete(int(rows.time[done]), answer)
                self._aggregate(int(rows.time[done]), rows.keys[done], answer, counts[done])
                done += 1
        return counts

    def close(self) -> None:
        """Close the connections."""
        if self._pending:
            logger.error("%d rows never reached Redis", sum(map(len, self._pending)))
        self._redis.close()

    @property
    def inexact(self) -> dict[str, int]:
        """See `State`: "incomplete", transactions counted later than `lateness` or while others waited; "dropped", rows
        that waited for Redis in vain; "lost", how often Redis came back empty; "evicted", keys that it threw away."""
        found = dict(self._inexact)
        if time.monotonic() >= self._away_until:
            try:
                found["evicted"] = self._redis.info("stats")["evicted_keys"]
            except RedisError as error:
                self._pause(error)
        return {name: many for name, many in found.items() if many}

    def _meet(self) -> None:
        """Make sure that Redis may be asked, and once that what is in it is ours."""
        if time.monotonic() < self._away_until:
            raise StateAway("Redis did not answer a moment ago", where="REDIS_URL")
        if not self._met:
            name = self._prefix + b"definition"
            try:
                self._redis.set(name, self.definition.counted, nx=True)
                same = self._redis.get(name) == self.definition.counted.encode()
                seeded = self._redis.exists(self._prefix + b"seeded")
            except RedisError as error:
                raise self._pause(error) from error
            if not same:
                fix = f"delete the keys {self._prefix.decode()}* and replay the history, or serve the bundle it is of"
                raise UsageError("the state in Redis counts something else", where="REDIS_URL", fix=fix)
            self._met = True
            if seeded:
                self._seeding.clear()

    def _catch_up(self, most: int) -> None:
        """Send rows that waited, those of the bundle first."""
        for waiting in (self._seeding, self._pending):
            while waiting and most > 0:
                self._take(waiting[0], counted=False)
                most -= len(waiting.popleft())
                if waiting is self._seeding and not waiting:
                    self._call(lambda pipe: pipe.set(self._prefix + b"seeded", 1))

    def _wait(self, rows: deque[Rows]) -> None:
        self._pending.extend(rows)
        while sum(map(len, self._pending)) > MOST_PENDING:
            self._inexact["dropped"] += len(self._pending.popleft())

    def _take(self, rows: Rows, counted: bool) -> tuple[np.ndarray, np.ndarray]:
        counts, became = self._counts(len(rows) if counted else 0), np.full(len(rows), NEW, np.int8)
        for i, answer in enumerate(self._call(partial(self._ask_all, rows=rows, remember=True, counted=counted))):
            if rows.fraud[i] >= 0:
                became[i] = {1: NEW, 0: WAITING, -1: TOO_OLD}[answer]
                continue
            became[i] = answer[0]
            if counted:
                self._inexact["incomplete"] += became[i] == NEW and self._incomplete(int(rows.time[i]), answer)
                self._aggregate(int(rows.time[i]), rows.keys[i], answer, counts[i])
            if not answer[1]:
                self._inexact["lost"] += self._begun
            self._begun = True
        return counts, became

    def _counts(self, rows: int) -> np.ndarray:
        return np.zeros((rows, len(self.definition.entities), self.definition.counts), np.int64)

    def _key(self, kind: bytes, number: np.uint64) -> bytes:
        return self._prefix + kind + number.tobytes()

    def _ask_all(self, pipe: Any, rows: Rows, *, remember: bool, counted: bool) -> None:
        watermark = self._prefix + b"w"
        for i in range(len(rows)):
            transaction, t = self._key(b"t:", rows.id[i]), int(rows.time[i])
            if rows.fraud[i] >= 0:
                told = np.array([(rows.fraud[i], t)], LABEL).tobytes()
                names = [watermark, transaction, self._key(b"l:", rows.id[i])]
                pipe.evalsha(LABELLED_SHA, 3, *names, told, t, self.keep)
                continue
            keys = rows.keys[i]
            content = rows.time[i].tobytes() + rows.amount[i].tobytes() + keys.tobytes()
            names = [watermark, transaction, *(self._key(b"e:%d:" % e, key) for e, key in enumerate(keys))]
            members = [
                np.array([(rows.id[i], t, rows.amount[i], keys[partner])], MEMBER).tobytes() if keys[e] else b""
                for e, partner in enumerate(self._plan.partner_of)
            ]
            most = self.definition.deepest + 1 if counted else 0
            fixed = [self._prefix + b"l:", t, content, self.keep, self._plan.horizon, most, int(remember), NO_LABEL]
            pipe.evalsha(TAKE_SHA, len(names), *names, *fixed, *members)

    def _call(self, build: Callable[[Any], object]) -> list[Any]:
        """The answers to one round trip."""
        try:
            try:
                return self._execute(build)
            except NoScriptError:  # of a Redis that is new or was started again; no row was taken
                for script in (TAKE, LABELLED):
                    self._redis.script_load(script)
                return self._execute(build)
        except RedisError as error:
            raise self._pause(error) from error

    def _execute(self, build: Callable[[Any], object]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        build(pipe)
        return pipe.execute()

    def _pause(self, error: RedisError) -> StateAway:
        self._away_until = time.monotonic() + PAUSE_S
        got = str(error).partition("\n")[0] or type(error).__name__
        return StateAway("Redis does not answer", where="REDIS_URL", got=got)

    def _incomplete(self, t: int, answer: list[bytes]) -> bool:
        late = bool(answer[1]) and t < int(answer[1]) - self.lateness
        return late or bool(self._seeding or self._pending)

    def _aggregate(self, t: int, keys: np.ndarray, answer: list[bytes], out: np.ndarray) -> None:
        for e, other in enumerate(keys[self._plan.partner_of]):
            members, labels = np.frombuffer(answer[2 * e + 2], MEMBER), np.frombuffer(answer[2 * e + 3], LABEL)
            n = len(members)
            self._seen.time[:n], self._seen.amount[:n] = members["time"], members["amount"]
            self._seen.partner[:n] = members["partner"].view(np.int64)
            self._seen.fraud[:n], self._seen.label_time[:n] = labels["fraud"], labels["label_time"]
            aggregate(self._plan, self._seen, n, t, int(other.view(np.int64)) if other else -1, out[e])


def _parts(rows: Rows) -> list[Rows]:
    return [rows.part(slice(start, start + TOGETHER)) for start in range(0, len(rows), TOGETHER)]
