from __future__ import annotations

import math

import numpy as np
import pytest

from finance.credit_scoring.additive import AdditiveModel, Axis, Scale, Term
from finance.credit_scoring.fields import CreditField
from finance.credit_scoring.reasons import MOST_REASONS, adverse_reasons, counterfactual
from finance.credit_scoring.train import record_of

LEVELS = ("a", "b", "c")
FIELDS = [
    CreditField(name="debt", label="Debt", change="lower", minimum=0),
    CreditField(name="savings", label="Savings", change="higher", maximum=5000),
    CreditField(name="term", label="Term", change="any", integer=True, minimum=6, maximum=120),
    CreditField(name="purpose", label="Purpose", kind="category", levels=LEVELS, change="any"),
    CreditField(name="age", label="Age"),
]
AXES = [
    Axis("debt", (100.0, 1000.0), {}, missing=3),
    Axis("savings", (500.0, 6000.0), {}, missing=3),
    Axis("term", (12.5, 36.0), {}, missing=3),
    Axis("purpose", (), {"a": 0, "b": 1, "c": 2}, missing=3, other=4),
    Axis("age", (30.0,), {}, missing=2),
]
RECORD = {"debt": 2000.0, "savings": 0.0, "term": 48, "purpose": "a", "age": 20}


def model(debt=(30, 10, -40, 0), savings=(-20, 15, 99, 0), term=(10, 5, -5, 0), purpose=(-4, 3, 8, 0, 0)):
    tables = (debt, savings, term, purpose, (-50, 50, 0))
    terms = tuple(Term((axis,), np.array(table, np.int32)) for axis, table in zip(AXES, tables, strict=True))
    return AdditiveModel(terms, 600, 1, Scale())


def changes(cutoff, record=RECORD, **tables):
    found = counterfactual(model(**tables), FIELDS, record, dict, cutoff)
    return None if found is None else {change.field: change.suggested for change in found}


def test_reasons_are_the_four_largest_losses_in_order():
    card = model()
    contributions = card.score_one(RECORD)[1]
    reasons = adverse_reasons(card, {f.name: f.label for f in FIELDS}, RECORD, contributions)
    assert [(r.field, r.points) for r in reasons] == [("age", -50), ("debt", -40), ("savings", -20), ("term", -5)]
    assert [r.label for r in reasons] == ["Age", "Debt", "Savings", "Term"]
    assert len(reasons) == MOST_REASONS  # the fifth loss, purpose, is left out


def test_what_helped_is_no_reason_and_missing_is_told_as_none():
    card = model(debt=(30, 10, -40, -7))
    record = {"debt": math.nan, "savings": 600.0, "term": 7, "purpose": "c", "age": 40}
    reasons = adverse_reasons(card, {f.name: f.label for f in FIELDS}, record, card.score_one(record)[1])
    assert [(r.field, r.value, r.points) for r in reasons] == [("debt", None, -7)]


def test_one_change_is_preferred_to_two_and_the_smallest_overshoot_to_others():
    score = model().score_one(RECORD)[0]
    assert changes(score + 5) == {"purpose": "b"}  # 7 points; c gives 12, savings 35, the term 10
    assert changes(score + 40)["debt"] == pytest.approx(999.99, abs=10)
    assert changes(score + 40).keys() == {"debt"}
    assert changes(score + 75).keys() == {"debt", "purpose"}  # 70 from debt at most, 82 with purpose c


def test_a_change_goes_only_where_the_applicant_can_move():
    score = model().score_one(RECORD)[0]
    assert changes(score + 100) == {
        "debt": pytest.approx(99.99, abs=10),
        "savings": 500.0,
    }  # not 6000: over the maximum
    rich = RECORD | {"savings": 4000.0, "debt": 50.0}  # taking savings out or borrowing more is no advice
    tables = {"purpose": (-4, 3, 9, 0, 0)}
    assert changes(model(**tables).score_one(rich)[0] + 20, rich, **tables) == {"term": 12, "purpose": "b"}


def test_an_unchangeable_field_is_never_touched_and_three_changes_are_too_many():
    score = model().score_one(RECORD)[0]
    assert changes(score + 110) is None  # age alone would give 100, but it cannot be changed
    assert changes(score + 105).keys() == {"debt", "savings"}


def test_whole_numbers_stay_whole():
    nothing = {"savings": (0, 0, 0, 0), "debt": (0, 0, 0, 0), "purpose": (0, 0, 0, 0, 0)}
    score = model(**nothing).score_one(RECORD)[0]
    [(name, value)] = changes(score + 15, **nothing).items()
    assert (name, value) == ("term", 12)
    assert isinstance(value, int)


def test_a_missing_value_is_not_changed():
    record = RECORD | {"debt": None}
    score = model().score_one(record)[0]
    assert "debt" not in (changes(score + 35, record) or {})


def test_one_far_change_is_found_among_many_bins():
    """A hundred bins, and only the farthest is good enough."""
    cuts = tuple(float(cut) for cut in range(10, 1010, 10))
    axis = Axis("debt", cuts, {}, missing=101)
    points = np.array([50] + [0] * 101, np.int32)
    card = AdditiveModel((Term((axis,), points),), 600, 1, Scale())
    found = counterfactual(card, FIELDS[:1], {"debt": 1005.0}, dict, 650)
    assert found is not None
    assert found[0].suggested < 10


def test_counterfactuals_of_a_trained_model_flip_the_decision(predictor, applicants):
    """On real requests: re-scored, approved; only changeable fields, in direction and range; no single one would do."""
    fields = {field.name: field for field in predictor.fields}
    requests = [
        predictor.request.model_validate(record_of(applicants, i, predictor.fields))
        for i in range(0, len(applicants.y), 4)
    ]
    declined = [r for r, d in zip(requests, predictor.predict(requests), strict=True) if d.decision == "decline"][:60]
    answers = [predictor.what_if(request) for request in declined]
    found = [(r, a.changes) for r, a in zip(declined, answers, strict=True) if a.changes]
    assert len(found) > 10
    for request, changes in found:
        wanted = {change.field: change.suggested for change in changes}
        again = predictor.request.model_validate(request.model_dump() | wanted)
        assert predictor.predict([again])[0].decision == "approve"
        for change in changes:
            field, before = fields[change.field], getattr(request, change.field)
            assert change.value == before
            assert field.change != "no"
            assert field.change != "lower" or change.suggested < before
            assert field.change != "higher" or change.suggested > before
        if len(changes) == 2:
            for name, value in wanted.items():
                half = predictor.request.model_validate(request.model_dump() | {name: value})
                assert predictor.predict([half])[0].decision == "decline"
            for level in fields["purpose"].levels:
                other = predictor.request.model_validate(request.model_dump() | {"purpose": level})
                assert predictor.predict([other])[0].decision == "decline"


def test_a_level_that_is_no_advice_is_never_suggested():
    fields = [field.model_copy(update={"not_advised": ("c",)}) if field.levels else field for field in FIELDS]
    card = model()
    score = card.score_one(RECORD)[0]
    assert changes(score + 75).keys() == {"debt", "purpose"}  # only with purpose c
    found = counterfactual(card, fields, RECORD, dict, score + 75)
    assert found is not None
    assert "c" not in [change.suggested for change in found]
