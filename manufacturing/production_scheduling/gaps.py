"""Measured gaps: ours, plain CP-SAT with the same limit and cores, and the best dispatching rule, instance by instance.

Every run is kept in the house's cache as soon as it has ended, by instance, limit, cores, seed and the code of the
solver: a benchmark of hours that is cut goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np

from common.config import Strict, settings
from common.data.card import load_card
from common.data.fetch import data_sha256
from common.evaluation.report import Metric, Published, Report, Seconds, Slice
from common.files import sha256, write_whole
from common.progress import bar
from common.provenance import commit, machine, peak_rss_mb
from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.data import BRANDIMARTE, CLASSIC, TAILLARD, bounds, instances, load
from manufacturing.production_scheduling.dispatch import best_of
from manufacturing.production_scheduling.jobshop import warm
from manufacturing.production_scheduling.shop import Shop
from manufacturing.production_scheduling.solve import solve

ROOM = "manufacturing.production_scheduling"
PROTOCOLS = {CLASSIC: CLASSIC, BRANDIMARTE: BRANDIMARTE, TAILLARD: "taillard"}
"""Data sets and what their rows are called."""
Method = Literal["ours", "cp-sat", "dispatching"]
SOLVER = ("bounds", "checker", "dispatch", "jobshop", "kernels", "lns", "model", "prove", "search", "shop", "solve")
"""Modules whose change makes kept runs out of date."""


class Run(Strict):
    """One instance, solved once."""

    instance: str
    method: Method
    objective: int | None
    bound: int
    status: str
    seconds: float
    first_seconds: float | None
    """When the first plan was there."""
    first_objective: int | None


def run(dataset: str, instance: str, method: Method, seconds: float, workers: int, seed: int = 0) -> Run:
    """Solve an instance, or take the run that is kept; the plan is checked in either case before it counts."""
    place = _place(dataset, instance, method, seconds, workers, seed)
    if place.is_file():
        return Run.model_validate_json(place.read_bytes())
    problem = load(dataset, instance)
    if method == "dispatching":
        began = time.perf_counter()
        found = best_of(Shop(problem), 60.0)
        spent = time.perf_counter() - began
        value = found[1] if found else None
        one = Run(
            instance=instance,
            method=method,
            objective=value,
            bound=0,
            status="feasible",
            seconds=spent,
            first_seconds=spent,
            first_objective=value,
        )
    else:
        result = solve(problem, seconds, workers, seed=seed, only="cp-sat" if method == "cp-sat" else None)
        if result.schedule is not None and not check(problem, result.schedule).feasible:
            raise AssertionError(f"{instance}: the plan of {method} is not feasible")
        plans = [step for step in result.history if step.objective is not None]
        one = Run(
            instance=instance,
            method=method,
            objective=result.objective,
            bound=result.bound,
            status=result.status,
            seconds=result.seconds,
            first_seconds=plans[0].seconds if plans else None,
            first_objective=plans[0].objective if plans else None,
        )
    write_whole(place, one.model_dump_json() + "\n")
    return one


def measure_all(
    datasets: Sequence[str],
    preset: str,
    *,
    seconds: float = 60.0,
    workers: int = 2,
    seed: int = 0,
    only: Callable[[str], bool] = lambda instance: True,
) -> list[Report]:
    """A report for each data set: `gap` to the best known upper bound, or `makespan` where the bounds are held out."""
    warm()
    names = {dataset: [name for name in instances(dataset) if only(name)] for dataset in datasets}
    reports = []
    with bar("instances", sum(len(some) for some in names.values())) as advance:
        for dataset, some in names.items():
            rows = []
            for name in some:
                methods: tuple[Method, ...] = ("dispatching", "cp-sat", "ours")
                rows.append({method: run(dataset, name, method, seconds, workers, seed) for method in methods})
                advance(1, name)
            reports.append(_report(dataset, preset, rows, seconds))
    return reports


def gap(run: Run, best: int) -> float:
    """(makespan - best known) / best known; 1 where no plan was found."""
    return 1.0 if run.objective is None else (run.objective - best) / best


def _report(dataset: str, preset: str, rows: list[dict[Method, Run]], limit: float) -> Report:
    known = bounds(dataset)
    card = load_card(dataset)

    def values(method: Method) -> dict[str, list[float]]:
        runs = [row[method] for row in rows]
        if known:
            found = {"gap": [gap(one, known[one.instance][1]) for one in runs]}
        else:
            found = {"makespan": [float(one.objective or 0) for one in runs]}
        if method != "dispatching":
            found["optimal"] = [float(one.status == "optimal") for one in runs]
            found["gap_to_bound"] = [1 - one.bound / one.objective if one.objective else 1.0 for one in runs]
        if method == "ours":
            found["first_seconds"] = [one.first_seconds or limit for one in runs]
        return found

    ours = values("ours")
    slices = []
    for row in rows:
        one, plain = row["ours"], row["cp-sat"]
        figures: dict[str, float] = {
            "makespan": one.objective or 0,
            "bound": one.bound,
            "makespan_cp_sat": plain.objective or 0,
        }
        if known:
            figures |= {"gap": gap(one, known[one.instance][1]), "gap_cp_sat": gap(plain, known[one.instance][1])}
        slices.append(Slice(name="instance", group=one.instance, metrics={k: _point(v) for k, v in figures.items()}))
    return Report(
        system=ROOM,
        preset=preset,
        dataset=PROTOCOLS[dataset],
        protocol=f"{limit:g}s",
        simulated=False,
        data_sha256=data_sha256(card),
        metrics={name: _mean(some) for name, some in ours.items()},
        floor={name: fmean(some) for name, some in values("dispatching").items()},
        baselines={"CP-SAT as it comes": {name: fmean(some) for name, some in values("cp-sat").items()}},
        published=[Published(**entry.model_dump()) for entry in card.published if entry.metric in ours],
        slices=slices,
        seconds=Seconds(data=0.0, train=0.0, evaluate=sum(one.seconds for row in rows for one in row.values())),
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )


def _mean(values: list[float]) -> Metric:
    """The mean over instances with a 95 % bootstrap interval over them, seed 0."""
    some = np.asarray(values)
    draws = np.random.default_rng(0).choice(some, (2_000, len(some))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Metric(value=float(some.mean()), low=float(low), high=float(high), n=len(some))


def _point(value: float) -> Metric:
    return Metric(value=float(value), low=float(value), high=float(value), n=1)


def _place(dataset: str, instance: str, method: str, seconds: float, workers: int, seed: int) -> Path:
    """Where a run is kept: the name has a fingerprint of all that the result depends on."""
    folder = Path(__file__).parent
    code = [sha256(folder / f"{name}.py") for name in SOLVER]
    told = json.dumps([dataset, instance, method, seconds, workers, seed, machine(), code])
    return settings().home / "runs" / ROOM / f"{instance}-{method}-{sha256(told.encode())[:16]}.json"
