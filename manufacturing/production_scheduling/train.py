"""From shop-floor history to a bundle: quantiles of processing times, their calibration, and a dispatching policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.bundle import Bundle, save_bundle
from common.config import Strict
from common.data.split import check_split
from common.evaluation.stability import reference_histogram
from common.files import sha256
from manufacturing.production_scheduling import SYSTEM
from manufacturing.production_scheduling.config import Config
from manufacturing.production_scheduling.durations import Attributes, Context, Durations, MachineState, file_of
from manufacturing.production_scheduling.history import History, load, split
from manufacturing.production_scheduling.learn_policy import learn_policy
from manufacturing.production_scheduling.policy import FILE, Policy
from manufacturing.production_scheduling.problem import (
    Job,
    Machine,
    Objective,
    Operation,
    Problem,
    Window,
)
from manufacturing.production_scheduling.quantiles import (
    baselines,
    covered,
    fit_durations,
    pinball,
    predicted,
)

EXAMPLE_JOBS, EXAMPLE_STEPS = 4, 3
DAY = 24 * 60
"""Minutes."""


def train(config: Config) -> Bundle:
    """Load, split by time, fit, calibrate, learn to dispatch, and save; the last weeks are not looked at."""
    if (path := Path(config.dataset).expanduser()).is_file():
        config = config.model_copy(update={"dataset": str(path.resolve())})  # so that it is found when it is evaluated
    parts = split(load(config), config)
    check_parts(parts)
    durations, texts, rounds = fit_durations(config.quantiles, parts, config.minutes_per_unit, config.seed)
    policy, learnt = learn_policy(config.policy, config.seed)
    metrics = measured(parts, durations) | {"trees": sum(rounds)} | learnt
    return _save(config, parts, durations, texts, policy, metrics)


def check_parts(parts: Mapping[str, History]) -> None:
    """Raise `AuditError` when a part does not end before the next begins, or shares an operation with it."""
    import pandas as pd

    keys = ("job", "operation", "machine", "start", "end")
    frames = {name: pd.DataFrame({key: getattr(part, key) for key in keys}) for name, part in parts.items()}
    check_split(frames, features=["job", "operation", "machine", "start"], time="end")


def measured(parts: Mapping[str, History], durations: Durations) -> dict[str, float]:
    """On the stop weeks, from which neither a tree nor an offset has learnt, only when to stop."""
    stop = parts["stop"]
    ratio, found = stop.ratio, predicted(durations, stop)
    rival = baselines({"train": parts["train"]}, stop, durations.levels)["historical mean"]
    own = pinball(ratio, found, durations.levels).mean()
    return {
        "valid_pinball": float(own),
        "valid_pinball_ratio": float(own / pinball(ratio, rival, durations.levels).mean()),
        "valid_coverage80": float(covered(ratio, found, durations.levels).mean()),
    }


def row_ids(history: History) -> bytes:
    """The ids of a part."""
    rows = zip(history.job, history.operation, history.start.tolist(), strict=True)
    return "\n".join(f"{job} {operation} {start}" for job, operation, start in rows).encode()


def _save(
    config: Config,
    parts: Mapping[str, History],
    durations: Durations,
    texts: Mapping[float, str],
    policy: Policy,
    metrics: Mapping[str, Any],
) -> Bundle:
    history = parts["calibration"]
    simulated = "processing times of a simulated plant: train on the history of your own before you rely on a risk"
    return save_bundle(
        SYSTEM,
        config,
        arrays={
            "durations.safetensors": {"offset": durations.offset, "shared": durations.shared},
            FILE: policy.arrays(),
        },
        files={file_of(level): text.encode() for level, text in texts.items()},
        preprocess={
            "durations": {
                "levels": durations.levels.tolist(),
                "effects": durations.effects,
                "minutes_per_unit": config.minutes_per_unit,
            },
            "draws": config.draws,
            "risk": config.risk,
        },
        metrics=metrics,
        data={
            "cards": [
                {"id": history.dataset, "title": history.title, "licence": history.licence, "sha256": history.sha256}
            ],
            "simulated": history.simulated,
            "split": f"by time, the last {config.test_weeks} weeks tested, {config.calibration_weeks} before them "
            f"calibrate, {config.stop_weeks} before these stop the boosting; "
            + ", ".join(f"{name} {len(part):,}" for name, part in parts.items()),
            "test_rows_sha256": sha256(row_ids(parts["test"])),
            "notes": [simulated] if history.simulated else [],
        },
        reference=reference_of(history),
        examples=examples_of(parts["train"]),
    )


def reference_of(history: History) -> dict[str, Any]:
    """Histograms for the monitor: ratios, planned minutes and quantities of the calibration weeks."""
    shown = {"ratio": history.ratio, "planned": history.planned}
    if np.isfinite(history.quantity).any():
        shown["quantity"] = history.quantity
    return {name: reference_histogram(values) | {"range": [0.0, None]} for name, values in shown.items()}


def examples_of(history: History) -> list[dict[str, Any]]:
    """Requests: a small plant with the history's last operations, planned in several ways."""
    last = history.rows(slice(-EXAMPLE_JOBS * EXAMPLE_STEPS, None))
    names = list(dict.fromkeys(last.machine))
    plain, orders, known = [], [], {}
    for number in range(EXAMPLE_JOBS):
        rows = last.rows(slice(number * EXAMPLE_STEPS, (number + 1) * EXAMPLE_STEPS))
        name = f"order {number + 1}"
        steps = tuple(
            Operation(durations={machine: max(1, round(float(planned)))}, family=family)
            for machine, planned, family in zip(rows.machine, rows.planned, rows.family, strict=True)
        )
        plain.append(Job(name=name, operations=steps))
        going_on = tuple(step.model_copy(update={"interruptible": True, "lag": 10}) for step in steps)
        orders.append(
            Job(name=name, operations=going_on, release=60 * number, due=DAY + 240 * number, weight=1 + number)
        )
        known[name] = {str(place + 1): _attributes(rows, place) for place in range(len(rows))}
    shop = Problem(name="job shop", machines=tuple(Machine(name=name) for name in names), jobs=tuple(plain))
    context = Context(machines={names[0]: MachineState(hours_since_maintenance=12.0)}, operations=known)
    requests: list[dict[str, Any]] = [
        {"problem": _small_plant(names, orders)},
        {"problem": shop, "method": "policy"},
        {"problem": shop, "method": "mwkr"},
        {"problem": shop, "method": "policy", "context": context},
        {"problem": shop, "method": "policy", "context": context, "risk": 0.1},
    ]
    return [
        {
            key: value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, Strict) else value
            for key, value in request.items()
        }
        for request in requests
    ]


def _small_plant(names: list[str], orders: list[Job]) -> Problem:
    """Two shifts with a break, setups on the first machine, maintenance on the last, and the orders' due dates."""
    families = sorted({step.family for order in orders for step in order.operations} - {""})
    shifts, lunch = Window(start=360, end=1320, every=DAY), Window(start=720, end=750, every=DAY, name="lunch")
    machines = [Machine(name=name, calendar=(shifts,), breaks=(lunch,)) for name in names]
    setups = {before: {after: 20 for after in families if after != before} for before in families}
    machines[0] = machines[0].model_copy(update={"setups": setups, "initial_family": families[0] if families else ""})
    service = Window(start=900, end=1020, name="service")
    machines[-1] = machines[-1].model_copy(update={"maintenance": (service,)})
    objective = Objective(makespan=1, tardiness=5)
    return Problem(name="small plant", machines=tuple(machines), jobs=tuple(orders), objective=objective)


def _attributes(rows: History, place: int) -> Attributes:
    quantity, experience = float(rows.quantity[place]), float(rows.experience[place])
    return Attributes(
        quantity=quantity if quantity > 0 else None,
        operator=rows.operator[place],
        experience=experience if experience >= 0 else None,
        shift=rows.shift[place],
    )
