from __future__ import annotations

import numpy as np
import pytest

from healthcare.disease_diagnosis.measure import held, net_benefit, referred, sensitivity_at, with_few_labels
from healthcare.disease_diagnosis.promise import FEWEST, Site, chances, recalibrated, site_of


def people(count: int, seed: int, shift: float = 0.0, slope: float = 1.0):
    """Log-odds of a model, and labels by a truth that is shifted and flatter."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 2, (count, 1))
    return raw, (rng.random(count) < chances(shift + slope * raw)[:, 1]).astype(int)


def graded(count: int, seed: int, shift=(0.0, 0.0, 0.0), slope: float = 1.0):
    """The same of four findings."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 2, (count, 3))
    return raw, (rng.random((count, 1)) > chances(np.array(shift) + slope * raw).cumsum(axis=1)).sum(axis=1)


def test_forty_labels_keep_the_promise_at_a_centre_where_the_model_is_wrong():
    raw, y = people(3000, 0, shift=2.0, slope=0.5)
    group = np.full(len(y), "")
    cuts = [np.split(np.random.default_rng(i).permutation(len(y)), [40]) for i in range(60)]
    found = with_few_labels(raw, y, group, [(a, b) for a, b in cuts], 0.9)
    assert 0.88 <= found["coverage90"].value <= 0.94
    assert found["coverage90"].low <= found["coverage90"].value <= found["coverage90"].high


def test_few_labels_move_a_calibration_little_and_many_find_the_truth():
    raw, y = people(4000, 1, shift=1.5, slope=0.6)
    for found, truth in zip(recalibrated(raw, y), (1.5, 0.6), strict=True):
        assert found == pytest.approx(truth, abs=0.15)
    assert recalibrated(raw[:0], y[:0]) == (0.0, 1.0)
    shift, slope = recalibrated(raw[:3], np.ones(3, int))
    assert 0 < shift[0] < 2
    assert 0.4 < slope < 1.6


def test_one_label_alone_keeps_probabilities_finite():
    shift, slope = recalibrated(np.linspace(-3, 3, 40)[:, None], np.ones(40, int))
    assert np.isfinite([*shift, slope]).all()


def test_a_subgroup_answers_for_itself_only_when_it_is_large_enough():
    score = np.concatenate([np.full(FEWEST, 0.1), np.full(FEWEST - 1, 0.9)])[None]
    group = np.repeat(["many", "few"], [FEWEST, FEWEST - 1])
    site = Site(np.zeros((1, 1)), np.ones(1), score, group)
    assert site.limit(0.9, 0, "many") == (0.1, FEWEST, "many")
    assert site.limit(0.9, 0, "few") == (0.9, 2 * FEWEST - 1, "")
    assert site.limit(0.9, 0, "never seen")[1:] == (2 * FEWEST - 1, "")


def test_too_few_patients_promise_only_everything():
    site = Site(np.zeros((1, 1)), np.ones(1), np.full((1, 5), 0.1), np.full(5, ""))
    assert site.limit(0.9, 0, "") == (1.0, 5, "")
    sets = site.sets(np.array([[0.001, 0.999]]), 0.9, np.zeros(1, int), np.array([""]))
    assert sets.all()
    assert referred(sets).all()


def test_a_stricter_promise_has_larger_sets():
    raw, y = people(400, 2)
    site = site_of(raw, y, np.full(len(y), ""))
    p = chances(raw)
    sizes = [site.sets(p, level, np.zeros(len(p), int), np.full(len(p), "")).sum() for level in (0.8, 0.9, 0.99)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_in_sample_coverage_is_what_was_promised():
    raw, y = people(500, 3)
    site = site_of(raw, y, np.full(len(y), ""))
    p = site.chances(raw, np.zeros(len(y), int))
    sets = site.sets(p, 0.9, np.zeros(len(p), int), np.full(len(p), ""))
    assert held(sets, y).mean() == pytest.approx(0.9, abs=0.02)


def test_shifts_of_several_findings_are_found_and_a_promise_over_them_is_kept():
    raw, y = graded(4000, 4, (1.0, -1.0, 0.5), 0.7)
    shift, slope = recalibrated(raw, y)
    assert shift == pytest.approx([1.0, -1.0, 0.5], abs=0.2)
    assert slope == pytest.approx(0.7, abs=0.1)
    cuts = [np.split(np.random.default_rng(i).permutation(len(y)), [60]) for i in range(30)]
    found = with_few_labels(raw, y, np.full(len(y), ""), [(a, b) for a, b in cuts], 0.9)
    assert 0.88 <= found["coverage90"].value <= 0.94
    assert 1 < found["set_size"].value < 4


def test_probabilities_of_findings_add_up_to_one_however_large_the_log_odds():
    p = chances(np.array([[0.0, 0.0], [900.0, -900.0], [-900.0, -800.0]]))
    assert p.sum(axis=1) == pytest.approx(1)
    assert p[0] == pytest.approx([1 / 3] * 3)
    assert p[1:].argmax(axis=1).tolist() == [1, 0]


def test_sensitivity_is_read_where_specificity_is_reached():
    y = np.repeat([0, 1], [100, 10])
    p = np.concatenate([np.linspace(0, 0.5, 100), np.full(10, 0.4949)])
    assert sensitivity_at(y, p) == 1.0
    assert sensitivity_at(y, np.zeros(110)) == 0.0


def test_net_benefit_of_acting_on_everybody_is_the_textbook_s():
    y = np.repeat([0, 1], [70, 30])
    found = net_benefit(y, np.ones(100), np.array([0.2]))[0]
    assert found == pytest.approx(0.3 - 0.7 * 0.25)
