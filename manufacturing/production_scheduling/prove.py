"""CP-SAT over the whole problem, as one of those who race: it proves bounds, and finds plans of its own."""

from __future__ import annotations

import threading
import time
from math import ceil, isfinite

from ortools.sat.python import cp_model

from manufacturing.production_scheduling.bounds import horizon
from manufacturing.production_scheduling.model import MOST_ARCS, Built, arcs, build, solver
from manufacturing.production_scheduling.solve import PER_OPERATION, Race

SOURCE = "cp-sat"
FIRST_ROUND = 1.0
"""Seconds before a better plan of somebody else makes CP-SAT start again; they double with every start."""
CORE = (0.08, 0.22)
"""Between these shares of the time, on job shops, cores of assumptions raise the bound, while the search is still far
from its best plan: 1296 on ta11 after 12 s, where the search for a proof stays at 1259. That needs the plan, and has
the rest of the time."""


def prove(race: Race, workers: int, seed: int, *, alone: bool = False) -> None:
    """Solve until the race is over, with the best plan as a hint and its objective as a limit.

    With `alone`, plain CP-SAT: neither hint nor limit, no second start, no settings.
    """
    shop, began = race.shop, time.perf_counter()
    if arcs(shop) > MOST_ARCS and not alone:
        return
    patience, whole = FIRST_ROUND, race.left
    makespan_only = set(shop.problem.objective.weights) == {"makespan"}
    flexible = any(len(step.options) > 1 for step in shop.steps)
    while not race.over() and race.left > 2 * PER_OPERATION * len(shop):
        plan, objective = (None, None) if alone else (race.plan, race.objective)
        upper = None if objective is None else objective - 1
        built = build(shop, horizon=horizon(shop, objective), lower=race.bound, upper=upper)
        if plan is not None:
            built.hint(plan)
        engine = solver(race.left, workers, seed, plain=alone, linear=(2 if flexible else 0) if makespan_only else 1)
        if makespan_only and not flexible and workers == 1 and not alone:
            share = (time.perf_counter() - began) / whole
            engine.parameters.optimize_with_core = CORE[0] <= share < CORE[1]
            end = next((edge for edge in CORE if share < edge), 1.0)
            engine.parameters.max_time_in_seconds = min(race.left, max(0.05, (end - share) * whole))
        engine.best_bound_callback = lambda bound: _hear_bound(race, bound)
        watcher = Watcher(race, engine, None if alone else objective, patience)
        status = engine.solve(built.model, Listener(race, built, watcher))
        watcher.done.set()
        if status == cp_model.OPTIMAL:
            race.raise_bound(round(engine.objective_value), SOURCE)
            return
        if status == cp_model.INFEASIBLE:
            if objective is None:
                race.prove_infeasible()
            else:
                race.raise_bound(objective, SOURCE)
            return
        if status == cp_model.MODEL_INVALID:
            raise ValueError(f"CP-SAT refuses the model: {built.model.validate()}")
        if watcher.again:
            patience *= 2


class Listener(cp_model.CpSolverSolutionCallback):
    """Offers every plan that CP-SAT finds."""

    def __init__(self, race: Race, built: Built, watcher: Watcher) -> None:
        super().__init__()
        self.race, self.built, self.watcher = race, built, watcher

    def on_solution_callback(self) -> None:
        """Called by CP-SAT."""
        self.watcher.own = round(self.objective_value)
        self.race.offer(self.built.plan(self.value), SOURCE)


class Watcher:
    """Stops CP-SAT when the race is over, or when somebody else has found a better plan after some patience."""

    def __init__(self, race: Race, engine: cp_model.CpSolver, limit: int | None, patience: float) -> None:
        self.race, self.engine, self.limit, self.patience = race, engine, limit, patience
        self.own: int | None = None
        self.again = False
        self.done = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        began = time.perf_counter()
        while not self.done.wait(0.02):
            if self.race.over():
                self.engine.stop_search()
            elif self.limit is not None and time.perf_counter() - began > self.patience:
                known = min(self.limit, self.limit if self.own is None else self.own)
                if self.race.objective is not None and self.race.objective < known:
                    self.again = True
                    self.engine.stop_search()


def _hear_bound(race: Race, bound: float) -> None:
    """A bound on a whole number may be rounded up, but for noise; it is infinite where a limit cannot be met."""
    if isfinite(bound):
        race.raise_bound(ceil(bound - 1e-6), SOURCE)
