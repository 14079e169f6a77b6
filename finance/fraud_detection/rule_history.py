"""Transactions of the past as rules see them, and what rules would have done there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from pydantic import Field

from common.config import Strict
from finance.fraud_detection.conditions import compile_condition
from finance.fraud_detection.definition import Definition
from finance.fraud_detection.ensemble import Inputs
from finance.fraud_detection.rules import SCORE, CompiledRules, RuleResult, RuleSet, Schema, backtest


class Backtest(Strict):
    """What rules would have done, on which transactions, and how far to trust it."""

    since: datetime = Field(description="first transaction")
    until: datetime = Field(description="last transaction")
    transactions: int
    labelled: int = Field(description="transactions whose label is known")
    frauds: int
    learned: int = Field(description="transactions the champion may have learned from, if a rule reads its score")
    simulated: bool
    notes: list[str] = Field(description="how far to trust it")
    rules: list[RuleResult]


@dataclass(frozen=True)
class Past:
    """Transactions as rules see them: what models see, `time` ms, `amount` minor units, `fraud` 1, 0 or -1
    for unknown, `learned` bool where the champion may have learned from it, `texts` of the fields that are texts (None
    where not known), all (n,); `score` gives the champion's of inputs."""

    definition: Definition
    inputs: Inputs
    time: np.ndarray
    amount: np.ndarray
    fraud: np.ndarray
    learned: np.ndarray
    texts: Mapping[str, np.ndarray]
    score: Callable[[Inputs], np.ndarray]
    simulated: bool

    def part(self, rows: np.ndarray) -> Past:
        """The transactions where a mask is true."""
        arrays = {name: getattr(self, name)[rows] for name in ("time", "amount", "fraud", "learned")}
        return replace(
            self,
            **arrays,
            inputs=self.inputs.part(rows),
            texts={name: values[rows] for name, values in self.texts.items()},
        )

    def column(self, field: str) -> np.ndarray:
        """A field of rules, (n,)."""
        if field == "score":
            return self.score(self.inputs)
        own: dict[str, np.ndarray] = {**self.texts, "amount": self.amount, "time": self.time}
        return own[field] if field in own else self.inputs.x[:, self.definition.names.index(field)]


def fields_of(ruleset: RuleSet, schema: Schema) -> dict[str, list[str]]:
    """The fields that each rule reads; raises `MalformedRule` for a rule or a list that does not fit the schema."""
    CompiledRules(ruleset, schema)
    full = {**schema, **SCORE}
    return {rule.name: list(compile_condition(rule.when, full, f"rule {rule.name!r}").fields) for rule in ruleset.rules}


def measure(ruleset: RuleSet, past: Past, fields: Mapping[str, list[str]], *notes: str) -> Backtest:
    """Every rule on transactions, of which there must be one; `fields` are those of `fields_of`."""
    columns = {name: past.column(name) for name in {name for some in fields.values() for name in some}}
    learned = int(past.learned.sum()) if "score" in columns else 0
    since, until = (datetime.fromtimestamp(int(ms) / 1000, UTC) for ms in (past.time.min(), past.time.max()))
    return Backtest(
        since=since,
        until=until,
        transactions=len(past.time),
        labelled=int((past.fraud >= 0).sum()),
        frauds=int((past.fraud == 1).sum()),
        learned=learned,
        simulated=past.simulated,
        notes=[
            *notes,
            *([f"score is optimistic on the {learned:,} that the champion may have learned from"] if learned else []),
            *(["block and allow lists are not measured: they say nothing of the past"] if ruleset.lists else []),
        ],
        rules=backtest(ruleset, columns, past.fraud, past.amount),
    )
