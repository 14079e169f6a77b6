"""Tabu search with path relinking for job shops, flexible ones too, after Peng, Lü and Cheng (Computers & OR 53, 2015).

A pool of good solutions is kept. Two are drawn, and two solutions between them, one nearer to each, are improved by
tabu search and put in the pool in place of the worst or of one that is nearly the same. Solutions between two are made
by moving every operation a part of the way between its places in their linear orders: what both have in the same order
keeps it, and every such order is feasible, so that nothing needs repair. When the pool has become alike, all but its
best is drawn anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from manufacturing.production_scheduling import kernels
from manufacturing.production_scheduling.kernels import BEST, SINCE, Graph, Walk

CHUNK = 0.02
"""Seconds that a compiled loop runs before anybody is asked whether to go on."""
NO_LIMIT = 1 << 60


@dataclass
class Settings:
    """Of the search: size of the pool, and iterations without a better solution that end one tabu search."""

    pool: int = 10
    patience: int = 12_500
    alike: float = 0.01
    """Of all pairs on a machine: solutions that differ in fewer are the same to the pool."""


@dataclass
class Member:
    """One solution: a linear order of all operations, the machine of each, and its makespan."""

    order: np.ndarray
    machine: np.ndarray
    makespan: int = NO_LIMIT


def new_walk(graph: Graph, seed: int) -> Walk:
    """Room for a search; `kernels.start` gives it a solution."""
    n = len(graph.duration) - 1
    places = len(graph.machines) + len(graph.first) + 2
    rng = np.random.default_rng(seed)

    def room(count: int, value: int = 0) -> np.ndarray:
        return np.full(count, value, np.int32)

    return Walk(
        seq=room(places, n),
        at=room(n + 1),
        end=room(n + 1),
        tail=room(n + 1),
        order=room(n),
        place=room(n),
        best=room(n),
        best_machine=room(n),
        path=room(n),
        scratch=room(places),
        mark=np.zeros(n + 1, np.int64),
        until=np.zeros((n + 1, int(graph.local.max()) + 1), np.int32),
        away=np.zeros((n + 1, len(graph.first)), np.int32),
        random=rng.integers(1, 2**63, 1, dtype=np.uint64),
        meta=np.zeros(5, np.int64),
    )


class JobShopSearch:
    """The search over one job shop. `ask` says whether to stop, `tell` hears of every better solution.

    `fetch` gives a solution from elsewhere that is better than a makespan, if there is one; it is improved, too.
    `target` is a makespan that cannot be beaten.
    """

    def __init__(
        self,
        graph: Graph,
        seed: int,
        ask: Callable[[], bool],
        tell: Callable[[Member], None],
        fetch: Callable[[int], Member | None],
        settings: Settings | None = None,
        target: int = 0,
    ) -> None:
        self.graph, self.walk = graph, new_walk(graph, seed)
        self.rng = np.random.default_rng(seed)
        self.ask, self.tell, self.fetch = ask, tell, fetch
        self.settings = settings or Settings()
        self.target = target
        self.best = NO_LIMIT
        self.pool: list[Member] = []
        self.rate = 10_000.0
        counts = np.bincount(graph.machine[:-1], minlength=1)
        self.pairs = int((counts * (counts - 1) // 2).sum())
        self.searches = 0

    def improve(self, begin: Member, patience: int) -> Member:
        """Tabu search from a solution; ends early when asked to stop."""
        graph, walk = self.graph, self.walk
        kernels.start(graph, walk, begin.order, begin.machine)
        self._hear()
        self.searches += 1
        while walk.meta[SINCE] < patience and walk.meta[BEST] > self.target and not self.ask():
            iterations = max(16, int(self.rate * CHUNK))
            began = time.perf_counter()
            kernels.tabu(graph, walk, iterations, patience, self.target)
            if walk.meta[SINCE] < patience and walk.meta[BEST] > self.target:
                self.rate = 0.5 * self.rate + 0.5 * iterations / (time.perf_counter() - began + 1e-9)
            self._hear()
        return self._found()

    def _found(self) -> Member:
        return Member(self.walk.best.copy(), self.walk.best_machine.copy(), int(self.walk.meta[BEST]))

    def _hear(self) -> None:
        if self.walk.meta[BEST] < self.best:
            self.best = int(self.walk.meta[BEST])
            self.tell(self._found())

    def random_solution(self) -> Member:
        """A random linear order that keeps the order of each job, and machines among the fast ones."""
        before = self.graph.before[:-1]
        n = len(before)
        starts = np.flatnonzero(before == n)
        sizes = np.diff(np.append(starts, n))
        jobs = self.rng.permutation(np.repeat(np.arange(len(starts)), sizes))
        # The k-th mention of a job is its k-th operation.
        order = np.empty(n, np.int32)
        by_job = np.argsort(jobs, kind="stable")
        order[by_job] = np.arange(n)
        graph = self.graph
        # A machine is drawn by its speed to the fourth power: the first of exponential clocks.
        clock = -np.log1p(-self.rng.random(len(graph.durations))) * graph.durations.astype(float) ** 4
        machine = np.empty(n, np.int32)
        for o in range(n):
            low, high = graph.option[o], graph.option[o + 1]
            machine[o] = graph.machines[low + int(np.argmin(clock[low:high]))]
        return Member(order, machine)

    def between(self, one: Member, two: Member, share: float) -> Member:
        """The solution a share of the way from one to the other."""
        n = len(one.order)
        key = np.empty(n)
        key[one.order] = (1 - share) * np.arange(n)
        key[two.order] += share * np.arange(n)
        machine = np.where(self.rng.random(n) < share, two.machine, one.machine)
        return Member(np.argsort(key, kind="stable").astype(np.int32), machine)

    def distance(self, one: Member, two: Member) -> int:
        """How different two solutions are, in pairs of operations."""
        return int(kernels.distance(self.graph, one.order, two.order, one.machine, two.machine))

    def add(self, new: Member) -> None:
        """Put a solution in the pool, unless it is no better than what it would replace."""
        limit = self.settings.alike * self.pairs
        for index, old in enumerate(self.pool):
            if self.distance(new, old) <= limit:
                if new.makespan < old.makespan:
                    self.pool[index] = new
                return
        if len(self.pool) < self.settings.pool:
            self.pool.append(new)
            return
        worst = max(range(len(self.pool)), key=lambda index: self.pool[index].makespan)
        if new.makespan <= self.pool[worst].makespan:
            self.pool[worst] = new

    def run(self) -> None:
        """Search until `ask` says stop or the target is met."""
        patience = self.settings.patience
        while not self._over():
            while len(self.pool) < self.settings.pool and not self._over():
                before = len(self.pool)
                self.add(self.improve(self._given(), patience))
                if len(self.pool) == before and self.searches > 4 * self.settings.pool:
                    break
            barren = 0
            while not self._over() and len(self.pool) > 1 and barren < 2 * len(self.pool):
                i, j = self.rng.choice(len(self.pool), 2, replace=False)
                one, two = self.pool[i], self.pool[j]
                barren += 1
                for a, b in ((one, two), (two, one)):
                    if self._over():
                        break
                    if (given := self.fetch(self.best)) is not None:
                        self.add(self.improve(given, patience))
                    new = self.improve(self.between(a, b, self.rng.uniform(0.3, 0.5)), patience)
                    had = [id(member) for member in self.pool]
                    self.add(new)
                    if had != [id(member) for member in self.pool]:
                        barren = 0
            self.pool = [min(self.pool, key=lambda member: member.makespan)] if self.pool else []

    def _given(self) -> Member:
        return self.fetch(self.best) or self.random_solution()

    def _over(self) -> bool:
        return self.best <= self.target or self.ask()
