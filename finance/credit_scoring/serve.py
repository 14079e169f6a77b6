"""One applicant or a table of them in; score, decision and exact reasons out."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from common.bundle import Bundle
from common.config import Strict
from finance.credit_scoring.additive import AdditiveModel, Column, Value
from finance.credit_scoring.fields import CreditField
from finance.credit_scoring.formula import Formula
from finance.credit_scoring.policy import Cutoff
from finance.credit_scoring.reasons import Change, Reason, adverse_reasons, counterfactual

if TYPE_CHECKING:
    import pyarrow

    from common.tables import TableField

EXACT = 2**53  # beyond it a float does not hold every whole number, and JSON's numbers have no end


class Decision(BaseModel):
    """The answer for one applicant."""

    model_config = ConfigDict(protected_namespaces=())

    decision: Literal["approve", "decline"]
    score: float = Field(description="points; 50 more double the odds of repayment, by default")
    cutoff: float = Field(description="approved from this score up")
    probability_of_default: float
    reasons: list[Reason] = Field(description="fields that cost most points against the average applicant")
    model: str = Field(description="which model decided, and the version of its bundle")
    simulated: bool = Field(description="true: trained on simulated people, not for real decisions")


class WhatIf(BaseModel):
    """The smallest change that would have been approved; `changes` is null when two fields are not enough."""

    model_config = ConfigDict(protected_namespaces=())

    decision: Literal["approve", "decline"]
    changes: list[Change] | None
    model: str = Field(description="which model answered, and the version of its bundle")
    simulated: bool = Field(description="true: trained on simulated people, not for real decisions")


class CreditPredictor:
    """Scores with one additive model; needs neither OptBinning, XGBoost nor LightGBM."""

    # One applicant costs about 40 us of plain Python: cheaper than waking another thread.
    inline = True
    response = Decision

    def __init__(
        self,
        fields: Sequence[CreditField],
        model: AdditiveModel,
        name: str,
        cutoff: Cutoff,
        simulated: bool,
        example: Any,
    ) -> None:
        self.model, self.name, self.cutoff, self.simulated = model, name, cutoff, simulated
        # All raw fields, also those that only the other model reads: the two can change places without a new contract.
        self.fields = [field for field in fields if not field.formula]
        self.derived = [(f.name, Formula(f.formula)) for f in fields if f.formula and f.name in model.fields]
        self._formulas = [(name, formula.on_record) for name, formula in self.derived]
        self.labels = {field.name: field.label for field in fields}
        self.request = _request_type(self.fields, example)

    @cached_property
    def sensitive(self) -> frozenset[str]:
        """Fields that the audit log keeps as hashes only."""
        return frozenset(field.name for field in self.fields if field.sensitive)

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """Build the predictor for the model that serves; the other one stays in the bundle as challenger."""
        data = bundle.json("preprocess.json")
        return cls.of(bundle, data["serving"])

    @classmethod
    def of(cls, bundle: Bundle, name: str) -> Self:
        """Build the predictor for one of the bundle's models, `scorecard` or `challenger`."""
        data, manifest = bundle.json("preprocess.json"), bundle.manifest
        model = AdditiveModel.from_json(data["models"][name], bundle.arrays(f"{name}.safetensors"))
        examples = bundle.examples() if "examples.jsonl" in manifest.files else []
        return cls(
            [CreditField.model_validate(field) for field in data["fields"]],
            model,
            f"{name} {manifest.version}",
            Cutoff.model_validate(data["cutoffs"][name]),
            manifest.simulated,
            examples[0]["request"] if examples else None,
        )

    def predict(self, batch: Sequence[BaseModel]) -> list[Decision]:
        """Decisions in the order of the batch."""
        return [self._decide(request.__dict__) for request in batch]

    def complete(self, record: Mapping[str, Value]) -> dict[str, Value]:
        """The record with its derived fields."""
        whole = dict(record)
        for name, formula in self._formulas:
            whole[name] = formula(record)
        return whole

    def _decide(self, record: Mapping[str, Value]) -> Decision:
        whole = self.complete(record) if self._formulas else record
        total, contributions = self.model.score_one(whole)
        score = total / self.model.resolution
        # model_construct: these values are ours, and checking them again would cost as much as scoring.
        return Decision.model_construct(
            decision="approve" if score >= self.cutoff.score else "decline",
            score=score,
            cutoff=self.cutoff.score,
            probability_of_default=self.model.scale.probability(score),
            reasons=adverse_reasons(self.model, self.labels, whole, contributions),
            model=self.name,
            simulated=self.simulated,
        )

    def what_if(self, request: BaseModel) -> WhatIf:
        """Decision and, when declined, the fewest changes to changeable fields that would be approved."""
        record = request.__dict__
        decision = self._decide(record).decision
        changes: list[Change] | None = []
        if decision == "decline":
            changes = counterfactual(self.model, self.fields, record, self.complete, self.cutoff.score)
        return WhatIf(decision=decision, changes=changes, model=self.name, simulated=self.simulated)

    @cached_property
    def table_fields(self) -> list[TableField]:
        """What `espalier score` has to find in a file."""
        from common.tables import TableField

        return [TableField(f.name, f.kind, f.levels, f.minimum, f.maximum, f.optional) for f in self.fields]

    def predict_table(self, columns: Mapping[str, Column]) -> pyarrow.Table:
        """Scores of a table, equal to `predict` row by row; `columns` are those of `table_fields`."""
        import pyarrow

        whole = dict(columns)
        for name, formula in self.derived:
            whole[name] = formula.on_columns({field: np.asarray(columns[field]) for field in formula.fields})
        total = self.model.score(whole)
        score = total / self.model.resolution
        return pyarrow.table(
            {
                "score": score,
                "probability_of_default": self.model.probability(total),
                "decision": pyarrow.array(["decline", "approve"]).take((score >= self.cutoff.score).astype(np.int8)),
            }
        )

    @classmethod
    def routes(cls, predictor: Callable[[], CreditPredictor]) -> APIRouter:
        """`POST what-if`: the same request as `predict`, answered by what would have changed the decision."""
        from common.serving.problems import invalid_body

        router = APIRouter()

        async def what_if(request: Request) -> WhatIf:
            current = predictor()
            try:
                asked = current.request.model_validate_json(await request.body())
            except ValidationError as error:
                raise invalid_body(error, current.request.model_json_schema()) from None
            return await to_thread(current.what_if, asked)

        summary = "The smallest change of fields an applicant can change that would have been approved."
        body = {"content": {"application/json": {"schema": {"type": "object", "description": "as for predict"}}}}
        router.post("/what-if", summary=summary, openapi_extra={"requestBody": body, "x-espalier-request": "predict"})(
            what_if
        )
        return router


def _request_type(fields: Sequence[CreditField], example: Any) -> type[BaseModel]:
    """The request: one typed, bounded entry per raw field the model reads; anything else is refused."""
    entries: dict[str, Any] = {}
    for field in fields:
        kind: Any
        if field.kind == "category":
            kind = Literal[tuple(field.levels)]
        elif field.integer:
            low = -EXACT if field.minimum is None else field.minimum
            high = EXACT if field.maximum is None else field.maximum
            kind = Annotated[int, Field(strict=True, ge=low, le=high)]
        else:
            kind = Annotated[float, Field(strict=True, ge=field.minimum, le=field.maximum, allow_inf_nan=False)]
        described = Field(None, description=field.label) if field.optional else Field(description=field.label)
        entries[field.name] = (kind | None if field.optional else kind, described)
    extra = ConfigDict(json_schema_extra={"examples": [example]}) if example else ConfigDict()
    base = type("Request", (Strict,), {"model_config": extra})
    return create_model("Applicant", __base__=base, __doc__="One applicant.", **entries)
