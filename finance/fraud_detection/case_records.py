"""What the case queue keeps: its records, its tables, its errors. All times are milliseconds since 1970, UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from pydantic_core import from_json, to_json
from sqlalchemy import BigInteger, Column, Dialect, Float, Index, MetaData, String, Table, Text, TypeDecorator

from common.config import Strict
from common.errors import RequestError

EXAMPLE_ID = "tx-2018-08-08-000042"
"""The transaction that the examples in OpenAPI are about."""
INVESTIGATOR = "investigator"
"""The source of the labels that are verdicts."""
UNKNOWN = -1
DAYS = 14  # in a summary

Id = Annotated[str, Field(pattern=r"^[^/\x00-\x1f]{1,64}$", examples=[EXAMPLE_ID])]
Millis = Annotated[int, Field(ge=0, le=2**53, description="ms since 1970, UTC", examples=[1_533_700_000_000])]
Name = Annotated[str, Field(pattern=r"^[^\x00]{0,200}$")]
Person = Annotated[str, Field(pattern=r"^[^\x00-\x1f]{1,100}$", examples=["ann"])]
State = Literal["open", "assigned", "closed"]
Verdict = Literal["fraud", "legitimate", "unsure"]
FRAUD: Mapping[Verdict, int] = {"fraud": 1, "legitimate": 0, "unsure": UNKNOWN}


class QueueUnavailable(RequestError):
    """The database of the case queue does not answer."""

    status = 503


class UnknownCase(RequestError):
    """No alert was raised for this transaction."""

    status = 404


class CaseTaken(RequestError):
    """Somebody else has the case, or it is closed."""

    status = 409


class VerdictConflict(RequestError):
    """The case is closed with another verdict."""

    status = 409


class Alert(Strict):
    """A decision that a person should look at."""

    id: Id = Field(description="of the transaction, and of its case")
    time: Millis
    amount: int = Field(ge=0, le=2**53, description="minor units (cents)", examples=[25_990])
    currency: str = Field(pattern="^[A-Z]{3}$", examples=["EUR"])
    entities: dict[str, str] = Field(examples=[{"customer": "C123", "terminal": "T456"}])
    score: float = Field(ge=0, le=1, examples=[0.87])
    decision: Literal["approve", "review", "decline"] = Field(examples=["review"])
    rules: list[str] = Field([], description="rules that fired", examples=[["amount-over-220"]])
    reasons: list[dict[str, Any]] = Field([], examples=[[{"feature": "terminal_risk_7d", "value": 0.4}]])
    model: Name = Field(description="version of the bundle", examples=["20180801T000000-1a2b3c4"])
    rule_version: Name = Field("", examples=["7"])


class Case(Alert):
    """An alert, and what became of it."""

    priority: int = Field(description="expected loss, score x amount, in minor units", examples=[22_611])
    created: Millis
    state: State
    assignee: str | None = Field(description="who has it, or has decided it", examples=["ann"])
    verdict: Verdict | None
    verdict_time: Millis | None
    note: str = Field(examples=["card reported stolen"])


class Label(Strict):
    """What a transaction was; -1: unknown, as an investigator is unsure and nobody else has said anything."""

    transaction: Id
    fraud: int = Field(ge=-1, le=1, examples=[1])
    label_time: Millis = Field(description="when it became known")
    source: str = Field(pattern="^[a-z][a-z0-9_-]{0,39}$", examples=["chargeback"])


class Said(Label):
    """A label as it came: when, from whom (or which caller of the API), with which note."""

    received: Millis
    person: str
    note: str


class CaseFile(Case):
    """A case with all labels its transaction ever got, in the order they came."""

    labels: list[Said]


class Page(BaseModel):
    """Some cases, and where the next page begins (null: this is the last one)."""

    cases: list[Case]
    cursor: str | None


class Summary(BaseModel):
    """The queue in numbers; ages are of cases not closed, since their alert was raised."""

    open: int
    assigned: int
    closed: int
    oldest_s: float | None
    median_s: float | None
    alerts_per_day: dict[str, int] = Field(description=f"of the last {DAYS} days (UTC), today last")
    verdicts: dict[Verdict, int]
    precision: float | None = Field(description="verdicts of fraud among those of fraud and of legitimate")


class Json(TypeDecorator[Any]):
    """A value as JSON text: the same in both databases, NaN as null, U+0000 escaped."""

    impl, cache_ok = Text, True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """To the database."""
        return to_json(value, inf_nan_mode="null", serialize_unknown=True).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """From the database."""
        return from_json(value)


tables = MetaData()
cases = Table(
    "fraud_cases",
    tables,
    Column("id", String(64), primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in ("time", "amount", "priority", "created")),
    *(Column(name, Json, nullable=False) for name in ("entities", "rules", "reasons")),
    *(Column(name, String(200), nullable=False) for name in ("currency", "decision", "model", "rule_version", "state")),
    Column("score", Float(53), nullable=False),
    Column("assignee", String(100)),
    Column("verdict", String(10)),
    Column("verdict_time", BigInteger),
    Column("note", Text, nullable=False),
)
Index("ix_fraud_cases_queue", cases.c.state, cases.c.priority.desc(), cases.c.created, cases.c.id)
Index("ix_fraud_cases_time", cases.c.time, cases.c.id)
Index("ix_fraud_cases_created", cases.c.created)
known = Table(  # the label that holds, of every transaction that has one
    "fraud_labels",
    tables,
    Column("transaction", String(64), primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in ("fraud", "label_time", "received")),
    Column("source", String(40), nullable=False),
)
Index("ix_fraud_labels_time", known.c.label_time, known.c.transaction)
history = Table(  # all that was ever said; the key makes saying it again change nothing
    "fraud_label_history",
    tables,
    Column("transaction", String(64), primary_key=True),
    Column("source", String(40), primary_key=True),
    *(Column(name, BigInteger, primary_key=True) for name in ("label_time", "fraud")),
    Column("received", BigInteger, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("person", "note")),
)


def holding(said: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What holds of all that was said of one transaction, in order of (`label_time`, `fraud`), as part of a `Label`.

    The latest word holds, since the time from which nobody contradicted it, in whatever order the words came. What
    investigators said is left out up to their last "unsure".
    """
    unsure = max((one["label_time"] for one in said if one["fraud"] == UNKNOWN), default=-1)
    counted = [one for one in said if one["source"] != INVESTIGATOR or one["label_time"] > unsure] or said[-1:]
    first = counted[-1]
    for one in reversed(counted):
        if one["fraud"] != counted[-1]["fraud"]:
            break
        first = one
    return {name: first[name] for name in ("fraud", "label_time", "source")}
