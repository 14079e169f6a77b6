"""A transaction in; score, decision and reasons out. Looking changes nothing; `transactions` takes in and decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, create_model

from common.bundle import Bundle
from common.config import Strict
from finance.fraud_detection.definition import Definition
from finance.fraud_detection.ensemble import Ensemble, Inputs
from finance.fraud_detection.forest import Forest, anomaly
from finance.fraud_detection.linear import Calibration
from finance.fraud_detection.online import Online, Rows, State, hashed, keys_of
from finance.fraud_detection.policy import Policy, decide
from finance.fraud_detection.reasons import Reason, strongest
from finance.fraud_detection.rules import CompiledRules, RuleSet, Schema

if TYPE_CHECKING:
    from fastapi import APIRouter
    from prometheus_client.registry import Collector

    from finance.fraud_detection.live import Live

LARGEST = 10**12
"""Minor units."""


class Decision(BaseModel):
    """The answer for one transaction."""

    model_config = ConfigDict(protected_namespaces=())

    id: str
    decision: Literal["approve", "review", "decline"]
    by: Literal["list", "rule", "model", "fallback"] = Field(description="who decided")
    score: float | None = Field(description="probability of fraud; null when the history could not be read")
    review_from: float = Field(description="score from which a person looks at it: the alert budget")
    decline_from: float
    reasons: list[Reason] = Field(description="features that speak most for fraud; of alerts only")
    rules: list[str] = Field(description="live rules that held")
    shadow_rules: list[str] = Field(description="rules on trial that would have held")
    told: list[str] = Field(description="reasons of the list entry, the rules or the threshold that decided")
    anomaly: float | None = Field(description="how unlike others it is, without labels: .5 is usual, near 1 is not")
    degraded: bool = Field(description="true: decided without history, by the declared fallback")
    duplicate: bool = Field(False, description="true: this transaction was known already, and was not counted again")
    rule_version: int
    model: str = Field(description="champion, and the version of its bundle")
    simulated: bool = Field(description="true: trained on simulated transactions, not for real decisions")


class FraudPredictor:
    """Scores against what is known: the state in the bundle, or that of the running service (`live`)."""

    response = Decision

    def __init__(
        self,
        definition: Definition,
        model: Ensemble,
        anomaly_forest: Forest,
        kept: Mapping[str, Any],
        state: Mapping[str, np.ndarray],
        version: str,
        simulated: bool,
        examples: Sequence[Mapping[str, Any]],
    ) -> None:
        self.definition, self.model, self.kept, self.simulated = definition, model, kept, simulated
        self.name, self._anomaly = f"{model.name} {version}", anomaly_forest
        self.policy = Policy(review=kept["review"], decline=kept["decline"], fallback="review")
        self.seed_rows = _rows_of(state)
        self.state: State = Online(definition)
        self.state.take(self.seed_rows, counted=False)
        self._looking = Lock()
        self.rules = CompiledRules(RuleSet(), self.schema)
        self.live: Live | None = None
        self.request = _request_type(definition.entities, kept["currency"], kept["decimals"], examples)
        self._calibration = Calibration(*kept["calibration"])

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """Build the predictor from a verified bundle."""
        kept, manifest = bundle.json("preprocess.json"), bundle.manifest
        examples = bundle.examples() if "examples.jsonl" in manifest.files else []
        return cls(
            Definition.model_validate(kept["definition"]),
            Ensemble.of_bundle(bundle, kept["champion"]),
            Forest.of_arrays(bundle.arrays("anomaly.safetensors")),
            kept,
            bundle.arrays("state.safetensors"),
            manifest.version,
            manifest.simulated,
            [example["request"] for example in examples],
        )

    @property
    def schema(self) -> Schema:
        """The fields that rules may read."""
        texts: dict[str, Literal["number", "text"]] = dict.fromkeys((*self.definition.entities, "currency"), "text")
        return texts | dict.fromkeys(("amount", "time", *self.definition.names), "number")

    def predict(self, batch: Sequence[BaseModel]) -> list[Decision]:
        """Decisions in the order of the batch, each as if it came alone; nothing is remembered."""
        if not batch:
            return []
        if self.live is not None:
            return self.live.look(self, batch)
        rows = self.rows_of(batch)
        with self._looking:
            counts = self.state.look(rows.time, rows.keys)
        return self.decide(batch, rows, counts, self.rules)

    def rows_of(self, batch: Sequence[BaseModel]) -> Rows:
        """Requests as the state takes them."""
        records = [request.__dict__ for request in batch]
        time = np.array([milliseconds(record["time"]) for record in records], np.int64)
        amount = np.array([self._minor(record) for record in records], np.int64)
        names = self.definition.entities
        keys = np.stack([keys_of(name, [record[name] or "" for record in records]) for name in names], axis=1)
        id = np.array([hashed(record["id"]) for record in records], np.uint64)
        return Rows(np.full(len(records), -1, np.int8), id, time, amount, keys)

    def score(self, inputs: Inputs) -> np.ndarray:
        """The probability of fraud (rows,)."""
        return self._calibration.probability(self.model.predict(*inputs))

    def decide(
        self, batch: Sequence[BaseModel], rows: Rows, counts: np.ndarray | None, rules: CompiledRules
    ) -> list[Decision]:
        """Decisions from counts int64 (rows, entities, counts); None: the history could not be read."""
        if counts is None:
            return [self._decide(request, None, None, None, rules, rows, i) for i, request in enumerate(batch)]
        inputs = Inputs.of(self.definition, counts, rows.time, rows.amount)
        score = self.score(inputs)
        unusual = anomaly(self._anomaly.predict(np.nan_to_num(inputs.x, nan=-1.0)), self.kept["anomaly_rows"])
        return [
            self._decide(request, inputs.part(slice(i, i + 1)), float(score[i]), float(unusual[i]), rules, rows, i)
            for i, request in enumerate(batch)
        ]

    def _decide(
        self,
        request: BaseModel,
        seen: Inputs | None,
        score: float | None,
        unusual: float | None,
        rules: CompiledRules,
        rows: Rows,
        i: int,
    ) -> Decision:
        fields = request.__dict__
        record = {name: fields[name] for name in (*self.definition.entities, "currency")}
        record |= {"amount": int(rows.amount[i]), "time": int(rows.time[i])}
        if seen is not None and rules.version:
            record = {**dict(zip(self.definition.names, seen.x[0].tolist(), strict=True)), **record}
        found = decide(self.policy, rules, record, score, degraded=seen is None)
        reasons: list[Reason] = []
        if seen is not None and found.decision != "approve":
            reasons = strongest(self.definition, seen.x[0], self.model.contributions(*seen)[0])
        return Decision.model_construct(
            id=fields["id"],
            decision=found.decision,
            by=found.by,
            score=score,
            review_from=self.policy.review,
            decline_from=self.policy.decline,
            reasons=reasons,
            rules=list(found.fired),
            shadow_rules=list(found.shadow),
            told=list(found.reasons),
            anomaly=unusual,
            degraded=seen is None,
            duplicate=False,
            rule_version=found.rule_version,
            model=self.name,
            simulated=self.simulated,
        )

    def _minor(self, record: Mapping[str, Any]) -> int:
        return int(_exact(record["amount"], self.kept["decimals"]))

    def close(self) -> None:
        """Write down the state that runs."""
        if self.live is not None:
            self.live.close()

    @classmethod
    def routes(cls, predictor: Callable[[], FraudPredictor]) -> APIRouter:
        """`transactions`, `rules`, `cases` and `labels`: the system as it runs."""
        from finance.fraud_detection.routes import live_routes

        return live_routes(predictor)

    @classmethod
    def gauges(cls, predictor: Callable[[], FraudPredictor | None]) -> Collector:
        """What became of transactions, for Prometheus."""
        from finance.fraud_detection.routes import Gauges

        return Gauges(predictor)


def milliseconds(time: datetime) -> int:
    """Since 1970 UTC."""
    since = time.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000


def _rows_of(state: Mapping[str, np.ndarray]) -> Rows:
    """Transactions and then their labels, from the arrays of a bundle."""
    labelled = np.flatnonzero(state["fraud"] >= 0)
    return Rows(
        np.concatenate([np.full(len(state["id"]), -1, np.int8), state["fraud"][labelled]]),
        np.concatenate([state["id"], state["id"][labelled]]),
        np.concatenate([state["time"], state["label_time"][labelled]]),
        np.concatenate([state["amount"], state["amount"][labelled]]),
        np.concatenate([state["keys"], state["keys"][labelled]]),
    )


def _exact(amount: float, decimals: int) -> Decimal:
    """In minor units."""
    return Decimal(str(amount)).scaleb(decimals)


def _request_type(
    entities: tuple[str, ...], currency: str, decimals: int, examples: Sequence[Mapping[str, Any]]
) -> type[BaseModel]:
    """The request: one transaction with the entities that the bundle counts."""

    def whole(amount: float) -> float:
        exact = _exact(amount, decimals)
        if exact != exact.to_integral_value():
            raise ValueError(f"at most {decimals} decimals, as {currency} has no more")
        return amount

    entries: dict[str, Any] = {
        "id": (
            Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^/\x00-\x1f]+$")],
            Field(description="Id"),
        ),
        "time": (Annotated[AwareDatetime, Field(strict=False)], Field(description="Time, ISO 8601 with a zone")),
        "amount": (
            Annotated[float, Field(ge=0, le=LARGEST / 100, allow_inf_nan=False), AfterValidator(whole)],
            Field(description=f"Amount in {currency}"),
        ),
        "currency": (Literal[currency], Field(description="Currency that the model was trained on")),
    }
    for place, name in enumerate(entities):
        known = Annotated[str, Field(min_length=1, max_length=200)]
        label = name.replace("_", " ").capitalize()
        entries[name] = (known if place == 0 else known | None, Field(... if place == 0 else None, description=label))
    shown: dict[str, Any] = {"examples": [dict(examples[0])]} if examples else {}
    base = type("Request", (Strict,), {"model_config": ConfigDict(json_schema_extra=shown)})
    return create_model("Transaction", __base__=base, __doc__="One transaction.", **entries)
