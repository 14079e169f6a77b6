"""Simulated customers: nothing breaks, and the counts would tell if it did."""

from __future__ import annotations

from typing import Any

import pytest

from finance.customer_service.bank import MemoryBank
from finance.customer_service.graph import FOLDER, load_tasks, tomllib
from finance.customer_service.simulate import Habits, main, simulate

CALM = Habits(digress=0, slip=0, nonsense=0, impostor=0, cancel=0, person=0, fault=0)
BAD = ("stuck", "unreached", "wrong_change", "twice", "leak")


def bad(counts: Any) -> dict[str, int]:
    return {name: counts[name] for name in BAD if counts[name]}


def test_calm_customers_all_reach_their_goals() -> None:
    counts = simulate(60, 1, habits=CALM)
    assert (counts["done"], counts["reached"], bad(counts)) == (60, 60, {})


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_unhappy_paths_end_well(seed: int) -> None:
    counts = simulate(200, seed)
    assert bad(counts) == {}
    assert counts["done"] + counts["handoff"] + counts["left"] == 200
    assert min(counts["done"], counts["handoff"], counts["left"]) > 10


def test_even_when_everything_fails() -> None:
    counts = simulate(100, 1, habits=Habits(fault=1, nonsense=0.3, digress=0.3))
    assert bad(counts) == {}


def test_impostors_get_nothing() -> None:
    counts = simulate(100, 1, habits=Habits(impostor=1))
    assert bad(counts) == {}


class Gullible(MemoryBank):
    """Takes any code."""

    def _verify_code(self, customer: str, account: str, birth: str, code: str) -> dict[str, str]:
        return {"customer": "c1"}


class Wilful(MemoryBank):
    """Changes something else."""

    def call(self, operation: str, arguments: Any, **more: Any) -> dict[str, str]:
        return super().call(operation, {**arguments, **({"amount": "1"} if "amount" in arguments else {})}, **more)


class Forgetful(MemoryBank):
    """Does everything twice."""

    def call(self, operation: str, arguments: Any, *, customer: str, key: str) -> dict[str, str]:
        if operation == "set_limit":
            super().call(operation, arguments, customer=customer, key=key + "again")
        return super().call(operation, arguments, customer=customer, key=key)


@pytest.mark.parametrize(
    ("bank", "habits", "told"),
    [
        (Gullible, Habits(impostor=1), {"leak"}),
        (Wilful, CALM, {"wrong_change", "unreached"}),
        (Forgetful, CALM, {"twice"}),
    ],
)
def test_what_goes_wrong_is_counted(bank: type[MemoryBank], habits: Habits, told: set[str]) -> None:
    assert bad(simulate(60, 1, habits=habits, bank=bank)).keys() == told


def test_a_task_that_never_ends_is_counted() -> None:
    graph = tomllib.loads((FOLDER / "exchange_rate.toml").read_text(encoding="utf-8"))
    graph["nodes"]["which"]["gave_up"] = "which"
    counts = simulate(60, 1, load_tasks(more={"exchange_rate": graph}), Habits(nonsense=1, cancel=0, person=0))
    assert counts["stuck"] > 0


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["50", "3"]) == 0
    assert capsys.readouterr().out.startswith("dialogues           50\n")
