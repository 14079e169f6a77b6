"""A problem in, a checked plan out: at once by dispatching; longer searches are jobs (`routes.py`).

Neither OR-Tools nor pandas, which OR-Tools brings, is imported here: solvers run in the processes of jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from common.bundle import Bundle
from common.errors import DataError, InvalidRequest
from manufacturing.production_scheduling.answers import Plan, Request
from manufacturing.production_scheduling.bounds import lower_bound
from manufacturing.production_scheduling.durations import Durations
from manufacturing.production_scheduling.instant import Instant, described, plan_at_once, risk_of, times_of
from manufacturing.production_scheduling.policy import Policy
from manufacturing.production_scheduling.readers import parse
from manufacturing.production_scheduling.robust import robust
from manufacturing.production_scheduling.shop import Shop

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import APIRouter

MOST_BYTES = 8 * 1024**2
"""Of a request: 10,000 operations with their running plan take 2 MB."""


class SchedulingPredictor:
    """Plans at once, the same way every time."""

    request = Request
    response = Plan
    body_bytes = MOST_BYTES
    deadline_s = 18.0  # SIGTERM waits 20 s; the largest problem takes 10
    inline = False

    def __init__(
        self,
        durations: Durations,
        policy: Policy,
        draws: int,
        version: str,
        simulated: bool,
        path: Path | None = None,
    ) -> None:
        self.durations, self.policy, self.draws = durations, policy, draws
        self.version, self.simulated, self.path = version, simulated, path

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """Build the predictor from a verified bundle."""
        manifest, kept = bundle.manifest, bundle.json("preprocess.json")
        learnt = Durations.of_bundle(bundle), Policy.of_bundle(bundle)
        return cls(*learnt, kept["draws"], manifest.version, manifest.simulated, bundle.path)

    def predict(self, batch: Sequence[Request]) -> list[Plan]:
        """Plans in the order of the batch. Raises `InvalidRequest` naming the field."""
        return [self.plan(request) for request in batch]

    def request_of(self, content: bytes) -> Request:
        """The request for an instance in a file: JSON, standard, Taillard or fjsp; raises `InvalidRequest`."""
        try:
            return Request(problem=parse(content.decode("utf-8-sig"), without_last_zeros=True))
        except UnicodeDecodeError:
            raise InvalidRequest("not a text file", expected="an instance as text or JSON in UTF-8") from None
        except DataError as error:
            raise InvalidRequest(error.what, where=error.where) from None

    suffixes = (".txt", ".json", ".jsp", ".jss", ".fjs", ".fjsp", ".dat", ".tai")
    """Names of files that may hold an instance."""

    def plan(self, request: Request) -> Plan:
        """One plan; raises `InvalidRequest`."""
        problem, policy, times, risk = request.problem, self.policy, None, None
        if request.context is not None or request.risk is not None:
            times = self.durations.quantiles(problem, request.context)
        if times is not None and request.risk is not None:
            found = robust(
                problem, times, request.risk, lambda eased: plan_at_once(eased, request.method, policy).schedule
            )
            problem, risk, instant = found.problem, risk_of(found), Instant(request.method, found.schedule, ())
        else:
            instant = plan_at_once(problem, request.method, policy)
        fields = described(problem, instant.schedule, lower_bound(Shop(problem)), instant.method, risk)
        if instant.schedule is None:
            fields["sentences"] = list(instant.violations)
        elif times is not None:
            fields["times"] = times_of(request.problem, instant.schedule, times)
        return Plan(**fields, model=self.version, simulated=self.simulated)

    @classmethod
    def routes(cls, predictor: Callable[[], SchedulingPredictor]) -> APIRouter:
        """`plans` (jobs), `check`, `explain`, `repair`, `what-if`, `read`."""
        from manufacturing.production_scheduling.routes import planning_routes

        return planning_routes(predictor)
