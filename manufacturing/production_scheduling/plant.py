"""A simulated plant: orders flow through machines, first come first served, and take longer or shorter than planned.

All of it is invented; whatever is learnt or measured here is called simulated. The logarithm of actual / planned time
is the sum of habits of the machine, of the family and of both together; of a novice's slowness, which halves in 8
months; of wear, which grows with the square of the time since maintenance; of nights; of a scatter that is smaller for
larger lots; and of a machine's good or bad day. Rarely, and more often on a worn machine, a disturbance adds an
exponential time: so times are skewed to the right, with a heavy tail.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.files import sha256
from manufacturing.production_scheduling.config import SIMULATED, Plant
from manufacturing.production_scheduling.durations import Attributes, Context, MachineState
from manufacturing.production_scheduling.history import WEEK, History
from manufacturing.production_scheduling.problem import Job, Machine, Operation, Problem

SHIFTS = ("early", "late", "night")
FIRST = 1_767_571_200
"""Monday 2026-01-05, 0:00 UTC, in seconds since 1970."""
MAINTENANCE_AFTER, MAINTENANCE_TIME = 120.0, 4 * 60
"""Hours of work between two services of a machine, and the minutes that one takes."""
TRANSPORT = 10
"""Minutes from one machine to the next."""
NOVICE, HALVES = 0.25, 8.0
WEAR, NIGHT, DAYS = 0.15, 0.06, 0.05
DISTURBED, DISTURBED_BY_WEAR, DISTURBANCE = 0.02, 0.04, 0.8
"""Chance of a disturbance, how much more on a machine due for service, and its mean length in planned times."""


@dataclass(frozen=True)
class World:
    """What does not change: log-habits of machines, families and both, scatter and minutes a piece of each family."""

    plant: Plant
    speed: np.ndarray
    habit: np.ndarray
    fit: np.ndarray
    scatter: np.ndarray
    minutes: np.ndarray
    hired: np.ndarray

    @classmethod
    def of(cls, plant: Plant, seed: int) -> World:
        """Draw a plant; operators were hired up to 48 months before the first week, some during the history."""
        rng = np.random.default_rng([seed, 0])
        return cls(
            plant,
            speed=rng.normal(0, 0.12, plant.machines),
            habit=rng.normal(0.03, 0.10, plant.families),
            fit=rng.normal(0, 0.08, (plant.machines, plant.families)),
            scatter=rng.uniform(0.06, 0.20, plant.families),
            minutes=rng.uniform(0.5, 3.0, plant.families),
            hired=rng.uniform(-48, plant.weeks / 6, plant.operators),
        )

    def planned(self, family: Any, quantity: Any) -> Any:
        """Whole minutes: 15 to get ready, and those of the pieces."""
        return np.rint(15 + self.minutes[family] * quantity)

    def ratio(
        self,
        rng: np.random.Generator,
        machine: Any,
        family: Any,
        quantity: Any,
        experience: Any,
        shift: Any,
        hours: Any,
        day: Any,
    ) -> Any:
        """Actual / planned times, drawn; `day` is the machine's log-effect of that day, `shift` a place in SHIFTS."""
        wear = np.minimum(np.asarray(hours) / MAINTENANCE_AFTER, 1.5) ** 2
        log = self.speed[machine] + self.habit[family] + self.fit[machine, family] + WEAR * wear + day
        log = log + NOVICE * 0.5 ** (np.asarray(experience) / HALVES) + NIGHT * (np.asarray(shift) == 2)
        scatter = self.scatter[family] * np.sqrt(30 / np.maximum(quantity, 10))
        log = log + scatter * rng.standard_normal(np.shape(log))
        disturbed = rng.random(np.shape(log)) < DISTURBED + DISTURBED_BY_WEAR * wear
        return np.exp(log) + disturbed * rng.exponential(DISTURBANCE, np.shape(log))


