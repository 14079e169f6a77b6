"""From shop-floor history to a bundle: quantiles of processing times, their calibration, and a dispatching policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.bundle import Bundle, save_bundle
from common.data.split import check_split
from common.evaluation.stability import reference_histogram
from common.files import sha256
from manufacturing.production_scheduling import SYSTEM
from manufacturing.production_scheduling.config import Config
from manufacturing.production_scheduling.durations import Attributes, Context, Durations, MachineState, file_of
from manufacturing.production_scheduling.history import History, load, split
from manufacturing.production_scheduling.learn_policy import learn_policy
from manufacturing.production_scheduling.policy import FILE, Policy
from manufacturing.production_scheduling.problem import Job, Machine, Operation, Problem
from manufacturing.production_scheduling.quantiles import (
    baselines,
    covered,
    fit_durations,
    pinball,
    predicted,
)

EXAMPLE_JOBS, EXAMPLE_STEPS = 4, 3


def train(config: Config) -> Bundle:
    """Load, split by time, fit, calibrate, learn to dispatch, and save; the last weeks are not looked at."""
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
    """Requests: a job shop of the history's last operations, with and without what is known of them."""
    last = history.rows(slice(-EXAMPLE_JOBS * EXAMPLE_STEPS, None))
    names = list(dict.fromkeys(last.machine))
    jobs, known = [], {}
    for number in range(EXAMPLE_JOBS):
        rows = last.rows(slice(number * EXAMPLE_STEPS, (number + 1) * EXAMPLE_STEPS))
        steps = [
            Operation(durations={machine: max(1, round(float(planned)))}, family=family)
            for machine, planned, family in zip(rows.machine, rows.planned, rows.family, strict=True)
        ]
        jobs.append(Job(name=f"order {number + 1}", operations=tuple(steps)))
        known[jobs[-1].name] = {
            str(place + 1): Attributes(
                quantity=None if np.isnan(rows.quantity[place]) else float(rows.quantity[place]) or None,
                operator=rows.operator[place],
                experience=None if np.isnan(rows.experience[place]) else float(rows.experience[place]),
                shift=rows.shift[place],
            )
            for place in range(len(rows))
        }
    problem = Problem(name="example", machines=tuple(Machine(name=name) for name in names), jobs=tuple(jobs))
    states = {names[0]: MachineState(hours_since_maintenance=12.0)}
    context = Context(machines=states, operations=known).model_dump(mode="json", exclude_defaults=True)
    told = problem.model_dump(mode="json", exclude_defaults=True)
    return [
        {"problem": told, "method": "policy"},
        {"problem": told, "method": "mwkr"},
        {"problem": told, "method": "policy", "context": context},
        {"problem": told, "method": "policy", "context": context, "risk": 0.1},
    ]
