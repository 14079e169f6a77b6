from __future__ import annotations

import numpy as np
import pytest

from finance.credit_scoring.config import Binning, ScorecardSettings
from finance.credit_scoring.data import to_columns
from finance.credit_scoring.reject_inference import PRUDENCE, infer_rejects
from finance.credit_scoring.scorecard import fit_scorecard
from finance.credit_scoring.simulator import SIMULATED_FIELDS, simulate


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.02, 0.9, 2000)
    y = (rng.random(2000) < probability).astype(int)
    return probability < 0.6, y, probability


@pytest.mark.parametrize("method", ["none", "fuzzy", "parcelling"])
def test_labels_of_refused_applicants_are_never_read(people, method):
    accepted, y, probability = people
    other = np.where(accepted, y, 1 - y)
    one, two = (infer_rejects(method, accepted, labels, probability, 3) for labels in (y, other))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    hidden = np.where(accepted, y, 7)  # a label that would be seen in the result
    assert set(infer_rejects(method, accepted, hidden, probability, 3)[1]) <= {0, 1}


def test_without_inference_only_the_accepted_remain(people):
    accepted, y, probability = people
    rows, labels, weight = infer_rejects("none", accepted, y, probability, 0)
    assert rows.tolist() == np.flatnonzero(accepted).tolist()
    assert labels.tolist() == y[accepted].tolist()
    assert (weight == 1).all()


def test_nobody_refused_means_nothing_to_infer(people):
    _, y, probability = people
    everybody = np.ones(len(y), bool)
    rows, labels, weight = infer_rejects("fuzzy", everybody, y, probability, 0)
    assert (len(rows), labels.tolist(), weight.sum()) == (len(y), y.tolist(), len(y))


def test_fuzzy_counts_every_applicant_once_and_the_refused_as_bad_by_prudent_odds(people):
    accepted, y, probability = people
    rows, labels, weight = infer_rejects("fuzzy", accepted, y, probability, 0)
    np.testing.assert_allclose(np.bincount(rows, weights=weight), 1)
    bad = np.bincount(rows, weights=weight * labels)
    odds = bad[~accepted] / (1 - bad[~accepted])
    np.testing.assert_allclose(odds, PRUDENCE * probability[~accepted] / (1 - probability[~accepted]))
    np.testing.assert_array_equal(bad[accepted], y[accepted])


def test_parcelling_draws_labels_at_the_bands_prudent_rate_and_repeats_with_the_seed(people):
    accepted, y, probability = people
    drawn = []
    for seed in range(20):
        rows, labels, weight = infer_rejects("parcelling", accepted, y, probability, seed)
        assert sorted(rows) == list(range(len(y)))
        assert (weight == 1).all()
        drawn.append(labels[np.isin(rows, np.flatnonzero(~accepted))])
    worst_band = y[accepted][probability[accepted] > np.quantile(probability[accepted], 0.9)].mean()
    prudent = PRUDENCE * worst_band / (1 - worst_band)
    assert np.mean(drawn) == pytest.approx(prudent / (1 + prudent), abs=0.02)  # all refused lie in the worst band
    assert infer_rejects("parcelling", accepted, y, probability, 19)[1].tolist() == labels.tolist()
    assert (drawn[0] != drawn[1]).any()


@pytest.mark.parametrize("method", ["fuzzy", "parcelling"])
def test_on_simulated_people_the_estimate_of_everybody_s_bad_rate_comes_closer(method):
    """The simulator knows how the refused would have paid; the estimates do not."""
    frame = simulate(6000, seed=4)
    fields = [field for field in SIMULATED_FIELDS if not field.sensitive]
    accepted, y = frame["accepted"].to_numpy(bool), frame["default"].to_numpy(int)
    known = frame[accepted].reset_index(drop=True)
    first = fit_scorecard(fields, to_columns(known, fields), y[accepted], Binning(), ScorecardSettings())
    probability = 1 / (1 + np.exp(-first.log_odds.predict(to_columns(frame, fields))))
    _, labels, weight = infer_rejects(method, accepted, y, probability, 0)
    truth, naive, inferred = y.mean(), y[accepted].mean(), np.average(labels, weights=weight)
    assert naive < truth - 0.02
    assert abs(inferred - truth) < 0.5 * abs(naive - truth)