def simulate(plant: Plant, seed: int) -> History:
    """The history of a plant; the same arguments give the same rows."""
    world, rng = World.of(plant, seed), np.random.default_rng([seed, 1])
    days = rng.normal(0, DAYS, (plant.weeks * 7 * 2 + 1, plant.machines))
    waiting = [
        (float(time), number, 0, route, int(rng.integers(plant.families)), float(rng.integers(10, 81)))
        for number, (time, route) in enumerate(_orders(plant, rng))
    ]
    heapq.heapify(waiting)
    free, worked = np.zeros(plant.machines), rng.uniform(0, MAINTENANCE_AFTER, plant.machines)
    rows = []
    while waiting:
        ready, job, place, route, family, quantity = heapq.heappop(waiting)
        machine = route[place]
        if worked[machine] > MAINTENANCE_AFTER:
            free[machine] = max(free[machine], ready) + MAINTENANCE_TIME
            worked[machine] = rng.uniform(0, 4)
        start = max(ready, free[machine])
        day, shift = int(start // 1440), int(start // 480) % 3
        # Operators keep a machine for a week, and go from shift to shift by the week.
        operator = (machine * 3 + (shift + day // 7) % 3 + 7 * (day // 28)) % plant.operators
        experience = max(0.0, start / 43_200 - world.hired[operator])
        planned, hours = float(world.planned(family, quantity)), float(worked[machine])
        ratio = world.ratio(
            rng, machine, family, quantity, experience, shift, hours, days[min(day, len(days) - 1), machine]
        )
        actual = max(1.0, round(planned * float(ratio)))
        free[machine] = end = start + actual
        worked[machine] += actual / 60
        rows.append((job, place, machine, family, operator, shift, planned, actual, quantity, experience, hours, start))
        if place + 1 < len(route):
            heapq.heappush(waiting, (end + TRANSPORT, job, place + 1, route, family, quantity))
    return _history(plant, rows)


def _orders(plant: Plant, rng: np.random.Generator) -> list[tuple[float, list[int]]]:
    """Arrival in minutes and route of each order."""
    times = np.sort(rng.uniform(0, plant.weeks * WEEK / 60, plant.weeks * plant.orders))
    most = min(6, plant.machines)
    return [(t, rng.permutation(plant.machines)[: rng.integers(2, most + 1)].tolist()) for t in times]


def _history(plant: Plant, rows: list[tuple[Any, ...]]) -> History:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    job, place, machine, family, operator, shift, planned, actual, quantity, experience, hours, start = columns
    digest = sha256(b"".join(column.tobytes() for column in columns))

    def named(prefix: str, numbers: np.ndarray) -> np.ndarray:
        return np.array([f"{prefix}{number + 1}" for number in numbers], dtype=object)

    found = History(
        dataset=SIMULATED,
        title="Simulated shop-floor history (no real plant)",
        licence="made here, no rights reserved",
        sha256=digest,
        simulated=True,
        job=named("order ", job),
        operation=named("", place),
        machine=named("M", machine),
        family=named("F", family),
        operator=named("O", operator),
        shift=np.array(SHIFTS, dtype=object)[shift],
        planned=planned,
        actual=actual,
        quantity=quantity,
        experience=experience,
        hours_since_maintenance=hours,
        start=FIRST + (60 * start).astype(np.int64),
        end=FIRST + (60 * (start + actual)).astype(np.int64),
    )
    order = np.argsort(found.end, kind="stable")
    return found.rows(order)


@dataclass(frozen=True)
class Case:
    """Orders to plan, what is known about them, and what the plant needs to draw their times."""

    problem: Problem
    context: Context
    known: Mapping[str, np.ndarray]

    def ratios(self, world: World, rng: np.random.Generator, draws: int) -> np.ndarray:
        """Actual / planned (draws, operations), in the order of the problem, as the plant would have it."""
        day = rng.normal(0, DAYS, (draws, world.plant.machines))[:, self.known["machine"]]
        return world.ratio(rng, **self.known, day=day)


def case(world: World, rng: np.random.Generator, orders: int = 10) -> Case:
    """A job shop of the plant near the end of its history: each operation on one machine, with all attributes."""
    plant = world.plant
    hours = rng.uniform(0, MAINTENANCE_AFTER, plant.machines)
    who = rng.integers(plant.operators, size=plant.machines)
    months = np.maximum(0.0, plant.weeks * WEEK / 60 / 43_200 - world.hired)
    shift, jobs, attributes = int(rng.integers(3)), [], {}
    rows: dict[str, list[Any]] = {
        name: [] for name in ("machine", "family", "quantity", "experience", "shift", "hours")
    }
    for number in range(1, orders + 1):
        route = rng.permutation(plant.machines)[: rng.integers(2, min(6, plant.machines) + 1)].tolist()
        family, quantity = int(rng.integers(plant.families)), float(rng.integers(10, 81))
        planned, name = int(world.planned(family, quantity)), f"order {number}"
        steps = [Operation(durations={f"M{m + 1}": planned}, family=f"F{family + 1}", lag=TRANSPORT) for m in route]
        jobs.append(Job(name=name, operations=tuple(steps)))
        attributes[name] = {
            str(place): Attributes(
                quantity=quantity,
                operator=f"O{who[machine] + 1}",
                experience=float(months[who[machine]]),
                shift=SHIFTS[shift],
            )
            for place, machine in enumerate(route, 1)
        }
        for machine in route:
            values = (machine, family, quantity, months[who[machine]], shift, hours[machine])
            for column, value in zip(rows.values(), values, strict=True):
                column.append(value)
    names = [f"M{number + 1}" for number in range(plant.machines)]
    problem = Problem(name="simulated", machines=tuple(Machine(name=name) for name in names), jobs=tuple(jobs))
    states = {name: MachineState(hours_since_maintenance=float(h)) for name, h in zip(names, hours, strict=True)}
    context = Context(machines=states, operations=attributes)
    return Case(problem, context, {name: np.array(column) for name, column in rows.items()})
