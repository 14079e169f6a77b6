"""What requests and answers look like: the types of the routes and of the work in jobs. No solver is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.config import Strict
from manufacturing.production_scheduling.durations import Context
from manufacturing.production_scheduling.events import Event
from manufacturing.production_scheduling.problem import Problem, Schedule

Method = Literal["best", "policy", "mwkr", "spt", "atc", "edd", "fifo", "setup"]
Status = Literal["optimal", "feasible", "infeasible", "unknown"]
Figures = dict[str, int]

METHOD: Any = Field("best", description="Method: the best of all, the learnt policy, or a rule")
CONTEXT: Any = Field(None, description="Context: what processing times depend on")
RISK: Any = Field(None, ge=0.01, le=0.5, description="Risk: probability of ending later than planned, at most")


class _WithProblem(Strict):
    problem: Problem = Field(description="Problem: machines, operators, jobs, objective, running plan")


class _Informed(_WithProblem):
    context: Context | None = CONTEXT
    risk: float | None = RISK

    @model_validator(mode="after")
    def _context_fits(self) -> Self:
        if self.context is not None:
            self.context.check(self.problem)
        return self


class Request(_Informed):
    """A problem to plan at once, by dispatching."""

    method: Method = METHOD


class SolveRequest(_Informed):
    """A problem to plan for a while: the longer, the better the plan and the closer its bound."""

    seconds: float = Field(30.0, gt=0, le=600, description="how long to search; it ends early when the plan is optimal")
    seed: int = Field(0, ge=0, le=2**31 - 1)


class _WithPlan(_WithProblem):
    schedule: Schedule = Field(description="The plan, as an answer had it")


class CheckRequest(_WithPlan):
    """A plan from anywhere, to be checked."""


class ExplainRequest(_WithProblem):
    """A plan to be explained or, without one, the question why there is none."""

    schedule: Schedule | None = Field(None, description="null: why is there no plan?")
    jobs: list[str] = Field([], max_length=200, description="whose delay is explained; empty: those that are late")
    seconds: float = Field(10.0, gt=0, le=60, description="to look for a minimal conflict")

    @model_validator(mode="after")
    def _jobs_exist(self) -> Self:
        for name in self.jobs:
            if name not in self.problem.job:
                raise ValueError(f"there is no job {name!r} in the problem")
        return self


class RepairRequest(_WithPlan):
    """A running plan and what has happened."""

    events: list[Event] = Field(min_length=1, max_length=1000)
    now: int = Field(ge=0, description="what starts before now + frozen stays")
    frozen: int = Field(0, ge=0, description="length of the frozen horizon")
    most_moved: float = Field(0.2, gt=0, le=1, description="share of the operations that may move, if that is possible")
    seconds: float = Field(2.5, gt=0, le=60)


class WhatIfRequest(_WithProblem):
    """Two problems to be planned with the same limit and compared."""

    changed: Problem = Field(description="the problem as it would be: another machine, a longer shift, one more order")
    seconds: float = Field(5.0, gt=0, le=30, description="for each of the two")


class OperationTime(BaseModel):
    """Quantiles of the working time of an operation on its machine, in time units."""

    job: str
    operation: str
    machine: str
    q10: float
    q50: float
    q90: float


class Risk(BaseModel):
    """What a robust plan promises, and what a simulation of it with other random times showed."""

    promised: float = Field(description="probability of ending later than the plan says, at most")
    achieved: float = Field(description="share of simulated runs that did")
    low: float
    high: float = Field(description="95 % interval of `achieved`")
    level: float = Field(description="the quantile of processing times that the plan counts with")
    makespan_q10: float
    makespan_q50: float
    makespan_q90: float
    late: dict[str, float] = Field(description="probability of each job to miss its due date")
    draws: int


class Plan(BaseModel):
    """A plan, checked, and what is known of it."""

    model_config = ConfigDict(protected_namespaces=())

    status: Status = Field(description="optimal: no plan is better; infeasible: proven that there is none")
    objective: int | None = Field(description="null: no plan was found")
    bound: int = Field(description="no plan can be below it")
    gap: float | None = Field(description="(objective - bound) / objective: too bad by this share at most")
    figures: Figures = Field(description="makespan, tardiness, flow, setups, changes, late")
    schedule: Schedule | None = Field(json_schema_extra={"x-espalier-view": "gantt"})
    method: str = Field(description="who found it")
    late: Figures = Field(description="jobs after their due date, and by how much")
    times: list[OperationTime] = Field([], description="with `context` or `risk`")
    risk: Risk | None = Field(None, description="with `risk`")
    problem: Problem | None = Field(None, description="as it was planned: with `risk`, durations have a reserve")
    sentences: list[str] = Field(description="what to know about it")
    model: str = Field(description="version of the bundle that answered")
    simulated: bool = Field(description="true: processing times and policy were learnt on a simulated plant")


class Solved(Plan):
    """The result of a search."""

    seconds: float = Field(description="that the search took")
    history: list[Step] = Field([], description="how the plan and its bound became better")


class Step(BaseModel):
    """One step of a search."""

    seconds: float
    objective: int | None
    bound: int
    gap: float | None
    source: str = Field(description="who found it")


class Checked(BaseModel):
    """What the checker, which shares no code with the solver, says of a plan."""

    feasible: bool
    violations: list[str] = Field(description="sentences that name the job, the machine and the conflict")
    figures: Figures
    objective: int


class Link(BaseModel):
    """An operation of the critical path, and why it starts no earlier."""

    job: str
    operation: str
    machine: str
    start: int
    end: int
    cause: str
    sentence: str


class Use(BaseModel):
    """How busy a machine or pool is."""

    name: str
    kind: Literal["machine", "operators"]
    busy: int
    open: int
    critical: int = Field(description="time units on the critical path")
    utilisation: float


class Delay(BaseModel):
    """Why a job ends when it does."""

    job: str
    end: int
    due: int | None
    late: int | None
    earliest_end: int = Field(description="on free machines")
    waits: Figures = Field(description="time units by what it waits for")
    sentences: list[str]


class Conflict(BaseModel):
    """Constraints of which not all can hold."""

    feasible: bool | None = Field(description="true: there is a plan; null: not known within the time")
    constraints: list[str]
    minimal: bool = Field(description="true: without any one of them there would be a plan")


class Explained(BaseModel):
    """A plan explained, or why there is none."""

    critical_path: list[Link] = []
    bottleneck: Use | None = None
    uses: list[Use] = []
    delays: list[Delay] = []
    conflict: Conflict | None = None
    sentences: list[str]


class Moved(BaseModel):
    """An operation that is elsewhere or at another time than before."""

    job: str
    operation: str


class Repaired(Solved):
    """The new plan; `problem` is the problem as it is now."""

    moved: list[Moved]
    share: float = Field(description="of the old plan's operations that moved")


class Pair(BaseModel):
    """A value in two plans."""

    before: int
    after: int


class Compared(BaseModel):
    """Two plans side by side."""

    before: Solved
    after: Solved
    figures: dict[str, Pair]
    ends: dict[str, Pair] = Field(description="of the jobs that end at another time")
    sentences: list[str]


class _Order(Strict):
    bundle: Path | None = Field(description="what was learnt; null: nothing")
    model: str
    simulated: bool


class SolveOrder(_Order):
    """A job: search."""

    kind: Literal["solve"] = "solve"
    ask: SolveRequest


class RepairOrder(_Order):
    """A job: repair."""

    kind: Literal["repair"] = "repair"
    ask: RepairRequest


class ExplainOrder(_Order):
    """A job: explain."""

    kind: Literal["explain"] = "explain"
    ask: ExplainRequest


class WhatIfOrder(_Order):
    """A job: compare."""

    kind: Literal["what-if"] = "what-if"
    ask: WhatIfRequest


Order = Annotated[SolveOrder | RepairOrder | ExplainOrder | WhatIfOrder, Field(discriminator="kind")]

Solved.model_rebuild()
