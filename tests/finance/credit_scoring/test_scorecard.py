from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from common.errors import DataError
from finance.credit_scoring.config import Binning, ScorecardSettings
from finance.credit_scoring.fields import CreditField
from finance.credit_scoring.scorecard import fit_scorecard

SETTINGS = ScorecardSettings()


def fields(columns):
    return [CreditField(name=name, label="") for name in columns]


@pytest.fixture
def people():
    """Two informative columns, a near copy of one, one of noise and one without values."""
    rng = np.random.default_rng(0)
    a, b, n = rng.normal(size=3000), rng.normal(size=3000), rng.normal(size=3000)
    y = (rng.random(3000) < 1 / (1 + np.exp(1 - a - 0.6 * b))).astype(int)
    columns = {"noise": n, "copy": a + rng.normal(0, 0.02, 3000), "a": a, "b": b, "empty": np.full(3000, np.nan)}
    return columns, y


def test_what_informs_is_kept_and_the_rest_dropped_with_its_reason(people):
    columns, y = people
    card = fit_scorecard(fields(columns), columns, y, Binning(min_iv=0.05), SETTINGS)
    kept = {variable.axis.field for variable in card.variables}
    assert "b" in kept
    assert len(kept & {"a", "copy"}) == 1
    [twin] = {"a", "copy"} - kept
    assert "correlation" in card.dropped[twin]
    assert "information value" in card.dropped["noise"]
    assert "information value" in card.dropped["empty"]
    assert kept | set(card.dropped) == set(columns)


def test_every_kept_variable_punishes_what_its_bins_punish():
    """`shadow` looks bad only because it goes along with `cause`; beside it, more of it is good."""
    rng = np.random.default_rng(1)
    cause, other = rng.normal(size=(2, 4000))
    shadow = 0.8 * cause + 0.6 * rng.normal(size=4000)
    columns = {"cause": cause, "shadow": shadow, "other": other}
    y = (rng.random(4000) < 1 / (1 + np.exp(1 - 1.5 * cause + 0.8 * shadow - 0.5 * other))).astype(int)
    card = fit_scorecard(fields(columns), columns, y, Binning(), SETTINGS)
    assert card.dropped == {"shadow": "its coefficient was negative beside the others"}
    for term, variable in zip(card.log_odds.terms, card.variables, strict=True):
        live = abs(variable.woe) > 1e-9
        assert (term.table[live] / variable.woe[live] > 0).all()


def test_the_log_odds_are_those_of_a_logistic_regression_on_woe(people):
    columns, y = people
    card = fit_scorecard(fields(columns), columns, y, Binning(min_iv=0.05), SETTINGS)
    x = np.column_stack([v.woe[v.axis.bins(columns[v.axis.field])] for v in card.variables])
    model = LogisticRegression(C=SETTINGS.inverse_penalty).fit(x, y)
    np.testing.assert_allclose(card.log_odds.predict(columns), model.decision_function(x))
    probability = 1 / (1 + np.exp(-card.log_odds.predict(columns)))
    assert probability.mean() == pytest.approx(y.mean(), abs=1e-3)


def test_noise_alone_is_an_error_that_says_what_to_do():
    rng = np.random.default_rng(0)
    columns = {"x": rng.normal(size=500)}
    with pytest.raises(DataError, match="no variable tells good from bad: got 1 fields; check the label column"):
        fit_scorecard(fields(columns), columns, np.arange(500) % 2, Binning(min_iv=0.5), SETTINGS)
