"""The brief of a project: what it is for and what it must reach, as `PLAN.md` and `acceptance.toml`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from common.bundle.acceptance import parse
from common.clone.git import Tree
from common.clone.records import Record

OPEN = "to be decided"
QUESTIONS = {
    "goal": "What is it for, in one sentence?",
    "users": "Who uses its answers?",
    "decision": "Which decision hangs on an answer, and who makes it?",
    "risk": "What is the worst that a wrong answer does, and to whom?",
    "data_owner": "Who owns the data, and may it be used for this?",
}
# What goes wrong in most projects of this kind; who starts one crosses out what cannot happen to him.
RISKS = (
    ("the label is not the outcome that matters", "write down how it comes about; sample and read 50 cases", "model"),
    (
        "fields that are not known yet when the decision is made",
        "`espalier data check`; ask the owner per field",
        "data",
    ),
    ("the population changes", "`espalier monitor`, alerts on drift, a date for the next training", "operations"),
    ("people follow the answer without a look", "show reasons; measure how often they decide otherwise", "product"),
    ("groups are treated unequally", "the report's fairness part, read before each promotion", "product"),
    ("answers stop", "the decision has a way without the service; runbook in docs/deploy.md", "operations"),
)


@dataclass(frozen=True)
class Brief:
    """What whoever starts a project should know; empty means not said yet."""

    goal: str = ""
    users: str = ""
    decision: str = ""
    risk: str = ""
    data_owner: str = ""
    accept: tuple[str, ...] = ()

    def checked(self) -> Brief:
        """Itself; raises `UsageError` when a threshold is not written as `auc >= 0.7`."""
        for threshold in self.accept:
            parse(threshold)
        return self


def ask(brief: Brief, systems: Sequence[Record], answer: Callable[[str, str], str]) -> Brief:
    """The brief with what is not said yet asked for; `answer(question, default)` may return the default."""
    said: dict[str, Any] = {
        field.name: answer(QUESTIONS[field.name], "")
        for field in fields(brief)
        if field.name in QUESTIONS and not getattr(brief, field.name)
    }
    if not brief.accept:
        known = ", ".join(dict.fromkeys(t for record in systems for t in record.acceptance))
        thresholds = answer("What must a model reach to be used? Thresholds such as auc >= 0.7, with commas", known)
        said["accept"] = tuple(part.strip() for part in thresholds.split(",") if part.strip())
    return replace(brief, **said).checked()


def acceptance_toml(brief: Brief, systems: Sequence[Record]) -> str:
    """The thresholds of each system: those of the brief, else the system's own."""
    lines = [
        "# What a model must reach: `espalier evaluate` fails when one is missed, and no such model is promoted.",
        "# A name is a metric of the bundle's metrics.json (valid_...: validation data) or of its report (test data).",
        "",
        "[thresholds]",
    ]
    for record in systems:
        thresholds = brief.accept or record.acceptance
        lines.append(f'"{record.name}" = {json.dumps(list(thresholds), ensure_ascii=False)}')
    return "\n".join(lines) + "\n"


def plan(name: str, brief: Brief, systems: Sequence[Record], tree: Tree) -> str:
    """Requirements, plan, data and risks, to be gone on with by people."""
    said = {field: getattr(brief, field) or OPEN for field in QUESTIONS}
    cards = {dataset: _card(tree, dataset) for record in systems for dataset in record.datasets}
    thresholds = [f"`{t}`" for record in systems for t in brief.accept or record.acceptance]
    return "\n".join(
        [
            f"# Plan of {name}",
            "",
            "## Requirements",
            "",
            f"- Goal: {said['goal']}",
            f"- Users: {said['users']}",
            f"- Decision: {said['decision']}",
            *(f"- System: `{record.name}`. {record.summary} ({record.task})" for record in systems),
            f"- Accepted when: {', '.join(dict.fromkeys(thresholds)) or OPEN}. In `acceptance.toml`; enforced.",
            "",
            "## Plan",
            "",
            *_steps(systems[0]),
            "",
            "## Data",
            "",
            f"Owner, and leave to use it: {said['data_owner']}.",
            "",
            "| data set | rows | licence | beware of |",
            "| --- | ---: | --- | --- |",
            *(_line(d, f"{c['rows']:,}", c["licence"], _pitfalls(d, c)) for d, c in cards.items()),
            _line("ours", OPEN, OPEN, OPEN),
            "",
            "## Risks",
            "",
            f"The worst that a wrong answer does: {said['risk']}.",
            "",
            "| risk | what we do | who |",
            "| --- | --- | --- |",
            *(
                _line(record.risk, f"read `{record.folder}/README.md`, part Risk; ask counsel", OPEN)
                for record in systems
            ),
            *(_line(risk, answer, f"{who}: {OPEN}") for risk, answer, who in RISKS),
            "",
        ]
    )


def _steps(record: Record) -> list[str]:
    return [
        "1. `make demo`: see it run on published data.",
        "2. `espalier data draft my.csv --target ... --positive ...`, then read and complete the card.",
        f"3. `espalier data check my-data`, then `espalier train {record.name} dataset=my-data`.",
        "4. `espalier evaluate`: read the whole report with whoever owns the decision.",
        "5. Serve it in the shadow, compare with today's decisions, then promote.",
        "6. `espalier monitor`, labels by `/v1/feedback`, a date for the next training.",
    ]


def _card(tree: Tree, dataset: str) -> Mapping[str, Any]:
    return tomllib.loads(tree[f"datasets/{dataset}/card.toml"].content.decode())


def _pitfalls(dataset: str, card: Mapping[str, Any]) -> str:
    first, *more = card.get("pitfalls") or ["nothing known"]
    return f"{first} And {len(more)} more: `datasets/{dataset}/card.toml`." if more else first


def _line(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
