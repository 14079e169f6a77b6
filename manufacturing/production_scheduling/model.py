"""The CP-SAT model of the whole problem, or of a part of it around a plan.

Operations are intervals (Laborie, Rogerie, Shaw and Vilím, Constraints 23, 2018), alternatives optional ones that share
the start and end of their operation. Working time needs no extra intervals: where a calendar leaves an operation only
certain starts, these are its domain, and an interruptible one gets a literal for each piece of its starts over which
its elapsed time is the same. Machines with setups are circuits of literals, batch machines pairs of them.

`neighbourhood` frees some operations of a plan and keeps, of the others, machines and the order on each machine but not
times (Godard, Laborie and Nuijten, ICAPS 2005). It is over 300 lines because it is one model.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Any

from ortools.sat.python import cp_model

from manufacturing.production_scheduling.bounds import earliest_starts
from manufacturing.production_scheduling.shop import NEVER, Placed, Plan, Shop, Step, Timeline

Literal = Any
"""A Boolean variable of the model, or True where there is no choice."""
MOST_ARCS = 150_000
"""Pairs of operations on machines with setups or batches above which the whole model is not built."""


@dataclass
class Built:
    """A model and its variables: start, end and the machines' literals of each operation, figures of the objective."""

    model: cp_model.CpModel
    shop: Shop
    held: dict[int, Placed]
    start: list[Any] = field(default_factory=list)
    end: list[Any] = field(default_factory=list)
    on: list[dict[int, Literal]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    objective: Any = None

    def plan(self, value: Any) -> Plan:
        """The plan of a solution; `value` gives the value of an expression (of a solver or a callback)."""
        found = []
        for start, end, on in zip(self.start, self.end, self.on, strict=True):
            machine = next(m for m, literal in on.items() if literal is True or value(literal))
            found.append((machine, int(value(start)), int(value(end))))
        return found

    def hint(self, plan: Plan) -> None:
        """Tell the solver a plan to begin with."""
        self.model.clear_hints()
        for o, (machine, start, end) in enumerate(plan):
            if not isinstance(self.start[o], int):
                self.model.add_hint(self.start[o], start)
            if isinstance(self.end[o], cp_model.IntVar):
                self.model.add_hint(self.end[o], end)
            for other, literal in self.on[o].items():
                if literal is not True:
                    self.model.add_hint(literal, other == machine)


def arcs(shop: Shop) -> int:
    """How many pairs of operations the whole model has on machines with setups or batches."""
    counts = [0] * len(shop.machines)
    for step in shop.steps:
        for machine in step.options:
            counts[machine] += 1
    pairs = zip(counts, shop.machines, strict=True)
    return sum(count * count for count, machine in pairs if machine.setups or machine.capacity > 1)


def build(
    shop: Shop,
    *,
    horizon: int,
    lower: int = 0,
    upper: int | None = None,
    plan: Plan | None = None,
    free: Collection[int] | None = None,
    slack: int = NEVER,
    hold: Mapping[int, Placed] | None = None,
) -> Built:
    """The model of plans that end by `horizon`, with an objective from `lower` to `upper`.

    With `plan` and `free`, operations outside `free` keep their machine, and their order on it among themselves, and
    start at most `slack` before or after their start in the plan. Operations in `hold` are where it says.
    """
    built = Built(cp_model.CpModel(), shop, {**(hold or {}), **shop.frozen})
    heads, tails = earliest_starts(shop), shop.tails()
    keep = plan if plan is not None and free is not None else None
    fixed = set() if keep is None else set(range(len(shop))) - set(free or ())
    intervals: list[list[tuple[int, Any, Literal]]] = [[] for _ in shop.machines]
    whole: list[Any] = []
    for step in shop.steps:
        o = step.number
        only = keep[o][0] if keep is not None and o in fixed else None
        low, high = heads[o], horizon - tails[o]
        if keep is not None and o in fixed:
            low, high = max(low, keep[o][1] - slack), min(high, keep[o][1] + slack)
        whole.append(_operation(built, step, low, high, horizon, only, intervals))
        for other in step.before:
            if o in built.held and other in built.held:
                continue
            built.model.add(built.start[o] >= built.end[other] + shop.steps[other].lag)
    for machine, rows in enumerate(intervals):
        _machine(built, machine, rows, keep, fixed)
    for pool, one in enumerate(shop.pools):
        using = [(o, dict(shop.steps[o].pools)[pool]) for o in range(len(shop)) if pool in dict(shop.steps[o].pools)]
        if sum(count for _, count in using) > one.count:
            built.model.add_cumulative([whole[o] for o, _ in using], [count for _, count in using], one.count)
    _objective(built, horizon, lower, upper)
    return built


def solver(seconds: float, workers: int, seed: int, *, plain: bool = False, linear: int = 0) -> cp_model.CpSolver:
    """CP-SAT with our settings, or as it comes if `plain`; `linear` is the level of linear relaxations of one worker.

    To prove that ft10 has no plan better than 930 takes one worker 4 s with them, 12 s without the two settings for
    machines, and over 40 s as CP-SAT comes; la24 4 s, 21 s, over 40 s. Level 0 is best where there are no alternatives;
    level 2 proves mk05 in 2 s, and 188 for mk10, where the others stay at 127 and 181 for 12 s.
    """
    made = cp_model.CpSolver()
    made.parameters.max_time_in_seconds = max(seconds, 0.01)
    made.parameters.num_workers = workers
    made.parameters.random_seed = seed
    if not plain:
        made.parameters.use_dynamic_precedence_in_disjunctive = True
        made.parameters.use_strong_propagation_in_disjunctive = True
        if workers == 1:
            made.parameters.linearization_level = linear
    return made


def _operation(
    built: Built, step: Step, low: int, high: int, horizon: int, only: int | None, intervals: list[list[Any]]
) -> Any:
    """Variables of one operation; returns its interval, whichever the machine."""
    model, shop, o = built.model, built.shop, step.number
    start: Any
    end: Any
    if o in built.held:
        machine, start, end = built.held[o]
        interval = model.new_fixed_size_interval_var(start, end - start, f"o{o}")
        built.start.append(start)
        built.end.append(end)
        built.on.append({machine: True})
        intervals[machine].append((o, interval, True))
        return interval
    job = shop.jobs[step.job]
    if job.deadline is not None:
        high = min(high, job.deadline - step.shortest)
    options = {m: d for m, d in step.options.items() if only is None or m == only}
    pieces = {m: _pieces(shop.timeline(step, m), d, step.interruptible, low, high) for m, d in options.items()}
    domain = cp_model.Domain.from_intervals([piece[:2] for some in pieces.values() for piece in some])
    if domain.is_empty():
        model.add_bool_or([])
        domain = cp_model.Domain(low, low)
    start = model.new_int_var_from_domain(domain, f"s{o}")
    sizes = {piece[2] for some in pieces.values() for piece in some}
    if len(sizes) == 1:
        size: Any = sizes.pop()
        end = start + size
        whole = model.new_fixed_size_interval_var(start, size, f"o{o}")
    else:
        size = model.new_int_var(min(sizes, default=0), max(sizes, default=0), f"d{o}")
        end = model.new_int_var(low, horizon if job.deadline is None else min(horizon, job.deadline), f"e{o}")
        whole = model.new_interval_var(start, size, end, f"o{o}")
    built.start.append(start)
    built.end.append(end)
    literals: dict[int, Literal] = dict.fromkeys(options, True)
    if len(options) > 1:
        literals = {m: model.new_bool_var(f"o{o}m{m}") for m in options}
        model.add_exactly_one(literals.values())
    built.on.append(literals)
    for machine, literal in literals.items():
        some = pieces[machine]
        enforce = [] if literal is True else [literal]
        sizes = {piece[2] for piece in some}
        if literal is not True:
            spans = cp_model.Domain.from_intervals([piece[:2] for piece in some])
            model.add_linear_expression_in_domain(start, spans).only_enforce_if(literal)
        if len(sizes) > 1:
            chosen = [model.new_bool_var(f"o{o}m{machine}p{index}") for index in range(len(some))]
            model.add_exactly_one(chosen).only_enforce_if(enforce) if enforce else model.add_exactly_one(chosen)
            for (first, last, elapsed), one in zip(some, chosen, strict=True):
                model.add_linear_constraint(start, first, last).only_enforce_if(one, *enforce)
                model.add(size == elapsed).only_enforce_if(one, *enforce)
        fixed = sizes.pop() if len(sizes) == 1 else None
        if literal is True:
            interval = whole
        elif fixed is not None:
            interval = model.new_optional_interval_var(start, fixed, end, literal, f"o{o}m{machine}i")
        else:
            interval = model.new_optional_interval_var(start, size, end, literal, f"o{o}m{machine}i")
        intervals[machine].append((o, interval, literal))
    return whole


def _pieces(timeline: Timeline, duration: int, interruptible: bool, low: int, high: int) -> list[tuple[int, int, int]]:
    """(first start, last start, elapsed time): all starts from `low` to `high`, by elapsed time."""
    if timeline.always:
        return [(low, high, duration)] if low <= high else []
    found: list[tuple[int, int, int]] = []
    at = low
    while at <= high and (fitted := timeline.fit(at, duration, interruptible)) is not None:
        start, end = fitted
        if start > high:
            break
        closed, blocked = timeline.spans(end + 1)
        last = high
        for spans in (closed, blocked):
            if (index := bisect_right(spans, (start, 2**60))) < len(spans):
                last = min(last, spans[index][0] - 1)
            if (index := bisect_left(spans, (end, 0))) < len(spans):
                last = min(last, start + spans[index][0] - end)
        last = max(start, last)
        if not interruptible and found and found[-1][1] == start - 1:
            found[-1] = found[-1][0], last, duration
        else:
            found.append((start, last, end - start))
        at = last + 1
    return found


def _machine(built: Built, machine: int, rows: list[Any], keep: Plan | None, fixed: set[int]) -> None:
    """One thing at a time, setups, batches; the kept order of operations outside the neighbourhood."""
    one = built.shop.machines[machine]
    if len(rows) > 1 and one.capacity == 1:
        built.model.add_no_overlap([interval for _, interval, _ in rows])
    known = keep if keep is not None else built.held
    kept = fixed if keep is not None else built.held.keys()
    chain = sorted((o for o, _, _ in rows if o in kept), key=lambda o: known[o][1:])
    if keep is not None:
        for a, b in pairwise(chain):
            if keep[a][1:] == keep[b][1:]:
                built.model.add(built.start[b] == built.start[a])
            else:
                built.model.add(built.start[b] >= built.end[a])
    if one.capacity > 1:
        _batches(built, machine, rows, chain)
    elif one.setups:
        _circuit(built, machine, rows, chain)


def _circuit(built: Built, machine: int, rows: list[Any], chain: list[int]) -> None:
    """A tour through the operations on a machine: an arc for each two that follow each other."""
    model, shop, one = built.model, built.shop, built.shop.machines[machine]
    follows = dict(pairwise(chain))
    place = {o: index for index, o in enumerate(chain)}
    loops: list[tuple[int, int, Literal]] = []
    cost: list[Any] = []
    empty = model.new_bool_var(f"m{machine}empty")
    loops.append((0, 0, empty))
    for i, (o, _, literal) in enumerate(rows, 1):
        if literal is not True:
            loops.append((i, i, ~literal))
        begins, ends = model.new_bool_var(""), model.new_bool_var("")
        loops += [(0, i, begins), (i, 0, ends)]
        time = one.setup(one.initial_family, shop.steps[o].family)
        if time:
            model.add(built.start[o] >= time).only_enforce_if(begins)
            cost.append(time * begins)
        for j, (other, _, _) in enumerate(rows, 1):
            if i == j or (o in place and other in place and follows.get(o) != other):
                continue
            arc = model.new_bool_var("")
            loops.append((i, j, arc))
            time = one.setup(shop.steps[o].family, shop.steps[other].family)
            model.add(built.start[other] >= built.end[o] + time).only_enforce_if(arc)
            if time:
                cost.append(time * arc)
    model.add_circuit(loops)
    built.figures["setups"] = built.figures.get("setups", 0) + sum(cost)


def _batches(built: Built, machine: int, rows: list[Any], chain: list[int]) -> None:
    """Two operations are in one batch, which starts and ends together, or one is behind the other."""
    follows, place = dict(pairwise(chain)), set(chain)
    model, shop, one = built.model, built.shop, built.shop.machines[machine]
    demands = []
    for o, _, literal in rows:
        time = one.setup(one.initial_family, shop.steps[o].family)
        if time and o not in built.held:
            condition = model.add(built.start[o] >= time)
            if literal is not True:
                condition.only_enforce_if(literal)
        demands.append(min(shop.steps[o].size, one.capacity) if shop.steps[o].batch else one.capacity)
    model.add_cumulative([interval for _, interval, _ in rows], demands, one.capacity)
    for (a, _, on_a), (b, _, on_b) in combinations(rows, 2):
        if a in place and b in place and follows.get(a) != b and follows.get(b) != a:
            continue
        first, second = shop.steps[a], shop.steps[b]
        there = [literal for literal in (on_a, on_b) if literal is not True]
        before, behind = model.new_bool_var(""), model.new_bool_var("")
        choices = [before, behind, *(~literal for literal in there)]
        for x, y, literal in ((a, b, before), (b, a, behind)):
            time = one.setup(shop.steps[x].family, shop.steps[y].family)
            model.add(built.start[y] >= built.end[x] + time).only_enforce_if(literal)
        if first.batch and first.batch == second.batch and first.family == second.family:
            together = model.new_bool_var("")
            model.add(built.start[a] == built.start[b]).only_enforce_if(together)
            model.add(built.end[a] == built.end[b]).only_enforce_if(together)
            choices.append(together)
        model.add_bool_or(choices)


def _objective(built: Built, horizon: int, lower: int, upper: int | None) -> None:
    model, shop = built.model, built.shop
    weights = shop.problem.objective.weights
    figures = built.figures
    lasts = [
        [o for o in range(shop.first[j], shop.first[j + 1]) if not shop.steps[o].after] for j in range(len(shop.jobs))
    ]
    if "makespan" in weights:
        top = horizon if upper is None else min(horizon, upper // weights["makespan"])
        figures["makespan"] = model.new_int_var(0, top, "makespan")
        for some in lasts:
            for o in some:
                model.add(figures["makespan"] >= built.end[o])
    if "tardiness" in weights or "flow" in weights:
        ends = [_latest(built, some, horizon) for some in lasts]
        late = []
        for job, end in zip(shop.jobs, ends, strict=True):
            if job.due is not None and job.weight and "tardiness" in weights:
                tardy = model.new_int_var(0, max(0, horizon - job.due), "")
                model.add(tardy >= end - job.due)
                late.append(job.weight * tardy)
        figures["tardiness"] = sum(late)
        figures["flow"] = sum(job.weight * (end - job.release) for job, end in zip(shop.jobs, ends, strict=True))
    if "changes" in weights:
        figures["changes"] = _changes(built)
    figures.setdefault("setups", 0)
    built.objective = sum(weight * figures[name] for name, weight in weights.items())
    if isinstance(built.objective, int):
        built.objective = model.new_constant(built.objective)
    if lower or upper is not None:
        model.add_linear_constraint(built.objective, lower, 2**60 if upper is None else upper)
    model.minimize(built.objective)


def _latest(built: Built, operations: Sequence[int], horizon: int) -> Any:
    if len(operations) == 1:
        return built.end[operations[0]]
    end = built.model.new_int_var(0, horizon, "")
    for o in operations:
        built.model.add(end >= built.end[o])
    return end


def _changes(built: Built) -> Any:
    """How many operations of the running plan are elsewhere or start at another time."""
    shop, model = built.shop, built.model
    assert shop.problem.plan is not None
    moved: list[Any] = []
    for key, old in shop.problem.plan.by_operation.items():
        o, machine = shop.number[key], shop.machine_number[old.machine]
        if o in shop.frozen:
            continue
        literal = built.on[o].get(machine)
        change = model.new_bool_var("")
        moved.append(change)
        if literal is None:
            model.add(change == 1)
            continue
        model.add(built.start[o] == old.start).only_enforce_if(~change)
        if literal is not True:
            model.add_implication(~change, literal)
    return sum(moved)
