"""Random small plants with every kind of constraint, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from manufacturing.production_scheduling.problem import Problem

FAMILIES = ("red", "green", "blue")


def plant(seed: int, jobs: int = 6, machines: int = 4, **parts: Any) -> Problem:
    """A problem with setups, shifts, breaks, maintenance, operators, a batch machine, alternatives, lags and due dates.

    `parts` replaces fields of the problem.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = [{"name": f"M{i}"} for i in range(machines)]
    rows[0]["setups"] = {a: {b: int(rng.integers(1, 6)) for b in FAMILIES if b != a} for a in (*FAMILIES, "")}
    rows[1]["calendar"] = [{"start": 0, "end": 40, "every": 60}]
    rows[1]["breaks"] = [{"start": 15, "end": 20, "every": 60, "name": "lunch"}]
    rows[2]["maintenance"] = [{"start": 30, "end": 45, "name": "oil"}]
    rows[3]["capacity"] = 3
    orders = []
    for j in range(jobs):
        operations = []
        for k, m in enumerate(rng.permutation(machines)):
            options = {int(m): int(rng.integers(3, 15))}
            if rng.random() < 0.4 and m != 3:
                options[int(rng.integers(3))] = int(rng.integers(3, 15))
            if 3 in options:
                options = {3: 12}
            step: dict[str, Any] = {
                "durations": {f"M{m}": d for m, d in options.items()},
                "lag": int(rng.integers(0, 4)) if k < machines - 1 else 0,
                "family": str(rng.choice(FAMILIES)),
                "interruptible": bool(rng.random() < 0.4),
            }
            if 3 in options:
                step |= {"batch": str(rng.choice(["hot", "cold"])), "family": "", "size": int(rng.integers(1, 3))}
            elif rng.random() < 0.5:
                step["operators"] = {"fitters": int(rng.integers(1, 3))}
            operations.append(step)
        release = int(rng.integers(0, 20))
        orders.append(
            {
                "name": f"J{j}",
                "operations": operations,
                "release": release,
                "due": release + int(rng.integers(60, 140)),
                "weight": int(rng.integers(1, 4)),
            }
        )
    fields: dict[str, Any] = {
        "machines": rows,
        "operators": [{"name": "fitters", "count": 2, "breaks": [{"start": 50, "end": 55, "every": 100}]}],
        "jobs": orders,
        "objective": {"makespan": 2, "tardiness": 3, "flow": 1, "setups": 1},
    }
    return Problem.model_validate(fields | parts)
